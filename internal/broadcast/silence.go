package broadcast

import (
	"time"

	"github.com/millrace/millrace/internal/media"
)

const (
	// audioLate is how long after the first video frame announced audio may come
	// before silence stands in for it. A part closes after 300 ms: a player that
	// has started without audio does not take it up later.
	audioLate = 150 * time.Millisecond

	// silenceAfter is how long video continues without audio before silence stands in for
	// it. Players stop where one track ends. Encoders send audio up to some 300 ms after
	// the video.
	silenceAfter = 600 * time.Millisecond
)

// A silence stands in for the audio of an encoder that has announced audio and
// sends none: it comes late, or it stops. When audio arrives again, what overlaps
// the silence is left out.
type silence struct {
	frames int64 // of silence, so far

	track    *media.Track  // of the audio
	next     time.Duration // where its next frame belongs
	video    time.Duration // DTS of the last video frame
	since    time.Duration // DTS of the video frame at which audio last arrived
	begun    bool          // there was a video frame
	received bool          // audio has arrived
}

// audio notes a frame of audio. It is to be left out if it is not ok.
func (s *silence) audio(f media.Frame) (ok bool) {
	s.received, s.since = true, s.video
	frame := f.Track.FrameDuration()
	if s.frames > 0 && f.DTS < s.next-frame/2 {
		return false
	}
	s.track, s.next = f.Track, f.DTS+frame
	return true
}

// fill is called before a video frame at dts. Where audio is missing it hands
// silence to write. announced is the audio track that the encoder has announced,
// nil if it has not.
func (s *silence) fill(announced *media.Track, dts time.Duration, write func(media.Frame) error) error {
	if !s.begun {
		s.begun, s.since = true, dts
	}
	s.video = dts
	if s.track == nil {
		s.track, s.next = announced, dts
	}
	patience := silenceAfter
	if !s.received {
		patience = audioLate
	}
	if s.track == nil || dts-s.since < patience {
		return nil
	}
	data := s.track.SilentFrame()
	if data == nil {
		return nil
	}
	s.next = max(s.next, s.since) // of the first video frame, where audio never arrived
	for ; s.next < dts; s.next += s.track.FrameDuration() {
		s.frames++
		if err := write(media.Frame{Track: s.track, DTS: s.next, PTS: s.next, Key: true, Data: data}); err != nil {
			return err
		}
	}
	return nil
}
