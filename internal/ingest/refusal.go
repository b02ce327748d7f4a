package ingest

// A Reason is the kind of a Refusal; each protocol has its own codes for it.
type Reason uint8

// The reasons to refuse an encoder, or to end its stream.
const (
	Unsupported    Reason = iota + 1 // the media: its codec, or a track that is missing
	Multitrack                       // several tracks of one kind, or one where several are required
	UnknownKey                       // no channel has the stream key
	Insecure                         // the channel requires an encrypted transport
	AlreadyLive                      // another encoder has the channel
	TakeoverDenied                   // it may not take over from the present encoder
	TakenOver                        // another encoder has taken over from it
	LimitExceeded                    // of the channel, the account or the machine
	Stopped                          // by the channel's operator
	Unavailable                      // the server cannot do it now; trying again may help
)

var reasonNames = [...]string{
	Unsupported: "unsupported media", Multitrack: "multitrack media", UnknownKey: "unknown stream key", Insecure: "insecure transport",
	AlreadyLive: "already live", TakeoverDenied: "takeover denied", TakenOver: "taken over",
	LimitExceeded: "limit exceeded", Stopped: "stopped", Unavailable: "unavailable",
}

func (r Reason) String() string {
	if int(r) < len(reasonNames) && reasonNames[r] != "" {
		return reasonNames[r]
	}
	return "refused"
}

// A Refusal ends an encoder's stream, before or after it was accepted, with a text for
// its operator.
type Refusal struct {
	Reason Reason
	Text   string // one or more sentences
	Err    error  // the underlying error; nil if there is none
}

func (r *Refusal) Error() string { return r.Reason.String() + ": " + r.Text }

func (r *Refusal) Unwrap() error { return r.Err }

// Refuse returns a Refusal for that reason.
func Refuse(reason Reason, text string) *Refusal { return &Refusal{Reason: reason, Text: text} }
