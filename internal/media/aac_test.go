package media_test

import (
	"testing"

	"github.com/millrace/millrace/internal/media"
)

func TestNewAACTrack(t *testing.T) {
	for _, tt := range []struct {
		config         string
		rate, channels int
	}{
		{"1210", 44100, 2},
		{"1190", 48000, 2},
		{"121056e500", 44100, 2}, // with the SBR extension that ffmpeg appends
		{"1188", 48000, 1},
		{"11b0", 48000, 6},
		{"11b8", 48000, 8},
		{"17805dc010", 48000, 2}, // the rate written out
	} {
		track, err := media.NewAACTrack(unhex(t, tt.config))
		if err != nil {
			t.Errorf("%s: %v", tt.config, err)
			continue
		}
		if a := track.Audio; a.SampleRate != tt.rate || a.Channels != tt.channels {
			t.Errorf("%s: %d Hz, %d channels; want %d, %d", tt.config, a.SampleRate, a.Channels, tt.rate, tt.channels)
		}
		if got := track.RFC6381(); got != "mp4a.40.2" || track.IsVideo() {
			t.Errorf("%s: codec %s, video %v", tt.config, got, track.IsVideo())
		}
	}
}

func TestNewAACTrackRefuses(t *testing.T) {
	for name, config := range map[string]string{
		"empty":               "",
		"one byte":            "12",
		"reserved rate index": "1690",
		"no channels":         "1180",
		"AAC Main":            "0990",
		"xHE-AAC":             "f9480000",
		"rate of 1 Hz":        "1780000090",
	} {
		if track, err := media.NewAACTrack(unhex(t, config)); err == nil {
			t.Errorf("%s: accepted as %+v", name, *track.Audio)
		}
	}
}

func FuzzNewAACTrack(f *testing.F) {
	f.Add(unhex(f, "1210"))
	f.Add(unhex(f, "17805dc010"))
	f.Fuzz(func(t *testing.T, b []byte) {
		track, err := media.NewAACTrack(b)
		if err == nil && (track.Audio.Channels < 1 || track.Audio.Channels > 8 || track.Audio.SampleRate < 7350) {
			t.Errorf("%+v", *track.Audio)
		}
	})
}
