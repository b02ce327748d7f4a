package cluster

import (
	"sync/atomic"
	"time"
)

const (
	// maxOff is the difference from the database's clock above which a warning is logged.
	maxOff = 10 * time.Second

	// sayEvery is the minimum interval between these warnings.
	sayEvery = time.Hour
)

// A clock is the database's, which all nodes agree on: signatures between nodes do
// not depend on their own clocks. The zero clock is this machine's.
type clock struct {
	off  atomic.Int64 // of this machine's clock, nanoseconds behind the database's
	said time.Time    // when a difference was last reported; the goroutine that sets it uses it
}

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.off.Load())) }

// set takes in what the database's clock said at a time of this machine's. It
// returns how far they differ if that is much and is to be reported.
func (c *clock) set(database, here time.Time) (report time.Duration) {
	off := database.Sub(here)
	c.off.Store(int64(off))
	if off.Abs() < maxOff || time.Since(c.said) < sayEvery {
		return 0
	}
	c.said = time.Now()
	return off.Round(time.Second)
}
