package live

import (
	"context"

	"github.com/millrace/millrace/internal/store"
)

// What a pacer allows.
const (
	FreeSessions = freeSessions
	SessionEvery = sessionEvery
)

// TakePending takes what is pending of a session as one does who waits for the
// database. Until it is put back, with more events behind it, nothing of the
// session is written.
func (s *Session) TakePending(ctx context.Context) (putBack func(more ...store.Event), err error) {
	pending, err := s.journal.take(ctx)
	return func(more ...store.Event) {
		pending.events = append(pending.events, more...)
		s.journal.putBack(pending)
	}, err
}
