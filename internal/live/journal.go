package live

import (
	"context"
	"sync"

	"github.com/millrace/millrace/internal/store"
)

const (
	// maxPending bounds the events of one session that wait for the database.
	// Further ones are left out.
	maxPending = 1000

	// maxPendingRefusals is how many events may wait before refused takeovers
	// are left out: an encoder that tries over and over displaces no other event.
	maxPendingRefusals = 50
)

// A journal holds the events of a session that are not in the database yet, in
// their order. A caller takes them, writes them, and ends that with putBack; one
// at a time. The zero journal is ready.
type journal struct {
	mu      sync.Mutex
	pending []store.Event // guarded by mu; that are not being written
	taken   int           // guarded by mu; how many are being written
	writing chan struct{} // guarded by mu; closed by putBack; nil while none are being written
}

// add appends events. It leaves them out and reports false if then more than
// limit would wait.
func (j *journal) add(limit int, events ...store.Event) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.taken+len(j.pending)+len(events) > limit {
		return false
	}
	j.pending = append(j.pending, events...)
	return true
}

// take returns the pending events, which may be none, to be written. It waits
// while others write. The caller ends with putBack, unless there is an error.
func (j *journal) take(ctx context.Context) ([]store.Event, error) {
	for {
		j.mu.Lock()
		writing := j.writing
		if writing == nil {
			defer j.mu.Unlock()
			return j.takeLocked(), nil
		}
		j.mu.Unlock()
		select {
		case <-writing:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// tryTake is take for a caller that comes again: it returns none where there
// are none, and while others write. Only with some, the caller ends with putBack.
func (j *journal) tryTake() []store.Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.writing != nil || len(j.pending) == 0 {
		return nil
	}
	return j.takeLocked()
}

func (j *journal) takeLocked() []store.Event {
	events := j.pending
	j.pending, j.taken, j.writing = nil, len(events), make(chan struct{})
	return events
}

// putBack ends the writing of events that were taken. Those that the database
// has not taken come first again.
func (j *journal) putBack(unwritten ...store.Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.pending = append(unwritten, j.pending...)
	j.taken = 0
	close(j.writing)
	j.writing = nil
}
