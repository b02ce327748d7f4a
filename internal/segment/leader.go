package segment

import (
	"time"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/media"
)

const (
	// minSegment is about the shortest segment: key frames that follow closer
	// stay inside a segment.
	minSegment = 950 * time.Millisecond

	// segmentSlack is how far a segment may exceed the target duration; it must
	// still be rounded down to it (RFC 8216, 4.3.3.1).
	segmentSlack = 450 * time.Millisecond

	// lowPart and plainPart are how much media is collected before it is published: the
	// longest part of low-latency HLS, unless another length suits the frame rate
	// better, and the step by which a segment of plain HLS grows.
	lowPart   = 310 * time.Millisecond
	plainPart = time.Second

	// longKeyInterval caps the key frame interval that an encoder declares.
	longKeyInterval = time.Minute

	// maxHole is how long nothing may come before players have to start over. A
	// slide show of an image every two seconds is below it.
	maxHole = 3 * time.Second

	// maxBack is how far a DTS may lie before the last one and still be moved
	// to it.
	maxBack = time.Second
)

// A Leader cuts frames into parts and segments: segments at key frames, parts
// where they are full. Where key frames are too far apart it cuts segments where
// renditions that are encoded have key frames.
//
// Its timeline is that of the video's DTS. A part ends when the frame that
// fills it has come: how long that frame lasts is predicted.
type Leader struct {
	counters
	out   packer
	marks marks // for Followers

	epoch      time.Time     // the wall clock at PTS zero
	target     time.Duration // that a segment may last, without slack
	partTarget time.Duration
	suited     bool // partTarget is final
	promised   bool // the last part is short, for the cut that should have come next
	cadence    cadence
	received   receivedAudio
	last       time.Duration // DTS of the last frame that was packed
	restart    bool          // drop frames until a key frame starts over
	lost       error         // why a part was left out; nil once it was taken
	spliced    bool          // another encoder continues with the next key frame
}

// NewLeader returns a Leader that writes to r.
func NewLeader(r *hls.Rendition) *Leader {
	l := &Leader{out: packer{rendition: r}, epoch: time.Unix(0, 0), target: r.MaxDuration(), partTarget: plainPart}
	if r.Stream().LowLatency {
		l.partTarget = lowPart
	}
	return l
}

// Rendition returns the rendition that the Leader writes to.
func (l *Leader) Rendition() *hls.Rendition { return l.out.rendition }

// SetEpoch sets the wall clock time at PTS zero, from which segments are dated. It may be
// changed at any time, as an encoder's clock drifts from ours.
func (l *Leader) SetEpoch(at time.Time) { l.epoch = at }

// ExpectAudio says that audio of this track will come, even if none has come yet. At a
// low frame rate the first part has one video frame and is complete before any audio:
// without ExpectAudio its init segment would lack the audio, which could then begin only
// after a discontinuity. It must be called before the first video frame, which is at that
// DTS.
func (l *Leader) ExpectAudio(t *media.Track, dts time.Duration) { l.received.expect(t, dts+timeOffset) }

// Begun reports whether there was a video frame.
func (l *Leader) Begun() bool { return l.out.mux != nil }

// WriteFrame takes the next frame in decoding order and copies what it keeps.
// Frames that no player could use are dropped and counted. A part for which there is
// no memory is left out (see Lost), and the rendition continues with the next key
// frame. The error is hls.ErrClosed.
func (l *Leader) WriteFrame(f media.Frame) error {
	f.DTS += timeOffset
	f.PTS += timeOffset
	switch {
	case l.out.closed:
		return hls.ErrClosed
	case !usable(f):
		l.drop()
		return nil
	case !f.Track.IsVideo():
		return l.writeAudio(f)
	}
	return l.writeVideo(f)
}

func (l *Leader) drop() { l.dropped.Add(1) }

func (l *Leader) writeVideo(f media.Frame) error {
	if l.spliced && f.Key {
		l.spliced = false
		if err := l.swap(f); err != nil {
			return err
		}
	}
	over := l.restart || !l.out.video.Decodes(f.Track) || f.DTS-l.last > maxHole || l.cadence.last-f.DTS > maxBack
	if !over {
		f.DTS = max(f.DTS, l.cadence.last)
		if err := l.bridge(f.DTS, l.frame()); err != nil {
			return err
		}
		over = l.restart || l.holed()
	}
	if over && !f.Key { // nothing that a player has continues from here
		l.restart = true
		l.drop()
		return l.endPartAndSegment()
	}
	if over {
		if err := l.startOver(f); err != nil {
			return err
		}
	}
	f.Track = l.out.video
	l.last = max(l.last, f.DTS)
	if f.Key && l.cutsAt(f.DTS) || !f.Key && l.cutsWithoutKey(f.DTS) {
		if err := l.cut(f); err != nil {
			return err
		}
		if l.restart { // a part was left out, and f is no key frame
			l.drop()
			return nil
		}
	}
	return l.appendVideo(f)
}

