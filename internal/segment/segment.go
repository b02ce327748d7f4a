// Package segment cuts a stream of frames into parts and segments, and hands
// them to the renditions of an hls.Stream.
//
// There are two kinds of segmenters over one packer: a Leader decides where to
// cut, by the key frames that it gets; a Follower cuts another encoding of the
// same video where the Leader has cut it. Each is a media.Writer that one
// goroutine writes to and that does all its work within WriteFrame: the frame
// that fills a part also publishes it.
package segment

import (
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/media"
)

const (
	// timeOffset is added to all times of the media: a clock reference runs
	// ahead of its frame, and fragments have no negative times.
	timeOffset = 10 * time.Second

	// KeyInterval is the maximum distance between key frames in renditions that are
	// encoded from the source: each key frame of the source is one of theirs, and if the
	// next one is late, they have one of their own every KeyInterval.
	KeyInterval = 2 * time.Second

	// keySlack is how much earlier than KeyInterval such a key frame may be: times may be
	// rounded to milliseconds, by the encoder and on the way to another one.
	keySlack = 3 * time.Millisecond

	// maxPartBytes ends a part early: what is collected is on the heap.
	maxPartBytes = 8 << 20
)

// KeyIntervals returns how many whole KeyIntervals there are in since, the time from a
// key frame of the source to another frame. The first frame for which it increases is a
// key frame of the encoded renditions.
func KeyIntervals(since time.Duration) int64 { return int64((since + keySlack) / KeyInterval) }

// Counters are counters of a Leader or a Follower.
type Counters struct {
	Holes   int64 // periods without frames that were too long to be part of a part
	Dropped int64 // frames that no player could use: malformed, or before a key frame
}

// counters are Counters that another goroutine may read.
type counters struct{ holes, dropped atomic.Int64 }

// Counters returns the counters so far. Any goroutine may call it.
func (c *counters) Counters() Counters { return Counters{c.holes.Load(), c.dropped.Load()} }

// usable reports whether f can be packed: it is not too large, and its data is
// what a decoder takes it to be.
func usable(f media.Frame) bool {
	return len(f.Data) <= maxPartBytes && f.Track.WellFormed(f.Data)
}
