package media_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/media/mediatest"
)

func TestHasCaptions(t *testing.T) {
	track := &media.Track{Codec: media.H264, Video: &media.VideoConfig{}}
	unit := func(nal ...byte) []byte { return append([]byte{0, 0, 0, byte(len(nal))}, nal...) }
	aud, slice := unit(9, 0xf0), unit(0x65, 0x88, 0x84)
	stamp := unit(append([]byte{6, 5, 20}, bytes.Repeat([]byte{7}, 21)...)...)
	captions := mediatest.Caption(mediatest.NoCaption)
	both := unit(6, 1, 1, 0x30, 4, 14, 0xb5, 0, 0x31, 'G', 'A', '9', '4', 3, 0xc1, 0xff, 0xfc, 0x80, 0x80, 0xff, 0x80)
	bar := unit(6, 4, 9, 0xb5, 0, 0x31, 'G', 'A', '9', '4', 6, 0, 0x80)
	for _, tt := range []struct {
		name string
		data []byte
		want bool
	}{
		{"captions", slices.Concat(aud, captions, slice), true},
		{"behind another message", slices.Concat(both, slice), true},
		{"behind another unit", slices.Concat(stamp, captions, slice), true},
		{"none", slices.Concat(aud, stamp, slice), false},
		{"bar data", slices.Concat(bar, slice), false},
		{"behind the slices", slices.Concat(slice, captions), false},
		{"cut short", captions[:len(captions)-8], false},
		{"empty", nil, false},
	} {
		if got := track.HasCaptions(tt.data); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

// Captions ahead of the slices are found, whatever else there is, and those behind
// them are not.
func FuzzCaptions(f *testing.F) {
	f.Add([]byte{6, 5, 1, 7, 0x80}, []byte{0x65, 0x88, 0x84})
	f.Add([]byte{}, []byte{0x41})
	f.Fuzz(func(t *testing.T, before, slice []byte) {
		unit := func(nal []byte) []byte {
			return append([]byte{0, byte(len(nal) >> 16), byte(len(nal) >> 8), byte(len(nal))}, nal...)
		}
		if len(slice) == 0 || slice[0]&0x1f < 1 || slice[0]&0x1f > 5 || len(before) > 0 && before[0]&0x1f >= 1 && before[0]&0x1f <= 6 {
			return
		}
		track := &media.Track{Codec: media.H264, Video: &media.VideoConfig{}}
		captions := mediatest.Caption(mediatest.NoCaption)
		if !track.HasCaptions(slices.Concat(unit(before), captions, unit(slice))) {
			t.Error("captions are not found")
		}
		if track.HasCaptions(slices.Concat(unit(before), unit(slice), captions)) {
			t.Error("captions are found behind the slices")
		}
		track.HasCaptions(slices.Concat(before, slice))
	})
}

// The recovery point stands behind all other messages and in front of the slices.
func TestAppendRecoveryPoint(t *testing.T) {
	track := &media.Track{Codec: media.H264, Video: &media.VideoConfig{}}
	unit := func(nal ...byte) []byte { return append([]byte{0, 0, 0, byte(len(nal))}, nal...) }
	delimiter, other, slice, point := unit(9, 0xf0), unit(6, 6, 1, 0x40, 0x80), unit(0x41, 0x9a, 1), unit(6, 6, 1, 0x84, 0x80)
	for _, data := range [][][]byte{{slice}, {slice, slice}, {delimiter, other, slice, slice}, {delimiter}, {}} {
		i := slices.IndexFunc(data, func(u []byte) bool { return bytes.Equal(u, slice) })
		if i < 0 {
			i = len(data)
		}
		want := slices.Concat([]byte("before"), slices.Concat(data[:i]...), point, slices.Concat(data[i:]...))
		if got := track.AppendRecoveryPoint([]byte("before"), slices.Concat(data...)); !bytes.Equal(got, want) {
			t.Errorf("% x becomes\n% x, want\n% x", data, got, want)
		}
	}
}

func TestKeyInterval(t *testing.T) {
	track := &media.Track{Codec: media.H264, Video: &media.VideoConfig{}}
	for data, want := range map[string]int{
		"x264 - core 164 - options: cabac=1 keyint=60 keyint_min=6 ":                          60,
		"x264 - core 164 - options: keyint=infinite keyint_min=6 ":                            0,
		"x264 - core 164 - keyint=60 keyint_min=6 intra_refresh=1 rc=abr ":                    1e6,
		"x264 - core 164 - weightb=1 open_gop=1 keyint=60 keyint_min=6 ":                      1e6,
		"x264 - core 164 - open_gop=0 keyint=60 intra_refresh=0 rc=abr \x00 intra_refresh=1 ": 60,
		"x264 - core 164 - options: keyint=60":                                                0, // cut short
		"x264 - core 164 - options: keyint=99999999999999 keyint_min=6 ":                      0,
		"options: keyint=60 keyint_min=6 of another encoder than x264 - c":                    0,
		"": 0,
	} {
		if got := track.KeyInterval([]byte(data)); got != want {
			t.Errorf("%q: a key frame every %d frames, want %d", data, got, want)
		}
	}
}
