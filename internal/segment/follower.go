package segment

import (
	"time"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/media"
)

// markSlack is how far a Follower's clock may be from its Leader's: between them times may
// be rounded to milliseconds.
const markSlack = 2 * time.Millisecond

// A Follower segments another encoding of the Leader's video where the Leader has cut,
// into segments of the same numbers, dates and durations. Its frames have the times of
// the Leader's frames and come after them. If it has no frames for a segment the playlist
// gets an EXT-X-GAP; after that, and after Discontinuity, it continues with the next
// segment that it has from its beginning.
type Follower struct {
	counters
	out       packer
	leader    *Leader      // immutable; its marks are all that is used
	audioOnly bool         // immutable
	applied   int64        // number of marks that were applied
	joined    bool         // frames go into the segment
	broken    bool         // the next segment that is joined comes behind a discontinuity
	received  *media.Track // of audio, packed or not
	cadence   cadence
}

// NewFollower returns a Follower that writes to r. With audioOnly it takes no video.
func NewFollower(r *hls.Rendition, leader *Leader, audioOnly bool) *Follower {
	return &Follower{out: packer{rendition: r}, leader: leader, audioOnly: audioOnly, applied: leader.marks.oldest()}
}

// Rendition returns the rendition that the Follower writes to.
func (f *Follower) Rendition() *hls.Rendition { return f.out.rendition }

// WriteFrame takes the next frame in decoding order and copies what it keeps. Frames that
// no player could use are dropped and counted. A part for which there is no memory is
// left out, and the rendition continues with the next segment that it has from its
// beginning. The error is ErrBehind or hls.ErrClosed.
func (f *Follower) WriteFrame(m media.Frame) error {
	m.DTS += timeOffset
	m.PTS += timeOffset
	switch {
	case f.out.closed:
		return hls.ErrClosed
	case !usable(m):
		f.drop()
		return nil
	case m.Track.IsVideo() && f.audioOnly:
		return nil
	case !m.Track.IsVideo():
		m.Track = f.noteAudio(m.Track)
		if !f.audioOnly {
			f.addAudio(m)
			return nil
		}
	}
	return f.write(m)
}

// write takes a frame of the track that drives the rendition: video, or audio if there is
// to be no video.
func (f *Follower) write(m media.Frame) error {
	if err := f.applyMarks(m.PTS); err != nil {
		return err
	}
	if !f.joined && !f.join(m) || f.out.pending.size > maxPartBytes {
		f.drop()
		return nil
	}
	track := f.out.video
	if f.audioOnly {
		track = f.out.audio
	}
	if !track.Decodes(m.Track) {
		f.leave()
		f.drop()
		return nil
	}
	m.Track = track
	f.cadence.add(m)
	q := &f.out.pending
	q.startsWithKey = q.startsWithKey || m.Key && (f.audioOnly || q.video == 0)
	q.independent = q.independent || m.Key
	f.out.collect(m)
	q.end = m.PTS + f.lasts(m)
	return f.applyEnd(q.end)
}

// noteAudio notes the track of the audio and returns it as it was first seen.
func (f *Follower) noteAudio(t *media.Track) *media.Track {
	if !f.received.Decodes(t) {
		f.received = t
	}
	return f.received
}

// addAudio adds audio to a rendition with video.
func (f *Follower) addAudio(m media.Frame) {
	if f.joined && f.out.audio == nil && f.out.init == nil {
		f.out.setAudio(m.Track)
	}
	if !f.joined || m.Track != f.out.audio || f.out.pending.size > maxPartBytes {
		f.drop()
		return
	}
	f.out.collect(m)
}

func (f *Follower) drop() { f.dropped.Add(1) }

func (f *Follower) frame() time.Duration { return f.cadence.frame(f.out.video) }

// lasts is how long m lasts.
func (f *Follower) lasts(m media.Frame) time.Duration {
	if m.Track.IsVideo() {
		return f.frame()
	}
	return m.Track.FrameDuration()
}