func (l *Leader) appendVideo(f media.Frame) error {
	l.cadence.add(f)
	l.received.alone = 0
	q := &l.out.pending
	q.startsWithKey = q.startsWithKey || q.video == 0 && f.Key
	q.independent = q.independent || f.Key
	if f.Key && l.out.segment.head.Number == 0 { // it matters until the first segment is complete
		l.out.details.KeyInterval = min(time.Duration(f.Track.KeyInterval(f.Data))*l.frame(), longKeyInterval)
	}
	l.out.collect(f)
	q.end = f.DTS + l.frame()
	next := q.end + l.frame()
	if q.video == 2 || l.full(next) {
		l.suitPart()
	}
	keyNext := l.cadence.expectsKey() && l.cutsAt(q.end) || l.cutsWithoutKey(q.end)
	if !l.full(next) && !keyNext {
		return nil
	}
	short := q.end-q.start < l.partTarget*85/100
	err := l.endPartAndFullSegment(q.end)
	l.promised = keyNext && short && !l.restart
	return err
}

// Splice says that another encoder continues with the next key frame. If it has new
// parameter sets for the same kind of video, players get them without a discontinuity.
func (l *Leader) Splice() { l.spliced = true }

// swap begins a segment with the parameter sets of f, unless they are known or
// need a discontinuity.
func (l *Leader) swap(f media.Frame) error {
	v := l.out.video
	if v == nil || l.restart || v.Decodes(f.Track) || f.Track.Codec != v.Codec || f.Track.Video.Width != v.Video.Width || f.Track.Video.Height != v.Video.Height {
		return nil
	}
	if err := l.bridge(f.DTS, l.frame()); err != nil {
		return err
	}
	if err := l.cut(f); err != nil {
		return err
	}
	l.out.setVideo(f.Track)
	return nil
}

// cut ends the segment ahead of f. Audio that came since the last video frame goes
// with the next segment.
func (l *Leader) cut(f media.Frame) error {
	if l.out.pending.video > 0 {
		if err := l.endPart(f.DTS); err != nil {
			return err
		}
	}
	if f.Key && (l.restart || !l.out.audio.Decodes(l.received.present(f.DTS))) {
		return l.startOver(f)
	}
	l.endSegment(!f.Key)
	return nil
}

// startOver begins with a key frame: with new decoder configurations, behind a
// discontinuity if anything was sent before.
func (l *Leader) startOver(f media.Frame) error {
	if err := l.endPartAndSegment(); err != nil {
		return err
	}
	if l.continues(f) {
		l.out.resume(f.DTS, f.PTS-f.DTS, f.Track)
	} else {
		l.out.begin(f.DTS, f.PTS-f.DTS, f.Track, l.received.track)
	}
	l.restart = false
	l.last = f.DTS
	l.cadence = cadence{longest: l.cadence.longest}
	l.out.segment.head.Discontinuity = l.out.segment.head.Number > 0
	l.out.segment.head.Date = l.date(l.out.segment.start)
	l.mark(markBegin, l.out.segment.start)
	return nil
}

// continues reports whether f follows the last frame of video without a hole, and
// the audio stays as it is: only the video's configuration changes.
func (l *Leader) continues(f media.Frame) bool {
	d := f.DTS - l.cadence.last
	return !l.restart && l.out.video != nil && d >= 0 && d < stallSlack && l.out.audio.Decodes(l.received.track)
}

// endPartAndSegment ends the pending part and its segment. A rest of audio
// without the video that belongs to it waits for what follows.
func (l *Leader) endPartAndSegment() error {
	if l.out.pending.video > 0 {
		if err := l.endPart(l.out.pending.end); err != nil {
			return err
		}
	}
	l.endSegment(false)
	return nil
}

// Lost returns why a part was left out since its last call, nil if none was.
func (l *Leader) Lost() (why error) {
	why, l.lost = l.lost, nil
	return why
}

// Discontinuity ends the current segment: the next one begins with the next key frame,
// after an EXT-X-DISCONTINUITY. It is for a stream that was interrupted, or an encoder
// that was replaced.
func (l *Leader) Discontinuity() error {
	if l.out.closed {
		return hls.ErrClosed
	}
	l.restart = true
	return l.endPartAndSegment()
}

// Close ends the rendition cleanly: the pending frames become the last part, the playlist
// gets its EXT-X-ENDLIST, and all waiting requests are answered.
func (l *Leader) Close() error {
	if l.out.closed {
		return nil
	}
	l.out.closed = true
	err := l.endPartAndSegment()
	l.out.rendition.Close()
	return err
}
