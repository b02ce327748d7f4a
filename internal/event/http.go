package event

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
)

const (
	maxReaders = 256              // concurrent streams of events
	feedBatch  = 100              // events per read and write
	writeTime  = 10 * time.Second // a client that takes longer for a batch is disconnected
	keepalive  = 15 * time.Second // between comments, so that proxies keep an idle connection
	feedPoll   = time.Second      // interval at which events numbered by other nodes are looked for
)

// MaxDeadLetters bounds the dead letters that are listed for a target.
const MaxDeadLetters = 100

// A Handler handles signed calls about the events of the caller's account and region. Its
// methods are of type api.Extension.
type Handler struct {
	Store *store.DB
	Done  <-chan struct{} // closed when the server stops, which ends streams of events
	Log   *slog.Logger

	// Channel returns the ARN of a channel that a request names, or NotFound.
	Channel func(ctx context.Context, name string, scope store.Scope) (arn string, err error)

	readers atomic.Int64
}

// Stream serves GET /_millrace/events: events as they happen, as server-sent events whose id
// is the event's and whose data is the event in EventBridge's envelope.
//
//   - channel: ARN or id of a channel: only its events.
//   - stream: Id of a stream: only its events.
//   - type: A detail-type, such as IVS Stream State Change.
//   - name: An event_name, such as Stream Start.
//   - from: Id of the event after which to continue, or start for the oldest that is kept; the header Last-Event-ID overrides it. Without both, the stream begins now.
//
// Server-sent events are those of the HTML Living Standard, section 9.2.
func (h *Handler) Stream(w http.ResponseWriter, r *http.Request, scope store.Scope) error {
	filter, err := h.feedFilter(r.Context(), r.URL.Query(), scope)
	if err != nil {
		return err
	}
	after, err := h.begin(r, scope)
	if err != nil {
		return err
	}
	if h.readers.Add(1) > maxReaders {
		h.readers.Add(-1)
		return ivs.Errorf(ivs.Throttling, "More than %d streams of events are open", maxReaders)
	}
	defer h.readers.Add(-1)
	out := &feedWriter{w: w, control: http.NewResponseController(w)}
	out.control.SetReadDeadline(time.Time{}) // the request has been read; the stream has no time limit
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would buffer events
	if why := h.follow(r.Context(), out, filter, after); why != "" {
		out.comment(why + "; continue with Last-Event-ID")
		out.flush()
	}
	return nil
}

// follow writes events until the client disconnects; otherwise it returns why the
// stream must end.
func (h *Handler) follow(ctx context.Context, out *feedWriter, filter store.FeedFilter, after int64) (why string) {
	out.comment("millrace events")
	out.flush()
	wait := time.NewTimer(feedPoll)
	defer wait.Stop()
	for {
		numbered := h.Store.EventNumbered()
		events, seen, err := h.Store.Feed(ctx, filter, after, feedBatch)
		if err != nil && ctx.Err() == nil {
			h.Log.Error("event stream closed: reading events failed", "error", err)
			return "the server could not read further events"
		}
		for _, e := range events {
			out.event(e.Event)
		}
		if time.Since(out.last) >= keepalive {
			out.comment("")
		}
		out.flush()
		switch {
		case out.err != nil || ctx.Err() != nil:
			return ""
		case out.slow:
			return fmt.Sprintf("too slow: %d events took longer than %v", len(events), writeTime)
		case seen > after:
			after = seen
			continue
		}
		wait.Reset(feedPoll)
		select {
		case <-ctx.Done():
			return ""
		case <-h.Done:
			return "the server is stopping"
		case <-numbered:
		case <-wait.C:
		}
	}
}

// begin returns the number in the feed after which a stream begins.
func (h *Handler) begin(r *http.Request, scope store.Scope) (int64, error) {
	id := r.Header.Get("Last-Event-ID")
	if id == "" {
		id = r.URL.Query().Get("from")
	}
	switch id {
	case "":
		return h.Store.FeedEnd(r.Context())
	case "start":
		return 0, nil
	}
	e, err := h.Store.FeedEventByID(r.Context(), scope, id)
	return e.Number, err
}

func (h *Handler) feedFilter(ctx context.Context, q url.Values, scope store.Scope) (f store.FeedFilter, err error) {
	f.Scope = scope
	for name, values := range q {
		value := values[0]
		switch name {
		case "channel":
			if value == "" {
				continue
			}
			if f.ChannelARN, err = h.Channel(ctx, value, scope); err != nil {
				return f, err
			}
		case "stream":
			f.StreamID = value
		case "type":
			f.Type = value
		case "name":
			f.Name = value
		case "from":
		default:
			return f, ivs.Errorf(ivs.Validation, "%q is not a parameter of the stream of events: channel, stream, type, name and from are", name)
		}
	}
	return f, nil
}

