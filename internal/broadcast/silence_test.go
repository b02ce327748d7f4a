package broadcast

import (
	"testing"
	"time"

	"github.com/millrace/millrace/internal/media"
)

var audioTrack = &media.Track{Codec: media.AAC, Audio: &media.AudioConfig{FrameSamples: 1024, SampleRate: 48000, Channels: 2}}

// unsteady is an encoder whose video never fails, and whose audio does.
type unsteady struct {
	announced bool
	lag       time.Duration // how far audio is sent behind the video
	sends     func(at time.Duration) bool
}

// run returns the audio that a player gets in ten seconds: which frames are
// the encoder's own, and that they neither overlap nor leave holes.
func (e unsteady) run(t *testing.T) (own, silent int) {
	t.Helper()
	s := &silence{}
	frame := audioTrack.FrameDuration()
	var end time.Duration
	play := func(at time.Duration) {
		if d := at - end; end > 0 && (d > frame+frame/2 || d < -frame/2) {
			t.Errorf("audio at %v after audio that ended at %v", at, end)
		}
		end = at + frame
	}
	audio := time.Duration(0)
	for i := range 300 {
		at := time.Second + time.Duration(i)*time.Second/30
		for ; audio+time.Second+e.lag <= at; audio += frame {
			if f := (media.Frame{Track: audioTrack, DTS: time.Second + audio}); e.sends(audio) && s.audio(f) {
				own++
				play(f.DTS)
			}
		}
		announced := audioTrack
		if !e.announced {
			announced = nil
		}
		if err := s.fill(announced, at, func(f media.Frame) error { silent++; play(f.DTS); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	return own, silent
}

func TestSilenceStandsInForAudio(t *testing.T) {
	always := func(time.Duration) bool { return true }
	from := func(d time.Duration) func(time.Duration) bool { return func(at time.Duration) bool { return at >= d } }
	const all = 468 // frames of audio in ten seconds
	for _, tt := range []struct {
		name string
		unsteady
		own    int // at least
		silent [2]int
	}{
		{"audio as it should be", unsteady{true, 0, always}, all, [2]int{0, 0}},
		{"audio sent behind the video", unsteady{true, 100 * time.Millisecond, always}, all - 6, [2]int{0, 0}},
		{"none, and none announced", unsteady{false, 0, from(time.Hour)}, 0, [2]int{0, 0}},
		{"announced and never sent", unsteady{true, 0, from(time.Hour)}, 0, [2]int{all - 3, all}},
		{"three seconds late", unsteady{true, 0, from(3 * time.Second)}, 7*46 - 2, [2]int{138, 142}},
		{"stops after four seconds", unsteady{true, 0, func(at time.Duration) bool { return at < 4*time.Second }}, 187, [2]int{278, 282}},
		{"away for two seconds", unsteady{true, 0, func(at time.Duration) bool { return at < 4*time.Second || at >= 6*time.Second }}, 8*46 - 4, [2]int{92, 98}},
		{"sent far behind the video", unsteady{true, 400 * time.Millisecond, always}, all - 50, [2]int{0, 20}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			own, silent := tt.run(t)
			if own < tt.own || silent < tt.silent[0] || silent > tt.silent[1] {
				t.Errorf("%d frames of the encoder's audio and %d of silence; want at least %d and %v", own, silent, tt.own, tt.silent)
			}
		})
	}
}
