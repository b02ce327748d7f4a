package live

import (
	"context"
	"sync"

	"github.com/millrace/millrace/internal/ivs"
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

// A journal holds the changes of a session that are not in the database yet. A caller
// takes them, writes them, and then calls putBack; only one caller at a time, so that
// nothing older ever overwrites something newer. The zero journal is ready.
type journal struct {
	mu      sync.Mutex
	pending entries       // guarded by mu; that are not being written
	taken   int           // guarded by mu; how many events are being written
	writing chan struct{} // guarded by mu; closed by putBack; nil while there is no writer
}

// entries are the contents of a journal: the events in order, and the encoder's current
// configuration, nil if it has not changed.
type entries struct {
	events []store.Event
	ingest *ivs.IngestConfigurations
}

func (e entries) empty() bool { return len(e.events) == 0 && e.ingest == nil }

// add appends events. It leaves them out and reports false if then more than
// limit would wait.
func (j *journal) add(limit int, events ...store.Event) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.taken+len(j.pending.events)+len(events) > limit {
		return false
	}
	j.pending.events = append(j.pending.events, events...)
	return true
}

// describe replaces the encoder's configuration.
func (j *journal) describe(in ivs.IngestConfigurations) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.pending.ingest = &in
}

// take returns the pending entries, which may be empty, to be written. It waits
// while others write. The caller ends with putBack, unless there is an error.
func (j *journal) take(ctx context.Context) (entries, error) {
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
			return entries{}, context.Cause(ctx)
		}
	}
}

// tryTake is take without waiting: it returns nothing if nothing is pending or another
// caller is writing. Otherwise the caller ends with putBack.
func (j *journal) tryTake() entries {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.writing != nil || j.pending.empty() {
		return entries{}
	}
	return j.takeLocked()
}

func (j *journal) takeLocked() entries {
	e := j.pending
	j.pending, j.taken, j.writing = entries{}, len(e.events), make(chan struct{})
	return e
}

// putBack ends a write. What the database has not accepted is pending again: the events
// ahead of newer ones, and the encoder's configuration unless a newer one is pending.
func (j *journal) putBack(unwritten entries) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.pending.events = append(unwritten.events, j.pending.events...)
	if j.pending.ingest == nil {
		j.pending.ingest = unwritten.ingest
	}
	j.taken = 0
	close(j.writing)
	j.writing = nil
}