// nextMark is the first mark that was not applied, if the Leader has made it.
func (f *Follower) nextMark() (m mark, ok bool, err error) {
	m, partTarget, ok, err := f.leader.marks.get(f.applied)
	if ok {
		f.out.details.PartTarget = partTarget
	}
	return m, ok, err
}

// applyMarks cuts wherever the Leader has cut up to t, where a frame begins.
func (f *Follower) applyMarks(t time.Duration) error {
	for {
		m, ok, err := f.nextMark()
		if !ok || m.at > t+markSlack {
			return err
		}
		if err := f.apply(m); err != nil {
			return err
		}
	}
}

// applyEnd ends the part that a frame fills which ends at about t, so that
// players need not wait for the next one.
func (f *Follower) applyEnd(t time.Duration) error {
	m, ok, err := f.nextMark()
	if !ok || m.kind != markPart || m.at > t+f.frame()/4 {
		return err
	}
	return f.apply(m)
}

func (f *Follower) apply(m mark) error {
	f.applied++
	// What came after a part that was ended early goes with what follows.
	late := f.out.pending.start >= m.at
	switch {
	case m.kind == markBegin:
		f.joined, f.broken = false, true
		f.out.pending = pending{data: f.out.pending.data[:0]} // nothing continues from it
	case !late && f.hasPart():
		if err := f.endPart(m.at); err != nil {
			return err
		}
	}
	f.out.pending.start = m.at
	if m.kind == markPart {
		return nil
	}
	if m.kind == markSegment {
		f.endSegment(m.at)
	}
	f.out.segment.head.Number, f.out.segment.head.Date = m.msn, m.date
	f.out.beginSegment(m.at)
	f.joined = f.joined && !f.broken
	return nil
}

// hasPart reports whether what is pending can be a part.
func (f *Follower) hasPart() bool {
	return f.out.pending.video > 0 || f.audioOnly && f.out.pending.audio > 0
}

// endPart ends the part at end, or as early as the part target asks for.
func (f *Follower) endPart(end time.Duration) error {
	f.out.details.Frame = f.cadence.average(f.out.video)
	err := f.out.endPart(min(end, f.out.pending.start+f.out.details.PartTarget))
	if f.out.lost != nil {
		f.leave()
	}
	return err
}

// endSegment ends the segment at t, or notes that there was none.
func (f *Follower) endSegment(t time.Duration) {
	if f.out.segment.open {
		f.out.endSegment(t-f.out.segment.start, false)
		return
	}
	f.joined = false
	f.out.rendition.AddGap(f.out.segment.head, t-f.out.segment.start)
}

// join begins with a segment that starts with m.
func (f *Follower) join(m media.Frame) bool {
	off := m.PTS - f.out.segment.start
	switch {
	case f.applied == 0, f.out.segment.open, !m.Key:
		return false
	case m.Track.IsVideo() && (off < -markSlack || off > markSlack):
		return false
	case !m.Track.IsVideo() && off > 2*f.lasts(m):
		return false
	}
	var video *media.Track
	if m.Track.IsVideo() {
		video = m.Track
	}
	f.joined = true
	if f.out.mux != nil && !f.broken && f.out.video.Decodes(video) && f.out.audio.Decodes(f.received) {
		return true // a gap and nothing else
	}
	f.out.begin(f.out.segment.start, 0, video, f.received)
	f.cadence = cadence{}
	f.out.segment.head.Discontinuity = f.out.inits > 0
	f.broken = false
	return true
}

// leave takes no more frames until the next segment.
func (f *Follower) leave() { f.joined, f.broken = false, true }

// Discontinuity makes the next segment begin with the next key frame, after an
// EXT-X-DISCONTINUITY. It is for an encoder that was restarted.
func (f *Follower) Discontinuity() { f.leave() }

// Close ends the rendition cleanly: the pending frames become its last part.
func (f *Follower) Close() error {
	if f.out.closed {
		return nil
	}
	f.out.closed = true
	var err error
	if f.hasPart() {
		err = f.endPart(f.out.pending.end)
	}
	if f.out.segment.open {
		f.out.endSegment(f.out.pending.start-f.out.segment.start, false)
	}
	f.out.rendition.Close()
	return err
}
