package hls

import (
	"errors"
	"time"

	"github.com/millrace/millrace/internal/media"
)

const (
	// markSlack is how far a follower's clock may be from its leader's: FLV
	// carries milliseconds between them.
	markSlack = 2 * time.Millisecond

	// maxMarks is how many cuts of the leader are remembered: at least 40 s of
	// parts.
	maxMarks = 256

	// maxBehind is how many segments a follower that plays may be behind.
	maxBehind = 2
)

// ErrBehind is what a follower returns for frames that are so old that nobody
// knows any more where the leader has cut them. It must be removed.
var ErrBehind = errors.New("hls: rendition is too far behind the one that it follows")

// A mark is where the leader of a Stream has cut. Followers cut there and
// nowhere else.
type mark struct {
	kind markKind
	at   time.Duration // PTS
	msn  int64         // of the segment that begins here
	date time.Time     // EXT-X-PROGRAM-DATE-TIME of that segment
}

type markKind uint8

const (
	markPart    markKind = iota // a part ends
	markSegment                 // a segment ends and the next one begins
	markBegin                   // a segment begins behind a discontinuity, or is the first one
)

// marks are those that followers may still need. They are guarded by the
// Stream's lock.
type marks struct {
	list []mark
	gone int64 // how many were forgotten
}

func (m *marks) add(k mark) {
	if len(m.list) == maxMarks {
		m.list = m.list[:copy(m.list, m.list[maxMarks/2:])]
		m.gone += maxMarks / 2
	}
	m.list = append(m.list, k)
}

// mark notes where the leader has cut, at a DTS of its own.
func (r *Rendition) mark(kind markKind, at time.Duration) {
	r.stream.mu.Lock()
	defer r.stream.mu.Unlock()
	r.markLocked(kind, at)
}

func (r *Rendition) markLocked(kind markKind, at time.Duration) {
	if s := r.stream; r == s.renditions[0] {
		s.marks.add(mark{kind, at + r.composition, r.nextMSN, r.segmentDate})
	}
}

