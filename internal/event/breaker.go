package event

import (
	"sync/atomic"
	"time"
)

// A breaker is the circuit breaker of a target: it keeps the runner from trying
// every lane while the target does not answer at all. The zero breaker is
// closed.
type breaker struct {
	tripped atomic.Bool // workers make no calls
	until   time.Time   // open until then, then half-open
	pause   time.Duration
}

// States of a breaker.
const (
	closed   = iota // calls are made
	halfOpen        // one lane, or two, may be tried
	open            // no calls are made
)

func (b *breaker) state(now time.Time) int {
	switch {
	case b.pause == 0:
		return closed
	case now.Before(b.until):
		return open
	}
	b.tripped.Store(false)
	return halfOpen
}

// trip opens b, each time for longer, until it is reset. A call that had begun when it
// opened does not count again.
func (b *breaker) trip(now time.Time, pause time.Duration) (_ time.Duration, first bool) {
	if b.tripped.Swap(true) {
		return 0, false
	}
	first = b.pause == 0
	b.pause = min(max(2*b.pause, pause), maxWait)
	b.until = now.Add(jitter(b.pause))
	return b.pause, first
}

// reset closes b, and reports whether it was not closed.
func (b *breaker) reset() bool {
	was := b.pause > 0
	b.pause = 0
	b.tripped.Store(false)
	return was
}