// A feedWriter writes server-sent events. After an error it writes nothing.
type feedWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	buf     bytes.Buffer // not written yet
	last    time.Time    // of the last write
	slow    bool         // a write took longer than writeTime
	err     error
}

func (f *feedWriter) event(e ivs.Event) {
	body, err := json.Marshal(e)
	if err != nil {
		f.err = err
	}
	fmt.Fprintf(&f.buf, "id: %s\ndata: %s\n\n", e.ID, body)
}

func (f *feedWriter) comment(text string) { fmt.Fprintf(&f.buf, ": %s\n\n", text) }

// flush sends buf to the client.
func (f *feedWriter) flush() {
	if f.err != nil || f.buf.Len() == 0 {
		return
	}
	began := time.Now()
	f.control.SetWriteDeadline(began.Add(2 * writeTime)) // leaves time for the message that it was too slow
	if _, f.err = f.buf.WriteTo(f.w); f.err == nil {
		f.err = f.control.Flush()
	}
	f.last = time.Now()
	f.slow = f.slow || f.last.Sub(began) > writeTime
}

// A TargetsOutput lists the targets of events.
type TargetsOutput struct {
	Targets []targetOutput `json:"targets"`
}

// A targetOutput is a target of events.
type targetOutput struct {
	Name        string             `json:"name"`
	Kind        string             `json:"kind"`
	Pending     int                `json:"pending"`    // events that it has not received
	LagSeconds  float64            `json:"lagSeconds"` // age of the oldest of them
	LastError   string             `json:"lastError,omitempty"`
	Dead        int                `json:"dead"`        // events that were given up
	DeadLetters []deadLetterOutput `json:"deadLetters"` // the newest of them
}

// A deadLetterOutput is an event that was given up for a target.
type deadLetterOutput struct {
	Event    ivs.Event `json:"event"` // in EventBridge's envelope
	Attempts int       `json:"attempts"`
	Time     ivs.Time  `json:"time"` // when it was given up
	Error    string    `json:"error"`
}

// ListTargets serves GET /_millrace/events/targets: how far each target of events is behind,
// and what was given up for it.
func (h *Handler) ListTargets(w http.ResponseWriter, r *http.Request, scope store.Scope) error {
	targets, err := h.Store.Targets(r.Context(), &scope)
	if err != nil {
		return err
	}
	out := TargetsOutput{[]targetOutput{}}
	for _, t := range targets {
		target := targetOutput{Name: t.Name, Kind: t.Kind, Pending: t.Pending, LagSeconds: Lag(t, time.Now()).Seconds(), LastError: t.Error, Dead: t.Dead, DeadLetters: []deadLetterOutput{}}
		letters, err := h.Store.DeadLetters(r.Context(), scope, t.Name, MaxDeadLetters)
		if err != nil {
			return err
		}
		for _, d := range letters {
			target.DeadLetters = append(target.DeadLetters, deadLetterOutput{d.Event, d.Attempts, ivs.Time{Time: d.At}, d.Error})
		}
		out.Targets = append(out.Targets, target)
	}
	return writeJSON(w, http.StatusOK, out)
}

// Lag is the age of the oldest event pending for t, or 0 if there is none.
func Lag(t store.TargetStatus, now time.Time) time.Duration {
	if t.Oldest.IsZero() {
		return 0
	}
	return max(0, now.Sub(t.Oldest))
}

// A RedeliveredOutput counts events that are sent again.
type RedeliveredOutput struct {
	Events int64 `json:"events"` // how many
}

// Redeliver serves POST /_millrace/events/{id}/redeliver: sends an event again. It does not
// wait for other events of its channel.
//
//   - id: Id of an event.
//   - target: Name of a target; all by default.
func (h *Handler) Redeliver(w http.ResponseWriter, r *http.Request, scope store.Scope) error {
	if err := h.Store.Resend(r.Context(), scope, r.PathValue("id"), r.URL.Query().Get("target")); err != nil {
		return err
	}
	return writeJSON(w, http.StatusAccepted, RedeliveredOutput{1})
}

// RedeliverDead serves POST /_millrace/events/targets/{name}/redeliver: sends every dead
// letter of a target again.
//
//   - name: Name of a target.
func (h *Handler) RedeliverDead(w http.ResponseWriter, r *http.Request, scope store.Scope) error {
	n, err := h.Store.ResendDead(r.Context(), scope, r.PathValue("name"))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusAccepted, RedeliveredOutput{n})
}

func writeJSON(w http.ResponseWriter, status int, v any) error {
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(v); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(b.Bytes()) // the client may have left
	return nil
}
