package live

import (
	"context"
	"sync"

	"github.com/millrace/millrace/internal/ingest"
)

// errTakenOver ends the connection of an encoder whose seat another has taken.
var errTakenOver = ingest.Refuse(ingest.TakenOver, "Another encoder has taken over this stream with a higher priority.")

// A seat is an encoder's place in a session.
type seat struct {
	cut   context.CancelCauseFunc
	moves bool          // the encoder connects again when it is asked to
	left  chan struct{} // closed when it is free for the one that has taken over
}

func newSeat(src ingest.Source, cut context.CancelCauseFunc) *seat {
	return &seat{cut, src.Info().Reconnects, make(chan struct{})}
}

// seats say which encoder has a session, of those that take over from each other.
type seats struct {
	trying chan struct{} // holds one while an encoder tries to take over

	mu        sync.Mutex
	present   *seat // guarded by mu; of the present encoder
	leaving   bool  // guarded by mu; it has left, and none took over
	priority  int   // guarded by mu; of the present encoder; 0 is none
	takeovers int   // guarded by mu
}

// init seats the first encoder.
func (s *seats) init(first *seat, priority int) {
	s.trying = make(chan struct{}, 1)
	s.present, s.priority = first, priority
}

// claim takes the seat of the present encoder, which is cut off. It fails when
// that encoder has left already and its session is ending.
func (s *seats) claim(next *seat, priority int) (left <-chan struct{}, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leaving {
		return nil, false
	}
	old := s.present
	s.present, s.priority = next, priority
	s.takeovers++
	old.cut(errTakenOver)
	return old.left, true
}

// release gives up a seat. It reports whether no other encoder has taken it: then the
// session is the caller's to end.
func (s *seats) release(mine *seat) (last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.present != mine {
		close(mine.left)
		return false
	}
	s.leaving = true
	return true
}

// state returns the priority of the present encoder and the number of takeovers so far.
func (s *seats) state() (priority, takeovers int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.priority, s.takeovers
}

// moves reports whether the present encoder connects again when it is asked to.
func (s *seats) moves() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.present.moves
}

// hasLeft reports whether the last encoder has gone: the session is ending.
func (s *Session) hasLeft() bool {
	s.seats.mu.Lock()
	defer s.seats.mu.Unlock()
	return s.seats.leaving
}

// Cut ends the session for a reason, which is sent to the encoder if it is an
// *ingest.Refusal.
func (s *Session) Cut(cause error) {
	s.seats.mu.Lock()
	defer s.seats.mu.Unlock()
	s.seats.present.cut(cause)
}
