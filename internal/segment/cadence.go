package segment

import (
	"time"

	"github.com/millrace/millrace/internal/media"
)

// cadence tracks the intervals between frames and between key frames: parts are ended on
// predictions from it.
type cadence struct {
	first   time.Duration // DTS of the first frame
	last    time.Duration // DTS of the last frame
	count   int64         // of frames
	mean    time.Duration // running mean of the distance between frames; 0 when there was only one
	lastKey time.Duration
	gop     int           // frames since the last key frame, it included
	lastGOP int           // frames in the last whole group
	regular bool          // the last two groups had as many
	longest time.Duration // distance between two key frames
}

func (c *cadence) add(f media.Frame) {
	if d := f.DTS - c.last; c.count > 0 && d > 0 {
		if c.mean == 0 {
			c.mean = min(d, time.Second)
		}
		c.mean += (min(d, 2*c.mean) - c.mean) / 8 // a pause counts little
	}
	if c.count == 0 {
		c.first = f.DTS
	}
	c.count++
	c.last = f.DTS
	if f.Key {
		if c.gop > 0 {
			c.longest = max(c.longest, f.DTS-c.lastKey)
			c.regular = c.gop == c.lastGOP
			c.lastGOP = c.gop
		}
		c.gop, c.lastKey = 0, f.DTS
	}
	c.gop++
}

// average returns the mean duration of a frame so far; v is as in frame.
func (c *cadence) average(v *media.Track) time.Duration {
	if c.count < 2 {
		return c.frame(v)
	}
	seen := (c.last - c.first) / time.Duration(c.count-1)
	if n := nominal(v); n > 0 && near(seen, n) {
		return n
	}
	return seen
}

// expectsKey reports whether the next frame should be a key frame.
func (c *cadence) expectsKey() bool { return c.regular && c.gop == c.lastGOP }

// frame returns how long a frame lasts: as the parameter sets say, unless the frames
// contradict them. RTMP's milliseconds make the mean a little unsteady.
//
// It predicts the next frame; average is a figure for people.
func (c *cadence) frame(v *media.Track) time.Duration {
	if n := nominal(v); n > 0 && (c.mean == 0 || near(c.mean, n)) {
		return n
	}
	if c.mean == 0 {
		return time.Second / 30
	}
	return max(c.mean, time.Millisecond)
}

// nominal is how long a frame lasts by the parameter sets; 0 if they are
// silent or no video is meant.
func nominal(v *media.Track) time.Duration {
	if v == nil || v.Video.FrameRate <= 0 || v.Video.FrameRate > 1000 {
		return 0
	}
	return time.Duration(float64(time.Second) / v.Video.FrameRate)
}

// near reports whether a is within a quarter of b.
func near(a, b time.Duration) bool { return a-b < b/4 && b-a < b/4 }
