// Package ingest is the rest of the program's view of an encoder: a Source of frames,
// whatever its protocol, and the Refusal with which it is turned away. Protocols (rtmp)
// implement Source and translate Refusals.
package ingest

import (
	"errors"
	"net"
	"net/url"
	"time"

	"github.com/millrace/millrace/internal/media"
)

// ErrNoSession is the error for an encoder that is to join the session of its channel on
// a node that has none, or no longer has it.
var ErrNoSession = errors.New("the node has no session of the channel")

// A Source is the connection of one encoder that has asked to publish. Apart
// from Cut and Reconnect it belongs to the goroutine that handles the connection.
type Source interface {
	// ReadFrame returns the next frame, good until the next call. Its times are
	// the encoder's own and may wrap. The error is io.EOF when the encoder ended
	// its stream; it wraps io.ErrUnexpectedEOF when the connection was lost, the
	// cause given to Cut, and is a *Refusal for media that is not supported, or
	// where no key frame of video has come VideoWithin after the first message of
	// any kind: it says what is missing.
	media.Reader

	// Info describes the connection. It does not change.
	Info() Info

	// Accept accepts the encoder's stream. It is called once, before ReadFrame.
	Accept() error

	// Metadata returns the newest metadata that the encoder has announced; zero before
	// the first.
	Metadata() Metadata

	// AudioTrack returns the audio track that the encoder has announced, nil if it has
	// not. Its frames may come later, or never.
	AudioTrack() *media.Track

	// Stats returns counts of what could not be carried as the encoder sent it.
	Stats() media.InputStats

	// Cut makes ReadFrame fail with an error that wraps cause. It may be called
	// from any goroutine and more than once: the first cause stays.
	Cut(cause error)

	// Reconnect asks the encoder to connect again, which leads it to another server: in
	// its own time, it ends its stream and publishes again. It is for an encoder whose
	// Info says that it can be asked, and may be called from any goroutine.
	Reconnect()

	// End tells the encoder why its stream ends, in the words of a *Refusal if
	// err has one, and disconnects it. Returning err from the handler does the
	// same; End is for a handler that has more to do before it returns. It waits
	// up to 2 s for the encoder to hang up. Nothing may be read afterwards.
	End(err error)
}

// VideoWithin is how long an encoder may send without a key frame of video at the
// beginning.
const VideoWithin = 10 * time.Second

// Info describes a connection. Its strings come from the network: they are at most 1,024
// bytes long and otherwise untrusted.
type Info struct {
	Protocol   string     // such as "RTMPS"
	StreamKey  string     // without query
	Query      url.Values // the parameters given with the stream key
	Secure     bool       // the transport is encrypted
	RemoteAddr net.Addr
	Reconnects bool // it can be asked to connect again
}

// Metadata holds what an encoder announces about its stream. It is untrusted: a field is
// zero if the encoder gave no valid value, and the text must be escaped.
type Metadata struct {
	Encoder      string  // its name for itself: at most 256 bytes of UTF-8 without control characters
	VideoBitrate float64 // bits per second
	AudioBitrate float64 // bits per second
	FrameRate    float64 // frames per second
}
