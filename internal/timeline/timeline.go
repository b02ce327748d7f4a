// Package timeline repairs time. Encoders wrap their clocks, set them back and
// forth, and let decoding times stand still; players stall on each of these. A
// Clock maps an encoder's times onto a broadcast's own timeline, which only
// moves forward, and counts everything that it had to repair. What is valid
// stays as it was: the distance between two frames and the distance between
// DTS and PTS are the encoder's.
package timeline

import (
	"cmp"
	"time"

	"github.com/millrace/millrace/internal/media"
)

const (
	// Start is the position of the first frame on the broadcast's timeline. It leaves room
	// for a second track that begins a little earlier.
	Start = time.Second

	// minStep is the shortest way between two frames of a track: no part holds
	// more than a thousand frames a second.
	minStep = time.Millisecond

	// maxStep is the longest way between two frames of a track that is
	// believed without asking the wall clock. A slide show of one frame
	// every two seconds is below it.
	maxStep = 3 * time.Second

	// maxLead is how far a track may run ahead of the wall clock: an encoder
	// that sends faster than real time, or lies by small steps.
	maxLead = 10 * time.Second

	// maxBack is how far a track may step back and still be taken for badly
	// ordered rather than for set back.
	maxBack = 500 * time.Millisecond

	// maxSkew is how far a second track may begin behind the first and still be
	// believed to share its clock.
	maxSkew = 10 * time.Second

	// maxAhead is how far it may begin ahead. Farther, players would wait for
	// the other track.
	maxAhead = 2500 * time.Millisecond

	// maxComposition bounds PTS - DTS. 16 reordered frames at 5 frames a
	// second are below it.
	maxComposition = 5 * time.Second

	wrap24 = (1 << 24) * time.Millisecond // an encoder that ignores extended timestamps
	wrap32 = (1 << 32) * time.Millisecond // RTMP's own, RTMP 1.0 section 5.3.1.3

	// usualStep is taken for the step of a track that has made none.
	usualStep = 40 * time.Millisecond

	// wrapSlack is how near to a whole wrap a step must be to be one.
	wrapSlack = 10 * time.Second
)

// A Clock maps one encoder's times to a broadcast's timeline. The zero Clock is ready to
// use. Only one goroutine may use it.
type Clock struct {
	Counters Counters  // what was repaired, in frames
	Totals   []*Totals // also counted here; may be nil

	video, audio track
	wall         wall
	last         time.Duration // the latest DTS of any track
	started      bool
}

// A track is the state of one of the two tracks of a Clock.
type track struct {
	started bool
	raw     time.Duration // DTS of the last frame by the encoder
	out     time.Duration // DTS of the last frame on the broadcast's timeline
	offset  time.Duration // out - raw, while nothing is repaired
	step    time.Duration // between the last two frames that needed no repair
	arrived time.Time     // when the last frame came

	// Where the encoder's clock last moved, and how many frames came since.
	moved   time.Time
	movedTo time.Duration // on the broadcast's timeline
	stands  int
}

func (c *Clock) count(k Kind) {
	c.Counters[k]++
	for _, t := range c.Totals {
		t[k].Add(1)
	}
}

// Repair returns f on the broadcast's timeline; now is when f arrived. gap is set on the
// first frame after a pause that is longer than any frame may last. If ok is false the
// frame must be dropped.
func (c *Clock) Repair(f media.Frame, now time.Time) (out media.Frame, gap, ok bool) {
	t, other := &c.video, &c.audio
	if !f.Track.IsVideo() {
		t, other = other, t
	}
	composition := f.PTS - f.DTS
	if composition > maxComposition || composition < -maxComposition {
		c.count(Composition)
		composition = 0
	}
	if t.started {
		c.follow(t, other, f.DTS, now)
	} else {
		c.begin(t, other, f.DTS)
	}
	dts := f.DTS + t.offset
	switch {
	case t.started && dts < t.out+minStep:
		late := t.advance(f, now) - dts
		dts += late
		if composition >= late {
			composition -= late // the frame can still be shown when it should be
		}
		c.count(t.disorder(f.DTS))
	case dts < 0:
		c.count(Dropped)
		return media.Frame{}, false, false
	case t.started:
		t.step = dts - t.out
	}
	gap = c.started && dts-c.last > maxStep
	if gap {
		c.count(Gap)
	}
	t.pass(f.DTS, dts, now)
	c.started, c.last = true, max(c.last, dts)
	c.wall.observe(dts, now)
	f.DTS, f.PTS = dts, dts+composition
	return f, gap, true
}

