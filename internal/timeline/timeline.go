// Package timeline repairs time. Encoders wrap their clocks, set them back and
// forth, and let decoding times stand still; players stall on each of these. A
// Clock maps an encoder's times onto a session's own timeline, which only
// moves forward, and counts everything that it had to mend. What is sound
// stays as it was: the distance between two frames and the distance between
// DTS and PTS are the encoder's.
package timeline

import (
	"time"

	"github.com/millrace/millrace/internal/media"
)

const (
	// Start is where the first frame stands on the session's timeline. It
	// leaves room for a second track that begins a little earlier.
	Start = time.Second

	// maxStep is the longest way between two frames of a track that is
	// believed without asking the wall clock. A slide show of one picture
	// every two seconds is below it.
	maxStep = 3 * time.Second

	// maxBack is how far a track may step back and still be taken for badly
	// ordered rather than for set back.
	maxBack = 500 * time.Millisecond

	// maxSkew is how far a second track may begin or go on from the first and
	// still be believed to share its clock.
	maxSkew = 10 * time.Second

	// maxComposition bounds PTS - DTS. 16 reordered frames at 5 frames a
	// second are below it.
	maxComposition = 5 * time.Second

	wrap24 = (1 << 24) * time.Millisecond // an encoder that ignores extended timestamps
	wrap32 = (1 << 32) * time.Millisecond // RTMP's own, RTMP 1.0 section 5.3.1.3

	// wrapSlack is how near to a whole wrap a step must be to be one.
	wrapSlack = 10 * time.Second
)

// Counters say what a Clock mended, in frames.
type Counters struct {
	Wraps        int64 // the 24-bit or the 32-bit millisecond field began anew
	JumpsForward int64 // the clock was set forward; the wall clock disagreed
	JumpsBack    int64 // the clock was set back
	Backward     int64 // a DTS not after the one before it; moved 1 ms past it
	Gaps         int64 // nothing came for more than 3 s, and the clock agrees
	Skews        int64 // a track whose clock has nothing to do with the other's
	Compositions int64 // a PTS too far from its DTS to be meant; set to it
	Dropped      int64 // a frame from before the beginning
}

// Total is the number of repairs of any kind.
func (c Counters) Total() int64 {
	return c.Wraps + c.JumpsForward + c.JumpsBack + c.Backward + c.Gaps + c.Skews + c.Compositions + c.Dropped
}

// A Clock maps one encoder's times onto a session's timeline. The zero Clock
// is ready.
type Clock struct {
	Counters Counters

	video, audio track
	last         time.Duration // the latest DTS of any track
	started      bool
}

// A track is what a Clock knows of one of its two tracks.
type track struct {
	started bool
	raw     time.Duration // DTS of the last frame by the encoder
	out     time.Duration // DTS of the last frame on the session's timeline
	offset  time.Duration // out - raw, while nothing is mended
	arrived time.Time     // when the last frame came
}

// Repair returns f on the session's timeline; now is when f arrived. gap is
// set on the first frame after a silence that is longer than any frame may
// last. A frame that is not ok is to be dropped.
func (c *Clock) Repair(f media.Frame, now time.Time) (out media.Frame, gap, ok bool) {
	t, other := &c.video, &c.audio
	if !f.Track.IsVideo() {
		t, other = other, t
	}
	composition := f.PTS - f.DTS
	if composition > maxComposition || composition < -maxComposition {
		c.Counters.Compositions++
		composition = 0
	}
	if t.started {
		c.follow(t, other, f.DTS, now)
	} else {
		c.begin(t, other, f.DTS)
	}
	dts := f.DTS + t.offset
	switch {
	case t.started && dts <= t.out:
		c.Counters.Backward++
		dts = t.out + time.Millisecond
	case dts < 0:
		c.Counters.Dropped++
		return media.Frame{}, false, false
	}
	gap = c.started && dts-c.last > maxStep
	if gap {
		c.Counters.Gaps++
	}
	t.started, t.raw, t.out, t.arrived = true, f.DTS, dts, now
	c.started, c.last = true, max(c.last, dts)
	f.DTS, f.PTS = dts, dts+composition
	return f, gap, true
}

// begin places the first frame of t, which was at raw by the encoder.
func (c *Clock) begin(t, other *track, raw time.Duration) {
	if !other.started {
		t.offset = Start - raw
		return
	}
	t.offset = other.offset
	if skew := raw + t.offset - other.out; skew > maxSkew || skew < -maxSkew {
		c.Counters.Skews++
		t.offset = other.out - raw
	}
}

// follow corrects t.offset for a frame at raw if the encoder's clock was
// wrapped or set since the last one.
func (c *Clock) follow(t, other *track, raw time.Duration, now time.Time) {
	step := raw + t.offset - t.out
	elapsed := now.Sub(t.arrived)
	if step >= -maxBack && step <= maxStep {
		return
	}
	// A step as long as the silence before it is a gap and no repair.
	if diff := step - elapsed; step > 0 && diff < maxStep && diff > -maxStep {
		return
	}
	// A step into what the other track has just shown is a gap in this track
	// alone: an encoder that drops pictures when its uplink is too thin.
	if d := raw + t.offset - other.out; step > 0 && other.started && d < maxStep && d > -maxStep {
		return
	}
	// -wrap: a badly ordered frame from before the wrap.
	for _, wrap := range [...]time.Duration{wrap24, wrap32, -wrap24, -wrap32} {
		if d := raw + wrap - t.raw; d > -wrapSlack && d < wrapSlack {
			t.offset += wrap
			c.Counters.Wraps++
			return
		}
	}
	// The other track may have been set first: both go on by one offset, or
	// sound and picture part.
	if d := raw + other.offset - t.out; other.started && d > -maxBack && d < maxStep {
		t.offset = other.offset
		return
	}
	if step > 0 {
		c.Counters.JumpsForward++
	} else {
		c.Counters.JumpsBack++
	}
	t.offset = t.out + max(elapsed, time.Millisecond) - raw
}
