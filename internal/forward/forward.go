package forward

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/ingest"
	"github.com/millrace/millrace/internal/media"
)

const (
	// helloTime is how long the first message may take, readTimeout each frame: the
	// node in front ends the connection of a silent encoder before.
	helloTime   = 5 * time.Second
	readTimeout = 40 * time.Second
	extendEvery = 5 * time.Second // how often that deadline is moved

	// endTime is how long the other node may take to say how the stream ended, after
	// the encoder has left.
	endTime = 5 * time.Second

	noSessionStatus = http.StatusGone
	refusedStatus   = http.StatusConflict
)

// Send forwards src to the node that do sends requests to, where Handler receives it, and
// returns how that ended, with a message for the encoder if there is one. accepted
// reports whether the other node had accepted the encoder; if not, nothing has been read
// from src, and the error may be do's or ingest.ErrNoSession.
func Send(ctx context.Context, src ingest.Source, do func(*http.Request) (*http.Response, error)) (accepted bool, err error) {
	info := src.Info()
	body, feed := io.Pipe()
	w := newWriter(feed)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "/", body)
	if err != nil {
		return false, err
	}
	greeted := make(chan struct{})
	go func() {
		defer close(greeted)
		w.json(kindHello, greeting{info.Protocol, info.StreamKey, info.Query, info.Secure, info.RemoteAddr.String(), info.Reconnects})
		_ = w.flush() // w keeps it
	}()
	refuse := func(err error) (bool, error) {
		feed.CloseWithError(err)
		<-greeted
		return false, err
	}
	res, err := do(r)
	if err != nil {
		return refuse(err)
	}
	defer res.Body.Close()
	if err := refusalOf(res); err != nil {
		return refuse(err)
	}
	<-greeted
	return true, sendFrames(ctx, src, w, feed, res.Body)
}

// refusalOf is why the other node does not take the encoder, nil if it does.
func refusalOf(res *http.Response) error {
	switch res.StatusCode {
	case http.StatusOK:
		return nil
	case noSessionStatus:
		return ingest.ErrNoSession
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, maxSmall))
	if err != nil || res.StatusCode != refusedStatus {
		return fmt.Errorf("the other node answers %s: %.200s", res.Status, text)
	}
	var e ending
	if err := decodeJSON(text, &e); err != nil {
		return err
	}
	return e.err()
}

// sendFrames sends the frames of src until it or the other node ends that.
func sendFrames(ctx context.Context, src ingest.Source, w *writer, feed *io.PipeWriter, said io.ReadCloser) error {
	defer context.AfterFunc(ctx, func() { src.Cut(context.Cause(ctx)) })()
	ended := make(chan error, 1)
	var reading sync.WaitGroup
	reading.Go(func() {
		err := readAnswers(said, src)
		ended <- err
		if err != nil {
			src.Cut(err)
		}
	})
	defer reading.Wait()
	defer said.Close() // ends the reading
	left := src.Accept()
	for left == nil {
		var f media.Frame
		if f, left = src.ReadFrame(); left == nil {
			left = w.frame(f, src)
		}
	}
	w.count(src)
	if errors.Is(left, io.EOF) {
		w.message(kindEnd)
	} else {
		w.json(kindEnd, newEnding(left))
	}
	feed.CloseWithError(w.flush()) // nil is the end of the body
	select {
	case err := <-ended: // the other node has read all
		if err != nil {
			return err
		}
	case <-time.After(endTime):
	}
	if errors.Is(left, io.EOF) {
		return nil
	}
	return left
}

func isRefusal(err error) bool {
	_, ok := errors.AsType[*ingest.Refusal](err)
	return ok
}

// readAnswers has src connect again when the other node asks for that, and returns what
// that node says when it ends the encoder's connection; nil if the stream has ended cleanly.
func readAnswers(said io.Reader, src ingest.Source) error {
	in := json.NewDecoder(io.LimitReader(said, maxSmall))
	for {
		var a answer
		if err := in.Decode(&a); err != nil {
			return fmt.Errorf("the node that has the stream was lost: %w", media.Truncated(err))
		}
		if !a.Reconnect {
			return a.err()
		}
		src.Reconnect()
	}
}

