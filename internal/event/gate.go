package event

import (
	"sync/atomic"
	"time"
)

// A gate keeps the runner from trying every lane on a target that does not
// answer at all. The zero gate is open.
type gate struct {
	closed atomic.Bool // workers try nothing
	until  time.Time   // closed until then, then ajar
	pause  time.Duration
}

// States of a gate.
const (
	open = iota
	ajar // a lane or two may try
	shut
)

func (g *gate) state(now time.Time) int {
	switch {
	case g.pause == 0:
		return open
	case now.Before(g.until):
		return shut
	}
	g.closed.Store(false)
	return ajar
}

// close shuts g, each time for longer, until it is opened. What was on the way
// when it was shut does not count.
func (g *gate) close(now time.Time, pause time.Duration) (_ time.Duration, first bool) {
	if g.closed.Swap(true) {
		return 0, false
	}
	first = g.pause == 0
	g.pause = min(max(2*g.pause, pause), maxWait)
	g.until = now.Add(jitter(g.pause))
	return g.pause, first
}

// open reports whether g was not.
func (g *gate) open() bool {
	was := g.pause > 0
	g.pause = 0
	g.closed.Store(false)
	return was
}
