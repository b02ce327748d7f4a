package hls

import (
	"fmt"
	"time"

	"github.com/millrace/millrace/internal/fmp4"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/mpegts"
)

const (
	// minSegment is about the shortest segment: key frames that follow closer
	// stay inside a segment.
	minSegment = 950 * time.Millisecond

	// segmentSlack is how far a segment may exceed the target duration; it must
	// still be rounded down to it (RFC 8216, 4.3.3.1).
	segmentSlack = 450 * time.Millisecond

	// plainPart is how much plain HLS collects before it is added to a segment.
	plainPart = time.Second
)

// A muxer packs frames into the bytes of a part: mpegts.Muxer, fmp4.Muxer.
type muxer interface {
	Append(dst []byte, f media.Frame) []byte
	AppendMetadata(dst []byte, pts time.Duration, number uint32, id3 []byte) []byte
	EndPart(dst []byte, videoEnd time.Duration) []byte
	SetAudio(*media.Track)
	SetVideo(*media.Track)
}

// cutter is the part of a Rendition that decides where parts and segments end.
type cutter struct {
	target     time.Duration // of the Stream; 0 while it is not known
	partTarget time.Duration
	suited     bool // partTarget is final

	mux           muxer
	init          *Init // nil until the first part of mux
	inits         int64 // how many there were
	discontinuity bool  // before the next segment
	composition   time.Duration
	cadence       cadence
	pending       pending
	cued          int64    // number of the next metadata
	segment       *segment // that parts are added to; nil until its first part
	segmentStart  time.Duration
	promised      bool // the last part is short, for the key frame that should have come next
	segmentDate   time.Time
	nextMSN       int64
	nextPart      int64
}

// pending is the part that is being collected.
type pending struct {
	start         time.Duration
	end           time.Duration // predicted, of the last picture
	data          []byte        // reused
	size          int           // bytes of frames
	pictures      int
	samples       int // frames of audio
	startsWithKey bool
	independent   bool // contains a key frame
}

// start makes a muxer that begins at t. composition is PTS - DTS of the first
// picture, by which program dates differ from the timeline.
func (r *Rendition) start(t, composition time.Duration, video, audio *media.Track) {
	if r.stream.Container == FMP4 {
		r.mux = &fmp4.Muxer{Video: video, Audio: audio}
	} else {
		r.mux = &mpegts.Muxer{Video: video, Audio: audio}
	}
	r.init = nil
	r.discontinuity = r.nextMSN > 0
	r.composition = composition
	r.cadence = cadence{longest: r.cadence.longest}
	r.pending = pending{start: t, end: t, data: r.pending.data[:0]}
	r.segmentStart = t
	if r.leader == nil {
		r.segmentDate = r.date(t)
		r.mark(markBegin, t)
	}
}

// date is the wall clock at t on the timeline.
func (r *Rendition) date(t time.Duration) time.Time {
	return r.stream.wall(t + r.composition)
}

func (r *Rendition) collect(f media.Frame) {
	r.pending.data = r.mux.Append(r.pending.data, f)
	r.pending.size += len(f.Data)
	if !r.captions && f.Track.HasCaptions(f.Data) {
		r.stream.mu.Lock()
		defer r.stream.mu.Unlock()
		r.captions = true
	}
}

func (r *Rendition) frame() time.Duration { return r.cadence.frame(r.video) }

// full tells whether a picture that ends at end is too much for the pending
// part or its segment.
func (r *Rendition) full(end time.Duration) bool {
	return end-r.pending.start > r.partTarget || end-r.segmentStart > r.maxSegment() || r.pending.size > maxPartBytes
}

// suitPart makes the part target what whole frames can fill to at least 85 %
// (rfc8216bis, 4.4.4.9). It is decided by the first pictures.
func (r *Rendition) suitPart() {
	if r.suited || !r.stream.LowLatency {
		return
	}
	r.suited = true
	frame := r.frame()
	filled := max(1, r.partTarget/frame) * frame
	if filled > r.partTarget || filled < r.partTarget*87/100 {
		r.partTarget = (filled * 103 / 100).Round(time.Millisecond)
	}
}

// cutsAt tells whether a key frame at t begins a segment: when the one before
// it is long enough, or would be too long by the key frame after it.
func (r *Rendition) cutsAt(t time.Duration) bool {
	length := t - r.segmentStart
	return length >= minSegment || length > 0 && length+r.cadence.longest > r.maxSegment()
}

func (r *Rendition) maxSegment() time.Duration {
	if r.target == 0 {
		_, longest := r.stream.targets()
		return longest + segmentSlack
	}
	return r.target + segmentSlack
}