// Handler receives what Send forwards: it calls join with the encoder. join returns
// ingest.ErrNoSession if there is no session for the encoder.
func Handler(join func(context.Context, ingest.Source) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e := &encoder{w: w, control: http.NewResponseController(w), r: newReader(r.Body)}
		defer e.leave()
		if err := e.greet(); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		err := join(r.Context(), e)
		switch {
		case e.hasBegun():
			e.End(err)
		case errors.Is(err, ingest.ErrNoSession):
			w.WriteHeader(noSessionStatus)
		case isRefusal(err):
			w.WriteHeader(refusedStatus)
			_ = json.NewEncoder(w).Encode(newEnding(err)) // the other may have left
		default:
			http.Error(w, fmt.Sprint(err), http.StatusInternalServerError)
		}
	})
}

// An encoder is one that another node sends here: an ingest.Source.
type encoder struct {
	info     ingest.Info
	r        *reader
	extended time.Time // when the deadline for reading was last moved
	cause    atomic.Pointer[error]

	mu       sync.Mutex
	w        http.ResponseWriter      // guarded by mu, as is what follows
	accepted bool                     // the encoder may begin
	moves    bool                     // it is to be asked to connect again
	ended    bool                     // it has been disconnected, or the request is over
	control  *http.ResponseController // only where Cut may use it; nil when the request has been answered
}

// An addr is an encoder's address as the other node knows it.
type addr string

func (a addr) Network() string { return "tcp" }
func (a addr) String() string  { return string(a) }

// greet reads the first message, which says which encoder it is.
func (e *encoder) greet() error {
	if err := e.control.SetReadDeadline(time.Now().Add(helloTime)); err != nil {
		return err
	}
	g, err := e.r.hello()
	if err != nil {
		return err
	}
	e.info = ingest.Info{Protocol: g.Protocol, StreamKey: g.StreamKey, Query: url.Values(g.Query), Secure: g.Secure, RemoteAddr: addr(g.RemoteAddr), Reconnects: g.Reconnects}
	return nil
}

func (e *encoder) leave() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ended, e.control = true, nil
}

func (e *encoder) hasBegun() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.accepted
}

// Info describes the encoder's connection to the other node.
func (e *encoder) Info() ingest.Info { return e.info }

// Accept has the other node let the encoder begin.
func (e *encoder) Accept() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.accepted = true
	e.w.WriteHeader(http.StatusOK)
	if e.moves {
		e.answer(answer{Reconnect: true})
	}
	return errors.Join(e.control.SetWriteDeadline(time.Time{}), e.extend(time.Now()), e.control.Flush())
}

// extend moves the deadline for reading.
func (e *encoder) extend(now time.Time) error {
	if now.Sub(e.extended) < extendEvery {
		return nil
	}
	e.extended = now
	return e.control.SetReadDeadline(now.Add(readTimeout))
}

// ReadFrame returns the next frame.
func (e *encoder) ReadFrame() (f media.Frame, err error) {
	err = e.extend(time.Now())
	if cause := e.cause.Load(); err == nil && cause == nil {
		f, err = e.r.frame()
	}
	switch cause := e.cause.Load(); {
	case cause != nil:
		err = *cause
	case err == nil || errors.Is(err, io.EOF):
		return f, err
	case !isRefusal(err) && !errors.Is(err, io.ErrUnexpectedEOF):
		err = fmt.Errorf("%w: %w", io.ErrUnexpectedEOF, err)
	}
	return f, fmt.Errorf("encoder %v: %w", e.info.RemoteAddr, err)
}

// Metadata returns the metadata that the encoder has announced.
func (e *encoder) Metadata() ingest.Metadata { return e.r.metadata }

// AudioTrack returns the audio track that the encoder has announced.
func (e *encoder) AudioTrack() *media.Track { return e.r.audio }

// Stats are the other node's.
func (e *encoder) Stats() media.InputStats { return e.r.stats }

// Cut makes ReadFrame fail.
func (e *encoder) Cut(cause error) {
	if !e.cause.CompareAndSwap(nil, &cause) {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.control != nil {
		_ = e.control.SetReadDeadline(time.Unix(1, 0)) // a request that is over needs none
	}
}

// Reconnect has the other node ask the encoder to connect again.
func (e *encoder) Reconnect() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.moves = true
	if e.accepted && !e.ended {
		e.answer(answer{Reconnect: true})
	}
}

// End tells the other node how the stream ended, which tells the encoder.
func (e *encoder) End(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ended || !e.accepted {
		return
	}
	e.ended = true
	e.answer(answer{ending: newEnding(err)})
}

// answer writes to the other node, which may have left. The caller holds mu.
func (e *encoder) answer(a answer) {
	_ = json.NewEncoder(e.w).Encode(a) // as above
	_ = e.control.Flush()
}
