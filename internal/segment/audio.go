package segment

import (
	"time"

	"github.com/millrace/millrace/internal/media"
)

const (
	// stallSlack is how much audio may come without video before parts are
	// ended by its clock.
	stallSlack = 500 * time.Millisecond

	// dropTrackAfter is the time without audio after which the next segment has no audio
	// track: players would wait for a track that is announced.
	dropTrackAfter = 3 * time.Second
)

// receivedAudio describes the audio that a Leader receives, packed or not.
type receivedAudio struct {
	track *media.Track  // nil while there is none
	last  time.Duration // DTS of the last frame
	alone time.Duration // length of the audio that came since the last video frame
}

// present returns the audio track if audio came shortly before t. Otherwise it forgets the
// track and returns nil.
func (s *receivedAudio) present(t time.Duration) *media.Track {
	if t-s.last > dropTrackAfter {
		s.track = nil
	}
	return s.track
}

// expect notes that audio is certain to come, and of what kind.
func (s *receivedAudio) expect(t *media.Track, at time.Duration) {
	if s.track == nil {
		s.track, s.last = t, at
	}
}

// add notes a frame, and returns its track as it was first seen.
func (s *receivedAudio) add(f media.Frame) *media.Track {
	if d := f.DTS - s.last; s.track != nil && d < stallSlack { // a pause of audio and video does not count as audio alone
		s.alone += d
	}
	if !s.track.Decodes(f.Track) {
		s.track = f.Track
	}
	s.last = f.DTS
	return s.track
}

// writeAudio adds a frame of audio to the pending part. A track that was not
// there when the init segment was made waits for the next segment.
//
// Where the video stops, parts end by how much audio has come since. How far audio runs
// ahead of the video says nothing: some encoders send it early.
func (l *Leader) writeAudio(f media.Frame) error {
	f.Track = l.received.add(f)
	if l.out.mux == nil || l.restart { // only a key frame begins
		l.drop()
		return nil
	}
	if l.out.audio == nil && l.out.init == nil {
		l.out.setAudio(f.Track)
	}
	if f.DTS-l.last <= maxHole {
		if err := l.bridge(l.cadence.last+l.received.alone-stallSlack, 0); err != nil {
			return err
		}
	}
	if f.DTS-l.last > maxHole || l.holed() || l.restart {
		l.restart = true
		l.drop()
		return l.endPartAndSegment()
	}
	l.last = max(l.last, f.DTS)
	if f.Track != l.out.audio {
		l.drop()
		return nil
	}
	l.out.collect(f)
	return nil
}