// AddFollower adds a rendition of the same video that is cut where the first
// rendition of the Stream is cut, into segments of the same numbers, dates and
// durations. Its frames have the times of the leader's frames and come after
// them. Where it has none for a segment players are told so by an EXT-X-GAP;
// after that, and after its Discontinuity, it goes on with a segment that it
// has from its beginning. One that is soundOnly takes no video. label is its
// GROUP-ID; the name, which is in its URIs, may have a number besides.
func (s *Stream) AddFollower(name, label string, soundOnly bool) *Rendition {
	r := s.AddRendition(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	r.leader, r.label, r.soundOnly = s.renditions[0], label, soundOnly
	r.marked = s.marks.gone
	return r
}

// Remove takes the rendition away: it is not listed any more, and who asks for
// it gets 404. Nothing may be written to it afterwards.
func (r *Rendition) Remove() {
	r.closed = true
	s := r.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	r.releaseLocked()
	for i, other := range s.renditions {
		if other == r {
			s.renditions = append(s.renditions[:i:i], s.renditions[i+1:]...)
			s.alteredLocked()
			break
		}
	}
}

// SetSpare says whether the rendition is only listed while no other one is.
func (r *Rendition) SetSpare(spare bool) {
	r.stream.mu.Lock()
	defer r.stream.mu.Unlock()
	if spare != r.spare {
		r.spare = spare
		r.stream.alteredLocked()
	}
}

// SetBitRate says how many bits a second the rendition's encoder aims at. It is
// listed with no less: what a still picture takes says nothing of what the next
// scene will.
func (r *Rendition) SetBitRate(bits int) {
	r.stream.mu.Lock()
	defer r.stream.mu.Unlock()
	r.aim = int64(bits)
}

// Playing tells whether the rendition has media and keeps up with its leader.
func (r *Rendition) Playing() bool {
	r.stream.mu.Lock()
	defer r.stream.mu.Unlock()
	return r.playingLocked()
}

func (r *Rendition) playingLocked() bool {
	g := r.window.last()
	if g == nil || g.gap() {
		return false
	}
	if r.leader == nil || r.leader.window.last() == nil {
		return true
	}
	return r.leader.window.last().msn-g.msn <= maxBehind
}

// follower is what a Rendition with a leader needs besides.
type follower struct {
	leader    *Rendition // immutable; nil for a rendition that cuts for itself
	label     string     // immutable
	soundOnly bool       // immutable
	marked    int64      // marks that were applied
	joined    bool       // frames go into the segment
	broken    bool       // the next segment that is joined comes behind a discontinuity
}

// nextMark is the first mark that was not applied, if the leader has made it.
func (r *Rendition) nextMark() (m mark, ok bool, err error) {
	s := r.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.LowLatency && r.leader.playlists.partTarget > 0 {
		r.partTarget = r.leader.playlists.partTarget
	}
	i := r.marked - s.marks.gone
	switch {
	case i < 0:
		return mark{}, false, ErrBehind
	case i == int64(len(s.marks.list)):
		return mark{}, false, nil
	}
	return s.marks.list[i], true, nil
}

// follow is WriteFrame for a rendition with a leader. Pictures drive it, and
// sound where there shall be none.
func (r *Rendition) follow(f media.Frame) error {
	if f.Track.IsVideo() == r.soundOnly {
		return r.followAside(f)
	}
	if r.soundOnly {
		f.Track = r.hear(f.Track)
	}
	if err := r.applyMarks(f.PTS); err != nil {
		return err
	}
	if !r.joined && !r.join(f) || r.pending.size > maxPartBytes {
		r.drop()
		return nil
	}
	track := r.video
	if r.soundOnly {
		track = r.audio
	}
	if !track.Decodes(f.Track) {
		r.leave()
		r.drop()
		return nil
	}
	f.Track = track
	r.cadence.add(f)
	p := &r.pending
	r.collect(f)
	if r.soundOnly {
		p.samples++
	} else {
		p.pictures++
	}
	p.startsWithKey = p.startsWithKey || f.Key && (r.soundOnly || p.pictures == 1)
	p.independent = p.independent || f.Key
	p.end = f.PTS + r.lasts(f)
	return r.applyEnd(p.end)
}

// hear notes the track of the sound and returns it as it was first seen.
func (r *Rendition) hear(t *media.Track) *media.Track {
	if !r.heard.Decodes(t) {
		r.heard = t
	}
	return r.heard
}

// followAside adds sound to a rendition with pictures.
func (r *Rendition) followAside(f media.Frame) error {
	if f.Track.IsVideo() {
		return nil
	}
	f.Track = r.hear(f.Track)
	if r.joined && r.audio == nil && r.init == nil {
		r.audio = f.Track
		r.mux.SetAudio(f.Track)
	}
	if !r.joined || f.Track != r.audio || r.pending.size > maxPartBytes {
		r.drop()
		return nil
	}
	r.collect(f)
	r.pending.samples++
	return nil
}

// lasts is how long f lasts.
func (r *Rendition) lasts(f media.Frame) time.Duration {
	if f.Track.IsVideo() {
		return r.frame()
	}
	return f.Track.FrameDuration()
}

// applyMarks cuts wherever the leader has cut up to t, where a frame begins.
func (r *Rendition) applyMarks(t time.Duration) error {
	for {
		m, ok, err := r.nextMark()
		if !ok || m.at > t+markSlack {
			return err
		}
		if err := r.apply(m); err != nil {
			return err
		}
	}
}

// applyEnd closes the part that a frame fills which ends at about t, so that
// players need not wait for the next one.
func (r *Rendition) applyEnd(t time.Duration) error {
	m, ok, err := r.nextMark()
	if !ok || m.kind != markPart || m.at > t+r.frame()/4 {
		return err
	}
	return r.apply(m)
}

func (r *Rendition) apply(m mark) error {
	r.marked++
	// What came after a part that was closed early goes with what follows.
	late := r.pending.start >= m.at
	switch {
	case m.kind == markBegin:
		r.joined, r.broken = false, true
		r.pending = pending{data: r.pending.data[:0]} // nothing goes on from it
	case !late && (r.pending.pictures > 0 || r.soundOnly && r.pending.samples > 0):
		if err := r.closePart(m.at); err != nil {
			return err
		}
	}
	r.pending.start = m.at
	if m.kind == markPart {
		return nil
	}
	if m.kind == markSegment {
		r.endSegment(m)
	}
	r.nextMSN, r.segmentStart, r.segmentDate = m.msn, m.at, m.date
	r.joined = r.joined && !r.broken
	return nil
}

// endSegment completes the segment that ends at m, or notes that there was none.
func (r *Rendition) endSegment(m mark) {
	if r.segment != nil {
		r.completeSegment(false)
		return
	}
	r.joined = false
	s := r.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(r.window.segments) == 0 {
		return
	}
	r.window.segments = append(r.window.segments, &segment{
		msn: r.nextMSN, pdt: r.segmentDate, duration: m.at - r.segmentStart,
		init: r.window.last().init, independent: true,
	})
	r.window.complete(s.window(), r.target)
	s.trimLocked()
	s.notePlayingLocked()
	r.forgetAnswersLocked()
	r.changedLocked()
}

// join begins with a segment that starts with f.
func (r *Rendition) join(f media.Frame) bool {
	off := f.PTS - r.segmentStart
	switch {
	case r.marked == 0, r.segment != nil, !f.Key:
		return false
	case f.Track.IsVideo() && (off < -markSlack || off > markSlack):
		return false
	case !f.Track.IsVideo() && off > 2*r.lasts(f):
		return false
	}
	video, audio := r.video, r.audio
	r.video, r.audio = nil, r.heard
	if f.Track.IsVideo() {
		r.video = f.Track
	}
	r.joined = true
	if r.mux != nil && !r.broken && video.Decodes(r.video) && audio.Decodes(r.audio) {
		r.video, r.audio = video, audio // a gap and nothing else
		return true
	}
	start, date := r.segmentStart, r.segmentDate
	r.start(start, 0, r.video, r.audio)
	r.segmentDate = date
	r.discontinuity = r.inits > 0
	r.broken = false
	return true
}

// leave takes no more frames until the next segment.
func (r *Rendition) leave() {
	r.joined, r.broken = false, true
}

// Name is the path element under which players find the rendition.
func (r *Rendition) Name() string { return r.name }
