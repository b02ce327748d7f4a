package hls

import (
	"math"
	"slices"
	"time"
)

// minSegments is the minimum number of segments that are listed (HLS Authoring
// Specification for Apple Devices, 8.4), as far as MaxBytes allows.
const minSegments = 6

// shortSegment is the minimum average duration of the segments in a window. If they are
// shorter, as from an encoder that changes its parameters with each frame, fewer are kept:
// each takes a file descriptor.
const shortSegment = 250 * time.Millisecond

// maxUnlisted is how many segments stay that are not listed any more.
const maxUnlisted = 40

// A segment is added to as its parts are published. All but its file is guarded
// by the Stream's lock.
type segment struct {
	number        int64 // media sequence number; it names the segment
	pts           time.Duration
	date          time.Time
	duration      time.Duration // to the end of the last part, including holes between parts
	size          int64
	parts         []Part
	file          *file // nil for a gap
	init          *Init
	discontinuity bool
	independent   bool
	complete      bool
	until         time.Duration // once it is not listed any more: the edge of the window at which it is dropped
}

func newSegment(h Head) *segment {
	return &segment{number: h.Number, pts: h.PTS, date: h.Date, init: h.Init, discontinuity: h.Discontinuity, independent: h.Independent}
}

// listed returns the duration of g in the playlist, which has only the parts of an
// incomplete segment.
func (g *segment) listed() (d time.Duration) {
	if g.complete {
		return g.duration
	}
	for _, p := range g.parts {
		d += p.Duration
	}
	return d
}

// gap reports a segment for which there is no media.
func (g *segment) gap() bool { return g.file == nil }

// window is the part of a rendition that players can fetch. It is guarded by
// the Stream's lock.
type window struct {
	segments      []*segment // the last one may be incomplete
	listed        int        // index of the first one in the playlist; those before it stay a while for players with older playlists
	discontinuity int64      // EXT-X-DISCONTINUITY-SEQUENCE of segments[listed]
	bytes         int64
	edge          time.Duration // where the last complete segment ends, counted from the first one
	longest       time.Duration // duration of the longest playlist so far
	first         int64         // media sequence number of the very first segment
	end           int64         // media sequence number after the last complete segment

	peak          int64         // highest bit rate of a segment, in bits per second
	totalBytes    int64         // bytes of all segments so far
	totalDuration time.Duration // duration of all segments so far
}

func (w *window) last() *segment {
	if len(w.segments) == 0 {
		return nil
	}
	return w.segments[len(w.segments)-1]
}

// next is the media sequence number of the segment that the next part belongs
// to, and the index it has there.
func (w *window) next() (msn int64, part int) {
	switch g := w.last(); {
	case g == nil:
		return 0, 0
	case g.complete:
		return g.number + 1, 0
	default:
		return g.number, len(g.parts)
	}
}

// addPart appends a part to its segment, which it appends too if the part is its first one.
func (w *window) addPart(g *segment, p Part) {
	if w.last() != g {
		g.file.hold()
		w.append(g)
	}
	g.parts = append(g.parts, p)
	w.totalDuration += p.End - g.duration
	g.duration = p.End
	g.size += p.Size
	w.bytes += p.Size
	w.totalBytes += p.Size
}

// append begins a segment.
func (w *window) append(g *segment) {
	if w.end == 0 {
		w.first, w.end = g.number, g.number
	}
	w.segments = append(w.segments, g)
}

// endSegment ends the last segment and makes room for the next one. At least three target
// durations stay listed. As far as MaxBytes allows, a segment that is not listed any more
// can still be fetched for its own duration and that of the longest playlist that listed
// it (RFC 8216, 6.2.2). Segments that are shorter than shortSegment on average leave
// sooner.
func (w *window) endSegment(keep, target time.Duration) {
	keep = max(keep, 3*target)
	g := w.last()
	g.complete = true
	w.end = g.number + 1
	w.peak = max(w.peak, bitRate(g.size, g.duration))
	w.edge += g.duration

	length := time.Duration(0)
	for _, g := range w.segments[w.listed:] {
		length += g.duration
	}
	most := max(minSegments, int(keep/shortSegment))
	for n := len(w.segments) - w.listed; n > minSegments && length-w.segments[w.listed].duration >= keep || n > most; n-- {
		length -= w.segments[w.listed].duration
		w.unlist()
	}
	w.longest = max(w.longest, length)
	for w.listed > 0 && (w.segments[0].until <= w.edge || w.listed > maxUnlisted) {
		w.drop()
	}
}

// share returns how many files and bytes the media may take, by MaxBytes and Share.
func (s *Stream) share() (files, bytes int64) {
	files, bytes = math.MaxInt64, math.MaxInt64
	if s.Share != nil {
		files, bytes = s.Share()
	}
	return files, min(bytes, s.maxBytes())
}

// trimLocked drops the oldest segments, of all renditions alike, until what is left, and
// one more segment of each that has not ended, is within maxFiles and maxBytes. Each keeps
// its last one.
func (s *Stream) trimLocked(maxFiles, maxBytes int64) {
	for {
		total, files, oldest := int64(0), int64(0), int64(-1)
		for _, r := range s.renditions {
			w := &r.window
			total += w.bytes
			files += int64(len(w.segments))
			if !r.ended {
				files++
				if g := w.last(); g != nil && g.complete {
					total += g.size // the next one may be as large
				}
			}
			if len(w.segments) > 1 && (oldest < 0 || w.segments[0].number < oldest) {
				oldest = w.segments[0].number
			}
		}
		if total <= maxBytes && files <= maxFiles || oldest < 0 {
			return
		}
		for _, r := range s.renditions {
			if w := &r.window; len(w.segments) > 1 && w.segments[0].number == oldest {
				w.drop()
			}
		}
	}
}

// unlist takes the oldest segment off the playlist (RFC 8216, 6.2.2).
func (w *window) unlist() {
	g := w.segments[w.listed]
	if g.discontinuity {
		w.discontinuity++
	}
	g.until = w.edge + g.duration + w.longest
	w.listed++
}

// drop forgets the oldest segment.
func (w *window) drop() {
	if w.listed == 0 {
		w.unlist()
	}
	g := w.segments[0]
	w.segments = slices.Delete(w.segments, 0, 1)
	w.listed--
	w.bytes -= g.size
	if !g.gap() {
		g.file.leave()
	}
	g.release()
}

// find returns the segment with a media sequence number, or nil.
func (w *window) find(msn int64) *segment {
	if len(w.segments) == 0 {
		return nil
	}
	i := msn - w.segments[0].number
	if i < 0 || i >= int64(len(w.segments)) {
		return nil
	}
	return w.segments[i]
}

// findPart returns a part by its number, and its segment.
func (w *window) findPart(seq int64) (*segment, Part, bool) {
	for _, g := range slices.Backward(w.segments) {
		if n := len(g.parts); n > 0 && seq >= g.parts[0].Number && seq <= g.parts[n-1].Number {
			return g, g.parts[seq-g.parts[0].Number], true
		}
	}
	return nil, Part{}, false
}

// nextPart is the number of the part that comes next.
func (w *window) nextPart() int64 {
	for _, g := range slices.Backward(w.segments) {
		if n := len(g.parts); n > 0 {
			return g.parts[n-1].Number + 1
		}
	}
	return 0
}

func bitRate(size int64, d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return int64(float64(size) * 8 / d.Seconds())
}
