package hls

import (
	"time"

	"github.com/millrace/millrace/internal/media"
)

const (
	// timeOffset is added to all times of the media: a clock reference runs
	// ahead of its frame, and fragments have no negative times.
	timeOffset = 10 * time.Second

	// stallSlack is how much audio may come without a picture before parts are
	// closed by its clock.
	stallSlack = 500 * time.Millisecond

	// audioAlone is how long audio waits for the first picture before it is
	// taken for a broadcast without pictures.
	audioAlone = 3 * time.Second

	// audioGone is how long audio may be silent before the next segment does
	// without: players wait for a track that was announced.
	audioGone = 3 * time.Second

	// maxHole is how long nothing may come before players have to begin anew. A
	// slide show of a picture every two seconds is below it.
	maxHole = 3 * time.Second

	// maxBack is how far a DTS may lie before the last one and still be moved
	// to it.
	maxBack = time.Second

	// maxPartBytes closes a part early: what is collected is on the heap.
	maxPartBytes = 8 << 20
)

// A Rendition is a media.Writer that cuts frames into parts and segments. One
// goroutine at a time writes to it.
//
// Its timeline is that of the video's DTS; each part begins where the one
// before it ended, so that durations add up. A part ends when the frame that
// fills it has come: how long that frame lasts is predicted.
type Rendition struct {
	// Immutable.
	stream *Stream
	name   string

	// Guarded by stream.mu.
	window    window
	playlists playlists
	format    format
	stats     Stats
	ended     bool
	plays     bool          // as was last told to those who watch the renditions
	spare     bool          // listed only while no other is
	captions  bool          // a picture had some
	aim       int64         // bits a second that its encoder aims at; 0 where nobody knows
	changed   chan struct{} // closed at the next change; nil while nobody waits

	// The publisher's own.
	cutter
	follower
	video, audio *media.Track  // that mux packs; nil when there is none
	heard        *media.Track  // of the last frame of audio, packed or not
	heardAt      time.Duration // its DTS
	heardSince   time.Duration // DTS of the first frame of audio
	alone        time.Duration // of audio, since the last picture
	last         time.Duration // DTS of the last frame that was packed
	restart      bool          // drop frames until a key frame begins anew
	spliced      bool          // another encoder goes on with the next key frame
	closed       bool
}

// Stats are counters of a Rendition.
type Stats struct {
	Segments int64 // that were completed
	Parts    int64 // that were closed
	Forced   int64 // segments that were cut without a key frame
	Holes    int64 // times for which nothing was sent, too long to be part of a part
	Dropped  int64 // frames that no player could use: malformed, or before a key frame

	SegmentBytes int64         // of the completed segments
	PartBytes    int64         // of the closed parts
	PartDelay    time.Duration // from the end of a part by Epoch to its publication, of all parts together
	SegmentDelay time.Duration // the same of the completed segments
}

// Stats returns the counters so far.
func (r *Rendition) Stats() Stats {
	r.stream.mu.Lock()
	defer r.stream.mu.Unlock()
	return r.stats
}

func (r *Rendition) count(f func(*Stats)) {
	r.stream.mu.Lock()
	defer r.stream.mu.Unlock()
	f(&r.stats)
}

func (r *Rendition) drop() { r.count(func(s *Stats) { s.Dropped++ }) }

// WriteFrame takes the next frame in decoding order and copies what it keeps.
// Frames that no player could use are dropped and counted. An error means that
// there is no memory for media, or ErrClosed.
func (r *Rendition) WriteFrame(f media.Frame) error {
	if r.closed {
		return ErrClosed
	}
	f.DTS += timeOffset
	f.PTS += timeOffset
	switch {
	case len(f.Data) > maxPartBytes:
		r.drop()
		return nil
	case !f.Track.IsVideo() && r.leader != nil:
		return r.follow(f)
	case !f.Track.IsVideo():
		return r.writeAudio(f)
	case !f.Track.WellFormed(f.Data):
		r.drop()
		return nil
	case r.leader != nil:
		return r.follow(f)
	}
	return r.writeVideo(f)
}

func (r *Rendition) writeVideo(f media.Frame) error {
	if r.spliced && f.Key {
		r.spliced = false
		if err := r.swap(f); err != nil {
			return err
		}
	}
	if !r.video.Decodes(f.Track) || f.DTS-r.last > maxHole || r.cadence.last-f.DTS > maxBack {
		r.restart = true // nothing that a player has goes on from here
	}
	if r.restart && !f.Key {
		r.drop()
		return r.finish()
	}
	if r.restart {
		if err := r.begin(f); err != nil {
			return err
		}
	}
	f.Track = r.video
	f.DTS = max(f.DTS, r.cadence.last)
	r.last = max(r.last, f.DTS)
	if err := r.bridge(f.DTS, r.frame()); err != nil {
		return err
	}
	if f.Key && r.cutsAt(f.DTS) {
		if err := r.cut(f); err != nil {
			return err
		}
	}
	return r.appendVideo(f)
}

// Splice says that another encoder goes on with the next key frame. If it has
// new parameter sets for the same kind of pictures, players are given those
// without a discontinuity.
func (r *Rendition) Splice() { r.spliced = true }

