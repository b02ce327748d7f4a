// Package ingesttest provides an encoder in memory: frames that a test writes reach a
// handler like those of an ingest.Source, in real or in virtual time.
package ingesttest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/ingest"
	"github.com/millrace/millrace/internal/media"
)

// ErrSilent is the handler's error after 30 s without a frame.
var ErrSilent = errors.New("the encoder is silent")

// readTimeout is how long a handler waits for a frame.
const readTimeout = 30 * time.Second

// Addr is where an Encoder publishes from.
var Addr net.Addr = &net.UnixAddr{Name: "memory", Net: "unix"}

// An Encoder is both ends of a connection: the test writes frames, the handler
// reads them from the same Encoder as an ingest.Source.
type Encoder struct {
	info     ingest.Info
	frames   chan media.Frame
	accepted chan struct{} // closed by Accept
	left     chan struct{} // closed when the encoder leaves
	cut      chan struct{} // closed by Cut
	asked    chan struct{} // closed by Reconnect
	ended    chan struct{} // closed by End
	returned chan struct{} // closed when the handler has returned

	once struct{ leave, cut, end, ask sync.Once }

	// Each is set before the channel of its name is closed.
	leftErr, cutErr, endErr error

	mu       sync.Mutex
	metadata ingest.Metadata  // guarded by mu
	audio    *media.Track     // guarded by mu
	stats    media.InputStats // guarded by mu
}

// Publish begins to publish to handle, which is called on a goroutine of running, and
// returns when the handler has accepted the encoder, or with the error with which it was
// refused.
func Publish(ctx context.Context, running *sync.WaitGroup, handle func(context.Context, ingest.Source) error, info ingest.Info) (*Encoder, error) {
	if info.RemoteAddr == nil {
		info.RemoteAddr = Addr
	}
	e := &Encoder{
		info: info, frames: make(chan media.Frame), accepted: make(chan struct{}),
		left: make(chan struct{}), cut: make(chan struct{}), asked: make(chan struct{}), ended: make(chan struct{}), returned: make(chan struct{}),
	}
	running.Go(func() {
		defer context.AfterFunc(ctx, func() { e.Cut(context.Cause(ctx)) })()
		defer close(e.returned)
		e.End(handle(ctx, e))
	})
	select {
	case <-e.accepted:
		return e, nil
	case <-e.ended:
		return nil, e.err()
	}
}

// Announce sets the encoder's metadata.
func (e *Encoder) Announce(m ingest.Metadata) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.metadata = m
}

// Count sets the source's Stats: frames that a test writes are always carried as they
// are.
func (e *Encoder) Count(s media.InputStats) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stats = s
}

// AnnounceAudio announces an audio track; its frames may come later, or never.
func (e *Encoder) AnnounceAudio(t *media.Track) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.audio = t
}

// WriteFrame returns when the handler reads f, or with the error for which it no longer
// reads.
func (e *Encoder) WriteFrame(f media.Frame) error {
	if !f.Track.IsVideo() {
		e.AnnounceAudio(f.Track)
	}
	select {
	case e.frames <- f:
		return nil
	case <-e.ended:
		return e.err()
	}
}

// err is the error that ends the encoder's connection.
func (e *Encoder) err() error {
	if e.endErr != nil {
		return e.endErr
	}
	return io.ErrClosedPipe
}

// Close ends the stream cleanly and waits until the handler returns. It returns the error
// that ends the encoder's connection.
func (e *Encoder) Close() error {
	e.leave(io.EOF)
	<-e.returned
	return e.endErr
}

// Asked is closed when the encoder has been asked to connect again.
func (e *Encoder) Asked() <-chan struct{} { return e.asked }

// Lose breaks the connection.
func (e *Encoder) Lose() { e.leave(fmt.Errorf("%w: connection lost", io.ErrUnexpectedEOF)) }

func (e *Encoder) leave(err error) {
	e.once.leave.Do(func() {
		e.leftErr = err
		close(e.left)
	})
}

// The handler's end.

// Stats returns what Count has set.
func (e *Encoder) Stats() media.InputStats {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.stats
}

// Info describes the connection.
func (e *Encoder) Info() ingest.Info { return e.info }

// Accept makes Publish return.
func (e *Encoder) Accept() error {
	close(e.accepted)
	return nil
}

// ReadFrame returns the next frame that is written.
func (e *Encoder) ReadFrame() (media.Frame, error) {
	silence := time.NewTimer(readTimeout)
	defer silence.Stop()
	select {
	case f := <-e.frames:
		return f, nil
	case <-e.left:
		return media.Frame{}, e.leftErr
	case <-e.cut:
		return media.Frame{}, fmt.Errorf("encoder %v: %w", e.info.RemoteAddr, e.cutErr)
	case <-silence.C:
		return media.Frame{}, ErrSilent
	}
}

// Metadata returns what was announced.
func (e *Encoder) Metadata() ingest.Metadata {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.metadata
}

// AudioTrack returns what was announced.
func (e *Encoder) AudioTrack() *media.Track {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.audio
}

// Cut makes ReadFrame fail.
func (e *Encoder) Cut(cause error) {
	e.once.cut.Do(func() {
		e.cutErr = cause
		close(e.cut)
	})
}

// Reconnect closes the channel that Asked returns.
func (e *Encoder) Reconnect() { e.once.ask.Do(func() { close(e.asked) }) }

// End ends the writing of frames with an error that has err's refusal.
func (e *Encoder) End(err error) {
	e.once.end.Do(func() {
		if !errors.Is(err, io.EOF) {
			e.endErr = err
		}
		close(e.ended)
	})
}
