package transcode

import (
	"time"

	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/segment"
)

// maxLate is how much further than segment.KeyInterval the key frames of the source may
// be apart: another one in between, and shortly before each, would cost bits for nothing.
const maxLate = 450 * time.Millisecond

// keyFrames has ffmpeg make key frames, in all rungs alike, where the source should have
// one and has none: every segment.KeyInterval after its last one, which is where a
// segment.Leader cuts then. It marks the frames for ffmpeg, which is told to make a key
// frame of whatever its decoder takes for one. Its encoders count frames instead, which
// is another time in each rung where some are lost.
type keyFrames struct {
	frame time.Duration // how long a frame lasts; immutable

	begun     bool
	key       time.Duration // PTS of the last key frame of the source
	offset    time.Duration // PTS - DTS of that one
	apart     time.Duration // the last two key frames; 0 before there were two
	intervals int64         // segment.KeyIntervals from the last one to what was marked
	reordered bool          // frames are not decoded in the order in which they are shown
	buf       []byte        // of the frame that was marked last
}

// mark returns f as ffmpeg is to get it. Its data is good until the next call.
func (k *keyFrames) mark(f media.Frame) media.Frame {
	if f.Track.IsVideo() && f.Key {
		k.noteKey(f)
	}
	if f.Track.IsVideo() && k.begun && k.due(f) {
		k.buf = f.Track.AppendRecoveryPoint(k.buf[:0], f.Data)
		f.Data = k.buf
	}
	return f
}

func (k *keyFrames) noteKey(f media.Frame) {
	if k.begun {
		k.apart = f.PTS - k.key
	}
	k.begun, k.key, k.offset, k.intervals = true, f.PTS, f.PTS-f.DTS, 0
}

// due reports whether f is the first frame to be shown for which another interval is
// over.
func (k *keyFrames) due(f media.Frame) bool {
	k.reordered = k.reordered || f.PTS-f.DTS != k.offset
	since := f.PTS - k.key
	n := segment.KeyIntervals(since)
	switch {
	case n <= k.intervals:
		return false
	case n == 1 && k.apart > 0 && k.apart <= segment.KeyInterval+maxLate:
		return false // the next key frame is in time
	case k.reordered && since-time.Duration(n)*segment.KeyInterval >= k.frame:
		return false // it may be decoded before the first one
	}
	k.intervals = n
	return true
}