// swap begins a segment with the parameter sets of f, unless they are known or
// need a discontinuity.
func (r *Rendition) swap(f media.Frame) error {
	v := r.video
	if v == nil || r.restart || v.Decodes(f.Track) || f.Track.Codec != v.Codec || f.Track.Video.Width != v.Video.Width || f.Track.Video.Height != v.Video.Height {
		return nil
	}
	if err := r.bridge(f.DTS, r.frame()); err != nil {
		return err
	}
	if err := r.cut(f); err != nil {
		return err
	}
	r.video, r.init = f.Track, nil
	r.mux.SetVideo(f.Track)
	return nil
}

// cut ends the segment ahead of a key frame. Audio that came since the last
// picture goes with the next segment.
func (r *Rendition) cut(f media.Frame) error {
	if r.pending.pictures > 0 {
		if err := r.closePart(f.DTS); err != nil {
			return err
		}
	}
	if f.DTS-r.heardAt > audioGone {
		r.heard = nil
	}
	if !r.audio.Decodes(r.heard) {
		return r.begin(f)
	}
	r.completeSegment(false)
	return nil
}

// begin starts over with a key frame: with new decoder configurations, behind a
// discontinuity if anything was sent before.
func (r *Rendition) begin(f media.Frame) error {
	if err := r.finish(); err != nil {
		return err
	}
	r.video, r.audio = nil, r.heard
	if f.Track.IsVideo() {
		r.video = f.Track
	}
	r.restart = false
	r.last = f.DTS
	r.start(f.DTS, f.PTS-f.DTS, r.video, r.audio)
	return nil
}

// finish closes the pending part and completes its segment. A rest of audio
// without the pictures that belong to it is given up.
func (r *Rendition) finish() error {
	if r.pending.pictures > 0 || r.video == nil && r.pending.samples > 0 {
		if err := r.closePart(r.pending.end); err != nil {
			return err
		}
	}
	r.completeSegment(false)
	return nil
}

func (r *Rendition) appendVideo(f media.Frame) error {
	r.cadence.add(f)
	r.alone = 0
	p := &r.pending
	r.collect(f)
	p.pictures++
	p.startsWithKey = p.startsWithKey || p.pictures == 1 && f.Key
	p.independent = p.independent || f.Key
	p.end = f.DTS + r.frame()
	next := p.end + r.frame()
	if p.pictures == 2 || r.full(next) {
		r.suitPart()
	}
	keyNext := r.cadence.expectsKey() && r.cutsAt(p.end)
	if !r.full(next) && !keyNext {
		return nil
	}
	short := p.end-p.start < r.partTarget*85/100
	err := r.closePartOrSegment(p.end)
	r.promised = keyNext && short
	return err
}

// writeAudio adds a frame of audio to the pending part. A track that was not
// there when the init segment was made waits for the next segment.
func (r *Rendition) writeAudio(f media.Frame) error {
	if r.heard == nil {
		r.heardSince = f.DTS
	} else if d := f.DTS - r.heardAt; d < stallSlack { // a hole in both is not sound alone
		r.alone += d
	}
	if !r.heard.Decodes(f.Track) {
		r.heard = f.Track
	}
	f.Track, r.heardAt = r.heard, f.DTS
	if r.mux == nil || r.restart {
		if r.video != nil || r.mux == nil && f.DTS-r.heardSince < audioAlone {
			r.drop()
			return nil
		}
		if err := r.begin(f); err != nil {
			return err
		}
	}
	if r.audio == nil && r.init == nil {
		r.audio = f.Track
		r.mux.SetAudio(f.Track)
	}
	if f.DTS-r.last > maxHole {
		r.restart = true
		r.drop()
		return r.finish()
	}
	r.last = max(r.last, f.DTS)
	if err := r.followAudio(f); err != nil {
		return err
	}
	if f.Track != r.audio {
		r.drop()
		return nil
	}
	r.collect(f)
	r.pending.samples++
	return nil
}

// followAudio closes parts by the clock of audio where there is no video, or
// none any more. How far audio runs ahead of the pictures says nothing: some
// encoders send it early.
func (r *Rendition) followAudio(f media.Frame) error {
	if r.video != nil {
		return r.bridge(r.cadence.last+r.alone-stallSlack, 0)
	}
	frame := f.Track.FrameDuration()
	err := r.bridge(f.DTS, frame)
	r.pending.independent, r.pending.startsWithKey, r.pending.end = true, true, f.DTS+frame
	return err
}

// Discontinuity ends the current segment: the next one begins with the next
// key frame, behind an EXT-X-DISCONTINUITY. It is for a broadcast that was
// interrupted, or an encoder that was changed.
func (r *Rendition) Discontinuity() error {
	if r.closed {
		return ErrClosed
	}
	if r.leader != nil {
		r.leave()
		return nil
	}
	r.restart = true
	return r.finish()
}

// Close ends the rendition in good order: the frames that wait become the last
// part, the playlist gets its EXT-X-ENDLIST, and every waiting player an
// answer.
func (r *Rendition) Close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	err := r.finish()
	r.stream.mu.Lock()
	defer r.stream.mu.Unlock()
	r.ended = true
	r.changedLocked()
	return err
}