// Epoch returns the wall clock time at zero of the broadcast's timeline. It follows the
// drift of the encoder's clock, by a few milliseconds at a time.
func (c *Clock) Epoch() time.Time { return c.wall.epoch }

// pass notes that a frame with those times has gone out.
func (t *track) pass(raw, out time.Duration, now time.Time) {
	if t.started && raw == t.raw {
		t.stands++
	} else {
		t.stands, t.moved, t.movedTo = 0, now, out
	}
	t.started, t.raw, t.out, t.arrived = true, raw, out, now
}

// advance returns the position of a frame whose DTS is not after the last one on the
// timeline: a step later; by the wall clock while the encoder's clock stands still; and
// minStep later while that clock catches up. A step of video is half a frame interval, so
// that the next frame keeps its place; one of audio is the duration of the frame.
func (t *track) advance(f media.Frame, now time.Time) time.Duration {
	step := cmp.Or(t.step, usualStep) / 2
	if d := f.Track.FrameDuration(); d > 0 {
		step = d
	}
	d := min(now.Sub(t.arrived), step)
	switch {
	case f.DTS > t.raw:
		d = 0
	case f.DTS == t.raw && t.stands >= 2:
		d = t.movedTo + now.Sub(t.moved) - t.out
	}
	return t.out + max(d, minStep)
}

func (t *track) disorder(raw time.Duration) Kind {
	if raw == t.raw {
		return Equal
	}
	return Backward
}

// begin places the first frame of t, which was at raw by the encoder.
func (c *Clock) begin(t, other *track, raw time.Duration) {
	if !other.started {
		t.offset = Start - raw
		return
	}
	t.offset = other.offset
	skew := raw + t.offset - other.out
	for _, wrap := range wraps {
		if believable(skew + wrap) {
			t.offset += wrap
			c.count(Wrap)
			return
		}
	}
	if !believable(skew) {
		c.count(Skew)
		t.offset = other.out - raw
	}
}

// believable reports whether two tracks with one clock may begin so far apart.
func believable(skew time.Duration) bool { return skew > -maxSkew && skew < maxAhead }

// near reports whether a is less than limit from b.
func near(a, b, limit time.Duration) bool { return a-b < limit && b-a < limit }

// wraps are the offsets that a wrapped timestamp field can cause; negative for a frame
// from before the wrap that is out of order.
var wraps = [...]time.Duration{wrap24, wrap32, -wrap24, -wrap32}

// follow corrects t.offset for a frame at raw if the encoder's clock was
// wrapped or set since the last one.
func (c *Clock) follow(t, other *track, raw time.Duration, now time.Time) {
	step := raw + t.offset - t.out
	elapsed := now.Sub(t.arrived)
	if raw == t.raw || step >= -maxBack && step <= maxStep {
		// Step by step an encoder may run away from the wall clock as well: what
		// comes faster than it lasts, for long, takes the time that passes.
		if step > 0 && raw+t.offset-now.Sub(c.wall.epoch) > maxLead {
			c.count(JumpForward)
			t.offset = t.out + max(elapsed, minStep) - raw
		}
		return
	}
	// A step as long as the silence before it is a gap and no repair.
	if step > 0 && near(step, elapsed, maxStep) {
		return
	}
	// A step into what the other track has just shown is a gap in this track
	// alone: an encoder that drops video frames when its uplink is too thin.
	if step > 0 && other.started && near(raw+t.offset, other.out, maxStep) {
		return
	}
	for _, wrap := range wraps {
		if near(raw+wrap, t.raw, wrapSlack) {
			t.offset += wrap
			c.count(Wrap)
			return
		}
	}
	// The other track may have been set first: both continue with one offset, or
	// audio and video part.
	if d := raw + other.offset - t.out; other.started && d > -maxBack && d < maxStep {
		t.offset = other.offset
		return
	}
	if step > 0 {
		c.count(JumpForward)
	} else {
		c.count(JumpBack)
	}
	t.offset = t.out + max(elapsed, minStep) - raw
}
