package broadcast

import (
	"time"

	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/timeline"
)

// maxSplice is the longest pause between two encoders that the timeline keeps: players
// could not continue after a longer one.
const maxSplice = 2500 * time.Millisecond

// A spliceClock is the broadcast's timeline, which continues from encoder to encoder.
type spliceClock struct {
	timeline.Clock // the clock of the present encoder; its counters are those of the broadcast

	shift time.Duration // from that timeline to the broadcast's
	floor time.Duration // DTS of the last frame of the encoder before; 0 without one
	last  time.Duration // the latest DTS
	at    time.Time     // when that frame came
}

// Repair is timeline.Clock.Repair, with times on the broadcast's timeline.
func (c *spliceClock) Repair(f media.Frame, now time.Time) (out media.Frame, gap, ok bool) {
	out, gap, ok = c.Clock.Repair(f, now)
	out.DTS += c.shift
	out.PTS += c.shift
	if !ok || c.floor > 0 && out.DTS <= c.floor {
		return out, false, false
	}
	if out.DTS > c.last {
		c.last, c.at = out.DTS, now
	}
	return out, gap, true
}

// Epoch is the wall clock at zero of the broadcast's timeline.
func (c *spliceClock) Epoch() time.Time { return c.Clock.Epoch().Add(-c.shift) }

// splice continues with another encoder, whose first frame came at the given time.
func (c *spliceClock) splice(at time.Time) {
	const frame = time.Second / 30
	pause := min(max(at.Sub(c.at), frame), maxSplice)
	c.Clock = timeline.Clock{Counters: c.Counters, Totals: c.Totals}
	c.shift = c.last + pause - timeline.Start
	c.floor = c.last
}
