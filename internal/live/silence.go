package live

import (
	"time"

	"github.com/millrace/millrace/internal/media"
)

const (
	// soundLate is how long after the first picture announced sound may come
	// before silence stands in for it. A part closes after 300 ms: a player that
	// has begun without sound does not take it up later.
	soundLate = 150 * time.Millisecond

	// soundGone is how long pictures go on without sound before silence stands
	// in for it. Players stop where one track ends. Encoders send sound up to
	// some 300 ms behind the picture.
	soundGone = 600 * time.Millisecond
)

// A silence stands in for the sound of an encoder that has announced sound and
// sends none: it comes late, or it stops. When the encoder is heard again, what
// overlaps the silence is left out.
type silence struct {
	frames int64 // of silence, so far

	track   *media.Track  // of the sound
	next    time.Duration // where its next frame belongs
	picture time.Duration // DTS of the last picture
	since   time.Duration // DTS of the picture at which the encoder was last heard
	begun   bool          // there was a picture
	heard   bool          // the encoder has been heard
}

// sound notes a frame of sound. It is to be left out if it is not ok.
func (s *silence) sound(f media.Frame) (ok bool) {
	s.heard, s.since = true, s.picture
	frame := f.Track.FrameDuration()
	if s.frames > 0 && f.DTS < s.next-frame/2 {
		return false
	}
	s.track, s.next = f.Track, f.DTS+frame
	return true
}

// fill is called before a picture at dts. Where sound is missing it hands
// silence to write. announced is the track of sound that the encoder has
// announced, nil if it has not.
func (s *silence) fill(announced *media.Track, dts time.Duration, write func(media.Frame) error) error {
	if !s.begun {
		s.begun, s.since = true, dts
	}
	s.picture = dts
	if s.track == nil {
		s.track, s.next = announced, dts
	}
	patience := soundGone
	if !s.heard {
		patience = soundLate
	}
	if s.track == nil || dts-s.since < patience {
		return nil
	}
	data := s.track.SilentFrame()
	if data == nil {
		return nil
	}
	s.next = max(s.next, s.since) // of the first picture, where sound was never heard
	for ; s.next < dts; s.next += s.track.FrameDuration() {
		s.frames++
		if err := write(media.Frame{Track: s.track, DTS: s.next, PTS: s.next, Key: true, Data: data}); err != nil {
			return err
		}
	}
	return nil
}