// bridge closes the pending part when a frame at t does not fit into it. What
// then still lies before t has no media: the segment's duration covers it, and
// no part does. (EXT-X-GAP is made for this, but stops players that have no
// other rendition to go to.)
func (r *Rendition) bridge(t, frame time.Duration) error {
	for t > r.pending.start && r.full(t+frame) {
		if r.pending.pictures+r.pending.samples > 0 {
			if err := r.closePartOrSegment(t); err != nil {
				return err
			}
			continue
		}
		if t+frame-r.segmentStart > r.maxSegment() {
			r.completeSegment(true)
		}
		r.pending.start, r.pending.end = t, t
		r.count(func(s *Stats) { s.Holes++ })
	}
	return nil
}

// closePartOrSegment closes the part, and the segment if one more picture would
// make that too long.
func (r *Rendition) closePartOrSegment(end time.Duration) error {
	if r.promised {
		r.completeSegment(true) // only its last part may be short
	}
	if err := r.closePart(end); err != nil || r.segment == nil {
		return err
	}
	if r.full(r.pending.start+r.frame()) || r.segment.size > r.stream.maxBytes()/8 {
		r.completeSegment(true)
	}
	return nil
}

// closePart publishes what is pending as a part that ends at end, or as early
// as part target and segment ask for. The next one begins there.
func (r *Rendition) closePart(end time.Duration) error {
	p := &r.pending
	end = min(end, p.start+r.partTarget, r.segmentStart+r.maxSegment())
	end = max(end, p.start+time.Millisecond)
	if p.pictures+p.samples > 0 {
		r.appendMetadata(end + r.composition)
	}
	if p.data = r.mux.EndPart(p.data, end); len(p.data) == 0 {
		*p = pending{start: p.start, end: p.start, data: p.data} // nothing that mux could use
		return nil
	}
	if r.init == nil {
		r.init = newInit(r.stream.Container, r.inits, r.video, r.audio)
		r.inits++
	}
	g := r.segment
	if g == nil {
		g = &segment{
			msn:           r.nextMSN,
			pdt:           r.segmentDate,
			init:          r.init,
			discontinuity: r.discontinuity,
			independent:   p.startsWithKey,
		}
	}
	if err := g.write(p.data); err != nil {
		return err
	}
	r.publish(g, Part{
		Number: r.nextPart, Offset: g.size, Size: int64(len(p.data)),
		Duration: end - p.start, Independent: p.independent,
	}, end-r.segmentStart)
	r.segment, r.discontinuity = g, false
	r.nextPart++
	r.pending = pending{start: end, end: end, data: p.data[:0]}
	return nil
}

// write puts a part behind those that the file has; players do not know of it
// yet.
func (g *segment) write(data []byte) error {
	if g.file == nil {
		f, err := openFile()
		if err != nil {
			return err
		}
		g.file = f
	}
	if _, err := g.file.WriteAt(data, g.size); err != nil {
		return fmt.Errorf("add %d bytes to segment %d: %w", len(data), g.msn, err)
	}
	return nil
}

// publish lets players have a part, with which its segment has a duration.
func (r *Rendition) publish(g *segment, p Part, duration time.Duration) {
	s := r.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	r.window.add(g, p, duration)
	r.target = s.target // a player may have wanted to know it
	if r.format.video != r.video || r.format.audio != r.audio {
		s.alteredLocked()
	}
	r.format = format{video: r.video, audio: r.audio, frame: r.cadence.average(r.video)}
	r.playlists.partTarget = r.partTarget
	r.stats.Parts++
	if r == s.renditions[0] {
		s.cues.advance(r.segmentStart+duration+r.composition, g.pdt.Add(duration))
	}
	r.markLocked(markPart, r.segmentStart+duration)
	r.stats.PartBytes += p.Size
	r.stats.PartDelay += time.Since(s.wall(r.segmentStart + duration))
	s.notePlayingLocked()
	if s.LowLatency {
		s.setReadyLocked()
		r.changedLocked()
	}
}

// completeSegment ends the segment that has parts, if there is one. It takes
// the hole behind its last part along, so that the next one begins with media.
func (r *Rendition) completeSegment(forced bool) {
	g := r.segment
	if g == nil {
		return
	}
	s := r.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := r.pending.start - r.segmentStart; d <= r.maxSegment() {
		g.duration = d
	}
	r.segmentStart += g.duration
	r.segment, r.promised = nil, false
	r.nextMSN++
	if r.leader == nil {
		r.segmentDate = r.date(r.segmentStart)
	}
	r.markLocked(markSegment, r.segmentStart)
	r.target = s.decideTargetLocked(g.duration)
	r.window.complete(s.window(), r.target)
	s.trimLocked()
	s.cues.forgetBreaks(r.window.segments[r.window.listed].pdt)
	r.forgetAnswersLocked()
	r.stats.Segments++
	r.stats.SegmentBytes += g.size
	r.stats.SegmentDelay += time.Since(s.wall(r.segmentStart))
	if forced {
		r.stats.Forced++
	}
	s.notePlayingLocked()
	s.setReadyLocked()
	r.changedLocked()
}
