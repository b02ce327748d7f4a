package media_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/wiretest"
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
		track, err := media.NewTrack(media.AAC, wiretest.Hex(tt.config))
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
		if track, err := media.NewTrack(media.AAC, wiretest.Hex(config)); err == nil {
			t.Errorf("%s: accepted as %+v", name, *track.Audio)
		}
	}
}

func FuzzNewAACTrack(f *testing.F) {
	f.Add(wiretest.Hex("1210"))
	f.Add(wiretest.Hex("17805dc010"))
	f.Fuzz(func(t *testing.T, b []byte) {
		track, err := media.NewTrack(media.AAC, b)
		if err == nil && (track.Audio.Channels < 1 || track.Audio.Channels > 8 || track.Audio.SampleRate < 7350) {
			t.Errorf("%+v", *track.Audio)
		}
	})
}

// HE-AAC is carried by the rate of its core, whether its configuration says so in
// front of that or behind it.
func TestHEAAC(t *testing.T) {
	for _, tt := range []struct {
		config, codec string
		rate          int
	}{
		{"2b11880000", "mp4a.40.5", 24000},      // SBR in front
		{"eb098800", "mp4a.40.29", 24000},       // parametric stereo in front
		{"131056e598", "mp4a.40.5", 24000},      // behind it
		{"130856e59d4880", "mp4a.40.29", 24000}, // both behind it
		{"119056e500", "mp4a.40.2", 48000},      // behind it, and there is none
	} {
		track, err := media.NewTrack(media.AAC, wiretest.Hex(tt.config))
		if err != nil {
			t.Errorf("%s: %v", tt.config, err)
			continue
		}
		if track.RFC6381() != tt.codec || track.Audio.SampleRate != tt.rate || track.FrameSamples() != 1024 {
			t.Errorf("%s: %s, %+v", tt.config, track.RFC6381(), *track.Audio)
		}
	}
}

func TestUnsupportedAAC(t *testing.T) {
	for config, want := range map[string]string{"b99000": "AAC-LD", "0990": "AAC Main", "f9480000": "xHE-AAC", "f8e84000": "AAC-ELD"} {
		_, err := media.NewTrack(media.AAC, wiretest.Hex(config))
		var unsupported *media.UnsupportedError
		if !errors.As(err, &unsupported) || !strings.HasPrefix(unsupported.Codec, want) {
			t.Errorf("%s: %v, want %s to be unsupported", config, err, want)
		}
	}
}

// Tracks are the same for a decoder where the configurations differ in what it does
// not need.
func TestDecodes(t *testing.T) {
	aac := func(config string) *media.Track {
		track, err := media.NewTrack(media.AAC, wiretest.Hex(config))
		if err != nil {
			t.Fatal(err)
		}
		return track
	}
	avc := func(record string) *media.Track {
		track, err := media.NewTrack(media.H264, wiretest.Hex(record))
		if err != nil {
			t.Fatal(err)
		}
		return track
	}
	high := avcRecords[0].record
	for _, tt := range []struct {
		name string
		a, b *media.Track
		want bool
	}{
		{"with an extension that says nothing", aac("1190"), aac("119056e500"), true},
		{"another rate", aac("1190"), aac("1210"), false},
		{"other channels", aac("1190"), aac("1188"), false},
		{"with and without what stands behind the sets", avc(high), avc(high[:len(high)-8]), true},
		{"another length size", avc(high), avc(high[:8] + "fd" + high[10:]), true},
		{"another size", avc(high), avc(avcRecords[1].record), false},
		{"video and audio", avc(high), aac("1190"), false},
		{"none", nil, nil, true},
		{"one of them none", nil, aac("1190"), false},
	} {
		if got := tt.a.Decodes(tt.b); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

// Whatever comes, the frames that come of it are well-formed.
func FuzzAACInput(f *testing.F) {
	f.Add(wiretest.Hex("1190"), wiretest.Hex("211004"), wiretest.Hex("fff14c80013ffc2110"))
	f.Add([]byte{}, wiretest.Hex("fff04c80019ffcbeef211004"), wiretest.Hex("fff14c80013ffc2110fff14c80013ffc2110"))
	f.Fuzz(func(t *testing.T, config, a, b []byte) {
		in := &media.AudioInput{}
		in.Configure(media.AAC, config) // most are damaged
		for _, data := range [][]byte{a, b, a} {
			for _, f := range in.Push(nil, media.AAC, data, 0) {
				if f.Track != in.Track() || len(f.Data) == 0 || !f.Track.WellFormed(f.Data) {
					t.Fatalf("frame %+v", f)
				}
			}
		}
	})
}
