package flv_test

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/millrace/millrace/internal/flv"
	"github.com/millrace/millrace/internal/media"
)

// What libx264 (320x180, 25 frames a second; 1080p) and ffmpeg's AAC encoder
// (48 kHz and 44.1 kHz stereo) configure a decoder with.
const (
	avc      = "0142c01effe100196742c01ed900a02ff97011000003000100000300320f162e4801000568cb83cb20"
	otherAVC = "01640028ffe1001b67640028acd940780227e5c044000003000400000300f03c60c65801000668ebe3cb22c0fdf8f800"
	aac      = "1190"
	otherAAC = "1210"

	idr   = "00000003658884"   // one NAL unit
	slice = "00000004419a2104" // one NAL unit, not IDR
	sei   = "00000003060100"   // a NAL unit in front of the picture
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A shown frame is what a decoder made of a tag body.
type shown struct {
	Video    bool
	DTS, PTS time.Duration
	Key      bool
	Data     string
}

func show(f media.Frame) shown {
	return shown{f.Track.IsVideo(), f.DTS, f.PTS, f.Key, hex.EncodeToString(f.Data)}
}

const at = 5 * time.Second // the timestamp of every tag below

func TestFrames(t *testing.T) {
	ms := time.Millisecond
	tests := []struct {
		name  string
		audio bool
		body  string
		want  shown
	}{
		{"classic key frame", false, "1701000000" + idr, shown{true, at, at, true, idr}},
		{"classic inter frame", false, "2701000028" + slice, shown{true, at, at + 40*ms, false, slice}},
		{"negative composition offset", false, "2701ffffd8" + slice, shown{true, at, at - 40*ms, false, slice}},
		{"largest offset", false, "27017fffff" + slice, shown{true, at, at + 8388607*ms, false, slice}},
		{"smallest offset", false, "2701800000" + slice, shown{true, at, at - 8388608*ms, false, slice}},
		{"called key but no IDR", false, "1701000000" + slice, shown{true, at, at, false, slice}},
		{"IDR but called inter", false, "2701000000" + idr, shown{true, at, at, true, idr}},
		{"SEI before the IDR", false, "1701000000" + sei + idr, shown{true, at, at, true, sei + idr}},
		{"FourCC coded frames", false, "9161766331ffffd8" + idr, shown{true, at, at - 40*ms, true, idr}},
		{"FourCC coded frames X", false, "a361766331" + slice, shown{true, at, at, false, slice}},
		{"nanoseconds", false, "a70207a12003" + "61766331" + slice, shown{true, at + 500000, at + 500000, false, slice}},
		{"too many nanoseconds", false, "a702ffffff03" + "61766331" + slice, shown{true, at + 999999, at + 999999, false, slice}},
		{"ModEx of another type", false, "a700aa13" + "61766331" + slice, shown{true, at, at, false, slice}},
		{"two ModEx", false, "a700aa17" + "0207a12003" + "61766331" + slice, shown{true, at + 500000, at + 500000, false, slice}},
		{"long ModEx", false, "a7ff0100" + strings.Repeat("00", 257) + "13" + "61766331" + slice, shown{true, at, at, false, slice}},
		{"classic AAC", true, "af01" + "211004", shown{false, at, at, true, "211004"}},
		{"classic AAC that says mono 11 kHz", true, "a001" + "211004", shown{false, at, at, true, "211004"}},
		{"FourCC AAC", true, "916d703461" + "211004", shown{false, at, at, true, "211004"}},
		{"FourCC AAC with nanoseconds", true, "970207a12001" + "6d703461" + "211004", shown{false, at + 500000, at + 500000, true, "211004"}},
	}
	for _, tt := range tests {
		d := configured(t)
		decode := d.Video
		if tt.audio {
			decode = d.Audio
		}
		f, ok, err := decode(unhex(t, tt.body), at)
		if err != nil || !ok {
			t.Errorf("%s: ok %v, error %v", tt.name, ok, err)
			continue
		}
		if diff := cmp.Diff(tt.want, show(f)); diff != "" {
			t.Errorf("%s:\n%s", tt.name, diff)
		}
	}
}

// configured returns a decoder that knows both tracks.
func configured(t testing.TB) *flv.Decoder {
	t.Helper()
	d := &flv.Decoder{}
	if _, ok, err := d.Video(unhex(t, "1700000000"+avc), 0); ok || err != nil {
		t.Fatalf("video sequence header: %v, %v", ok, err)
	}
	if _, ok, err := d.Audio(unhex(t, "af00"+aac), 0); ok || err != nil {
		t.Fatalf("audio sequence header: %v, %v", ok, err)
	}
	return d
}

func TestTagsWithoutFrame(t *testing.T) {
	tests := []struct {
		name  string
		audio bool
		body  string
	}{
		{"empty", false, ""},
		{"header only", false, "17"},
		{"cut composition time", false, "17010000"},
		{"empty sequence header", false, "1700000000"},
		{"empty frame", false, "2701000000"},
		{"end of sequence", false, "1702000000"},
		{"unknown packet type", false, "1709000000" + idr},
		{"command frame", false, "5700"},
		{"FourCC command frame", false, "d100"},
		{"FourCC end of sequence", false, "9261766331"},
		{"FourCC metadata", false, "9461766331020009"},
		{"FourCC empty frame", false, "a361766331"},
		{"FourCC unknown packet type", false, "9961766331" + idr},
		{"empty", true, ""},
		{"header only", true, "af"},
		{"empty sequence header", true, "af00"},
		{"empty frame", true, "af01"},
		{"FourCC end of sequence", true, "926d703461"},
		{"FourCC multichannel configuration", true, "946d703461010203"},
	}
	for _, tt := range tests {
		d := configured(t)
		decode := d.Video
		if tt.audio {
			decode = d.Audio
		}
		if f, ok, err := decode(unhex(t, tt.body), 0); ok || err != nil {
			t.Errorf("%s: frame %v, error %v; want neither", tt.name, f, err)
		}
		if d.Early != 0 || d.Malformed != 0 {
			t.Errorf("%s: counted as early %d, malformed %d", tt.name, d.Early, d.Malformed)
		}
	}
}

func TestUnsupported(t *testing.T) {
	tests := []struct {
		audio       bool
		body, codec string
	}{
		{false, "1200", "Sorenson H.263 video"},
		{false, "1c00000000", "HEVC video"},
		{false, "1f00000000", "video codec 15"},
		{false, "9068766331", "HEVC video"},
		{false, "9061763031", "AV1 video"},
		{false, "9076703039", "VP9 video"},
		{false, "9041424344", `codec "ABCD"`},
		{false, "96006176633100", "multitrack video"},
		{false, "a700aa16" + "00", "multitrack video"},
		{true, "2f00", "MP3 audio"},
		{true, "b200", "Speex audio"},
		{true, "ff00", "audio codec 15"},
		{true, "904f707573", "Opus audio"},
		{true, "95006d703461", "multitrack audio"},
	}
	for _, tt := range tests {
		d := configured(t)
		decode := d.Video
		if tt.audio {
			decode = d.Audio
		}
		_, ok, err := decode(unhex(t, tt.body), 0)
		var unsupported *flv.UnsupportedError
		if ok || !errors.As(err, &unsupported) || unsupported.Codec != tt.codec {
			t.Errorf("%s: %v, want %s to be unsupported", tt.body, err, tt.codec)
		} else if !strings.Contains(err.Error(), "H.264") {
			t.Errorf("%s: %q does not say what is", tt.body, err)
		}
	}
}

func TestMalformed(t *testing.T) {
	for _, body := range []string{
		"170000000001640028",     // configuration cut
		"90617663",               // FourCC cut
		"9161766331ffff",         // composition time cut
		"a7",                     // ModEx without size
		"a7ff01",                 // ModEx with half a size
		"a702000000",             // ModEx without the next type
		"a7ffffff" + "000000000", // ModEx longer than the tag
	} {
		body = body[:len(body)&^1]
		d := &flv.Decoder{}
		if _, ok, err := d.Video(unhex(t, body), 0); ok || !errors.Is(err, flv.ErrMalformed) {
			t.Errorf("video %s: %v", body, err)
		}
	}
	for _, body := range []string{"af0011", "af00ffff", "97", "906d70"} {
		d := &flv.Decoder{}
		if _, ok, err := d.Audio(unhex(t, body), 0); ok || !errors.Is(err, flv.ErrMalformed) {
			t.Errorf("audio %s: %v", body, err)
		}
	}
}

func TestFramesBeforeTheirSequenceHeader(t *testing.T) {
	d := &flv.Decoder{}
	for range 3 {
		if _, ok, err := d.Video(unhex(t, "1701000000"+idr), 0); ok || err != nil {
			t.Errorf("video: %v, %v", ok, err)
		}
	}
	if _, ok, err := d.Audio(unhex(t, "af01211004"), 0); ok || err != nil {
		t.Errorf("audio: %v, %v", ok, err)
	}
	if d.Early != 4 || d.Malformed != 0 {
		t.Errorf("early %d, malformed %d; want 4, 0", d.Early, d.Malformed)
	}
}

func TestDamagedFrames(t *testing.T) {
	tests := []struct {
		name, data, want string
	}{
		{"trailing bytes", idr + "0000", idr},
		{"second NAL unit cut", idr + slice[:12], idr},
		{"second length is huge", idr + "ffffffff00", idr},
		{"first NAL unit cut", slice[:12], ""},
		{"Annex B", "00000001658884", "0000000165"},
	}
	for _, tt := range tests {
		d := configured(t)
		f, ok, err := d.Video(unhex(t, "1701000000"+tt.data), 0)
		if err != nil || ok != (tt.want != "") || hex.EncodeToString(f.Data) != tt.want {
			t.Errorf("%s: %x, %v, %v; want %s", tt.name, f.Data, ok, err, tt.want)
		}
		if d.Malformed != 1 {
			t.Errorf("%s: counted %d times", tt.name, d.Malformed)
		}
	}
}

func TestTrackIsKeptUntilItChanges(t *testing.T) {
	d := configured(t)
	decode := func(audio bool, body string) *media.Track {
		t.Helper()
		dec := d.Video
		if audio {
			dec = d.Audio
		}
		f, _, err := dec(unhex(t, body), 0)
		if err != nil {
			t.Fatal(err)
		}
		return f.Track
	}
	video, audio := decode(false, "1701000000"+idr), decode(true, "af0100")
	decode(false, "1700000000"+avc)
	decode(true, "af00"+aac)
	if decode(false, "1701000000"+idr) != video || decode(true, "af0100") != audio {
		t.Error("a repeated sequence header made a new track")
	}
	decode(false, "9061766331"+avc)
	decode(true, "906d703461"+aac)
	if decode(false, "1701000000"+idr) != video || decode(true, "af0100") != audio {
		t.Error("the same sequence header in the other form made a new track")
	}
	decode(false, "1700000000"+otherAVC)
	decode(true, "af00"+otherAAC)
	v, a := decode(false, "1701000000"+idr), decode(true, "af0100")
	if v == video || v.Video.Height != 1080 || a == audio || a.Audio.SampleRate != 44100 {
		t.Errorf("changed sequence headers: %+v, %+v", v.Video, a.Audio)
	}
}

func TestLengthsBecomeFourBytes(t *testing.T) {
	for _, tt := range []struct{ config, data string }{
		{"fd", "0003" + "658884" + "0001" + "06"},
		{"fc", "03" + "658884" + "01" + "06"},
		{"fe", "000003" + "658884" + "000001" + "06"},
	} {
		d := &flv.Decoder{}
		header := "1700000000" + avc[:8] + tt.config + avc[10:]
		if _, _, err := d.Video(unhex(t, header), 0); err != nil {
			t.Fatal(err)
		}
		f, ok, err := d.Video(unhex(t, "1701000000"+tt.data), 0)
		if err != nil || !ok || !f.Key {
			t.Errorf("lengths %s: key %v, ok %v, error %v", tt.config, f.Key, ok, err)
			continue
		}
		if got, want := hex.EncodeToString(f.Data), idr+"0000000106"; got != want {
			t.Errorf("lengths %s: data %s, want %s", tt.config, got, want)
		}
		if f.Track.Config[4]&3 != 3 {
			t.Errorf("lengths %s: the track still says %d bytes", tt.config, f.Track.Config[4]&3+1)
		}
		track := f.Track
		if _, _, err := d.Video(unhex(t, header), 0); err != nil {
			t.Fatal(err)
		}
		if f, _, _ := d.Video(unhex(t, "1701000000"+tt.data), 0); f.Track != track {
			t.Errorf("lengths %s: a repeated sequence header made a new track", tt.config)
		}
	}
}

// Whatever a tag holds, a frame that comes out is well-formed.
func FuzzDecoder(f *testing.F) {
	for _, s := range []string{
		"1701000000" + idr, "2701ffffd8" + slice, "1700000000" + otherAVC, "9061766331" + avc, "a70207a12003" + "61766331" + slice,
		"9161766331ffffd8" + idr, "96006176633100", "1700000000" + avc[:8] + "fd" + avc[10:], "1c00000000",
	} {
		f.Add(unhex(f, s), false)
	}
	for _, s := range []string{"af01211004", "af00" + otherAAC, "906d703461" + aac, "970207a12001" + "6d703461" + "211004", "2f00"} {
		f.Add(unhex(f, s), true)
	}
	f.Fuzz(func(t *testing.T, body []byte, audio bool) {
		d := configured(t)
		decode, probe := d.Video, "1701000000"+idr
		if audio {
			decode, probe = d.Audio, "af01211004"
		}
		for _, b := range [][]byte{body, unhex(t, probe), body} {
			f, ok, err := decode(b, at)
			if !ok || err != nil {
				continue
			}
			if f.Track == nil || len(f.Data) == 0 || f.Track.IsVideo() == audio {
				t.Fatalf("% x: frame %+v", b, f)
			}
			n := 0
			for nal := range media.NALs(f.Data) {
				n += 4 + len(nal)
			}
			if !audio && n > len(f.Data) {
				t.Fatalf("% x: NAL units of %d bytes in %d", b, n, len(f.Data))
			}
		}
	})
}

func BenchmarkDecoder(b *testing.B) {
	d := configured(b)
	video := append(unhex(b, "2701000000000010004"+"1"), make([]byte, 4095)...)
	audio := append(unhex(b, "af01"), make([]byte, 350)...)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok, err := d.Video(video, at); !ok || err != nil {
			b.Fatal(ok, err)
		}
		if _, ok, err := d.Audio(audio, at); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}
