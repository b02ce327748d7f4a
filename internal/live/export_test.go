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

// TakeEvents takes the pending events of a session as one does who waits for the
// database. Until they are put back, nothing of the session is written.
func (s *Session) TakeEvents(ctx context.Context) (events []store.Event, putBack func(...store.Event), err error) {
	events, err = s.journal.take(ctx)
	return events, s.journal.putBack, err
}

// HeartbeatFails writes an event of a session and a block of figures while the
// database takes nothing.
func (h *Hub) HeartbeatFails(s *Session, e store.Event, block store.Metrics) {
	away, cancel := context.WithCancel(context.Background())
	cancel()
	s.addEvents(e)
	h.writeChanges(away, []change{{s, s.journal.tryTake()}})
	h.save(away, []store.Metrics{block})
}
