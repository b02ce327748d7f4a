package live

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/millrace/millrace/internal/ingest"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
)

// end closes a session whose encoder has left for the given cause (nil: it left cleanly)
// and writes its last events. What the database does not accept is written with a later
// heartbeat, with the present times.
func (h *Hub) end(ctx context.Context, s *Session, cause error) {
	end := store.End{StreamID: s.StreamID, Left: time.Now(), Code: s.endCode(cause), Reason: endReason(cause)}
	h.sessions.left(s)
	s.held.expiry.Stop()
	s.broadcast.CloseSource()
	s.writeLeft(ctx, end)
	s.renditions.wait()
	s.broadcast.Close()
	s.Viewers.Close()
	end.Ended = time.Now()
	if err := s.writeEnd(ctx, end); err != nil {
		s.log.Error("writing the end of the session failed; it will be written with a heartbeat", "error", err)
		h.backlog.addEnd(s, end)
	}
	s.logEnd(cause)
	if s.held.recorded != nil {
		s.held.recorded(errors.Is(cause, ErrLost))
	}
	h.sessions.end(s)
	h.writeMetrics(ctx, s.measurements(time.Now(), true))

	linger := cmp.Or(h.Linger, time.Minute)
	if !s.visible() {
		linger = 0
	}
	unreserve := s.held.unreserve
	h.lingering.add(linger, s.Channel, func() {
		h.forget(s)
		unreserve()
	})
}

// endReason returns the text that was sent to an encoder that was refused or cut off; ""
// for any other. It may quote the encoder.
func endReason(cause error) string {
	refusal, ok := errors.AsType[*ingest.Refusal](cause)
	if !ok {
		return ""
	}
	return refusal.Text
}

// writeEnds writes the ends that the database has not taken yet.
func (h *Hub) writeEnds(ctx context.Context) {
	for _, u := range h.backlog.allEnds() {
		if err := u.session.writeEnd(ctx, u.end); err != nil {
			return // it has been logged; all come again
		}
		u.session.log.Info("the end of the session has now been written", "left", u.end.Left)
		h.backlog.removeEnd(u.end.StreamID)
	}
}

// writeLeft writes the pending events of a session whose encoder has left, and Session
// Ended. What fails is written with the end.
func (s *Session) writeLeft(ctx context.Context, end store.End) {
	ctx, cancel := context.WithTimeout(ctx, dbTimeout)
	defer cancel()
	err := s.flush(ctx, ivs.HealthUnknown)
	if err == nil {
		err = s.store.EndSession(ctx, s.StreamID, end.Left, end.Code)
	}
	if err != nil {
		s.log.Error("writing Session Ended failed; it will be written with Stream End", "error", err)
	}
}

// writeEnd writes the part of the session's end that is not written yet.
func (s *Session) writeEnd(ctx context.Context, end store.End) error {
	ctx, cancel := context.WithTimeout(ctx, dbTimeout)
	defer cancel()
	pending, err := s.journal.take(ctx)
	if err != nil {
		return err
	}
	end.Events, end.Ingest = pending.events, pending.ingest
	if err = s.store.WriteEnd(ctx, end); err == nil {
		pending = entries{}
	}
	s.journal.putBack(pending)
	return err
}

func (s *Session) logEnd(cause error) {
	reason := "encoder left"
	switch {
	case errors.Is(cause, context.Canceled):
		reason = "the server is stopping"
	case cause != nil:
		reason = cause.Error()
	}
	s.log.Info("session ended", "reason", reason, "frames", s.broadcast.Frames(), "media", s.broadcast.Duration().Round(time.Second), "repairs", s.broadcast.Repairs(), "input", s.input.Load(), "live", s.visible())
}
