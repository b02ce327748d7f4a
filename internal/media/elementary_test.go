package media_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/wiretest"
)

func TestAnnexB(t *testing.T) {
	track := &media.Track{Codec: media.H264, Video: &media.VideoConfig{Sets: [][]byte{{0x67, 0x42}, {0x68, 0xce}}}}
	tests := []struct {
		name, data string
		key        bool
		want       string
	}{
		{"slice", "00000002 419a", false, "00000001 09f0 00000001 419a"},
		{"key", "00000002 6588", true, "00000001 09f0 00000001 6742 00000001 68ce 00000001 6588"},
		{"key with its own sets", "00000001 67 00000001 68 00000002 6588", true, "00000001 09f0 00000001 67 00000001 68 00000001 6588"},
		{"delimiter", "00000002 09f0 00000002 419a", false, "00000001 09f0 00000001 419a"},
		{"empty units", "00000000 00000002 419a 00000000", false, "00000001 09f0 00000001 419a"},
		{"cut off", "00000002 419a 00000003 41", false, "00000001 09f0 00000001 419a"},
		{"cut off in a length", "00000002 419a 0000", false, "00000001 09f0 00000001 419a"},
		{"endless", "ffffffff 41", false, "00000001 09f0"},
		{"nothing", "", false, "00000001 09f0"},
	}
	for _, tt := range tests {
		if got, want := track.AppendElementary(nil, wiretest.Hex(strings.ReplaceAll(tt.data, " ", "")), tt.key), wiretest.Hex(strings.ReplaceAll(tt.want, " ", "")); !bytes.Equal(got, want) {
			t.Errorf("%s: % x, want % x", tt.name, got, want)
		}
	}
}

func TestADTS(t *testing.T) {
	tests := []struct {
		config media.AudioConfig
		size   int
		want   string
	}{
		{media.AudioConfig{FrameSamples: 1024, SampleRate: 48000, Channels: 2}, 0, "fff14c8000fffc"},
		{media.AudioConfig{FrameSamples: 1024, SampleRate: 44100, Channels: 1}, 371, "fff150402f5ffc"},
		{media.AudioConfig{FrameSamples: 1024, SampleRate: 96000, Channels: 6}, 8184, "fff14183fffffc"},
		{media.AudioConfig{FrameSamples: 1024, SampleRate: 7350, Channels: 8}, 1, "fff171c0011ffc"},
		{media.AudioConfig{FrameSamples: 1024, SampleRate: 7000, Channels: 2}, 1, "fff17080011ffc"}, // not in the table
	}
	for _, tt := range tests {
		track := &media.Track{Codec: media.AAC, Audio: &tt.config}
		got, want := track.AppendElementary(nil, make([]byte, tt.size), true), wiretest.Hex(tt.want)
		if len(got) != len(want)+tt.size || !bytes.HasPrefix(got, want) || !track.WellFormed(got[len(want):]) {
			t.Errorf("%+v, %d bytes: % x, want % x", tt.config, tt.size, got, want)
		}
	}
}
