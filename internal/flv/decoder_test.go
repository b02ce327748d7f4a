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
	"github.com/millrace/millrace/internal/wiretest"
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
	sei   = "00000003060100"   // a NAL unit in front of the slices
)

// A shown frame is a decoded frame in a form that tests compare.
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
		f, ok, err := decode(d, tt.audio, wiretest.Hex(tt.body), at)
		if err != nil || !ok {
			t.Errorf("%s: ok %v, error %v", tt.name, ok, err)
			continue
		}
		if diff := cmp.Diff(tt.want, show(f)); diff != "" {
			t.Errorf("%s:\n%s", tt.name, diff)
		}
	}
}

// decode has d take a body and returns the one frame that it makes complete.
func decode(d *flv.Decoder, audio bool, body []byte, dts time.Duration) (f media.Frame, ok bool, err error) {
	take := d.Video
	if audio {
		take = d.Audio
	}
	if err := take(body, dts); err != nil {
		return f, false, err
	}
	f, ok = d.Next()
	return f, ok, nil
}

// configured returns a decoder that knows both tracks, and that a message is an
// access unit.
func configured(t testing.TB) *flv.Decoder {
	t.Helper()
	d := &flv.Decoder{}
	for _, tag := range []string{"1700000000" + avc, "1701000000" + sei + idr} {
		if _, _, err := decode(d, false, wiretest.Hex(tag), 0); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok, err := decode(d, true, wiretest.Hex("af00"+aac), 0); ok || err != nil {
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
		if f, ok, err := decode(d, tt.audio, wiretest.Hex(tt.body), 0); ok || err != nil {
			t.Errorf("%s: frame %v, error %v; want neither", tt.name, f, err)
		}
		if d.Stats() != (media.InputStats{}) {
			t.Errorf("%s: counted as %+v", tt.name, d.Stats())
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
		_, ok, err := decode(configured(t), tt.audio, wiretest.Hex(tt.body), 0)
		var unsupported *flv.UnsupportedError
		if ok || !errors.As(err, &unsupported) || unsupported.Codec != tt.codec {
			t.Errorf("%s: %v, want %s to be unsupported", tt.body, err, tt.codec)
		} else if !strings.Contains(err.Error(), "H.264") {
			t.Errorf("%s: %q does not say what is", tt.body, err)
		}
	}
}

// A tag that makes no sense is left out and counted, and nothing else changes.
func TestMalformed(t *testing.T) {
	for _, tt := range []struct {
		audio bool
		body  string
		want  media.InputStats
	}{
		{false, "170000000001640028", media.InputStats{BadConfigs: 1}},                   // configuration cut
		{false, "170000000001", media.InputStats{BadConfigs: 1}},                         // one byte of it
		{false, "9061766331" + "0164", media.InputStats{BadConfigs: 1}},                  // in the other form
		{false, "90617663", media.InputStats{Malformed: 1}},                              // FourCC cut
		{false, "9161766331ffff", media.InputStats{Malformed: 1}},                        // composition time cut
		{false, "a7", media.InputStats{Malformed: 1}},                                    // ModEx without size
		{false, "a7ff01", media.InputStats{Malformed: 1}},                                // ModEx with half a size
		{false, "a702000000", media.InputStats{Malformed: 1}},                            // ModEx without the next type
		{false, "a7ffffff" + "00000000", media.InputStats{Malformed: 1}},                 // ModEx longer than the tag
		{true, "af0011", media.InputStats{BadConfigs: 1}},                                // configuration cut
		{true, "97", media.InputStats{Malformed: 1}},                                     // ModEx without size
		{true, "906d70", media.InputStats{Malformed: 1}},                                 // FourCC cut
		{true, "af01" + strings.Repeat("21", 8185), media.InputStats{Malformed: 1}},      // longer than ADTS can say
		{true, "af01" + "fff14c80ffffff21", media.InputStats{Malformed: 1, Repaired: 1}}, // ADTS that says another length
	} {
		d := configured(t)
		if f, ok, err := decode(d, tt.audio, wiretest.Hex(tt.body), 0); ok || err != nil {
			t.Errorf("%.40s: %+v, %v", tt.body, f, err)
		}
		if d.Stats() != tt.want {
			t.Errorf("%.40s: counted as %+v, want %+v", tt.body, d.Stats(), tt.want)
		}
		for _, next := range []string{"1701000000" + idr, "af01211004"} {
			f, ok, err := decode(d, next[0] == 'a', wiretest.Hex(next), at)
			if !ok || err != nil || f.Track.IsVideo() && f.Track.Video.Height != 360 {
				t.Errorf("%.40s, then %s: %v, %v", tt.body, next, ok, err)
			}
		}
	}
}

func TestFramesBeforeTheirSequenceHeader(t *testing.T) {
	d := &flv.Decoder{}
	for range 3 {
		if _, ok, err := decode(d, false, wiretest.Hex("1701000000"+idr), 0); ok || err != nil {
			t.Errorf("video: %v, %v", ok, err)
		}
	}
	if _, ok, err := decode(d, true, wiretest.Hex("af01211004"), 0); ok || err != nil {
		t.Errorf("audio: %v, %v", ok, err)
	}
	if got, want := d.Stats(), (media.InputStats{Early: 4}); got != want {
		t.Errorf("counted as %+v, want %+v", got, want)
	}
}

func TestDamagedFrames(t *testing.T) {
	cut, repaired := media.InputStats{Malformed: 1}, media.InputStats{Repaired: 1}
	tests := []struct {
		name, data, want string
		stats            media.InputStats
	}{
		{"trailing bytes", idr + "0000", idr, cut},
		{"second NAL unit cut", idr + slice[:12], idr, cut},
		{"second length is huge", idr + "ffffffff00", idr, cut},
		{"first NAL unit cut", slice[:12], "", cut},
		{"start codes", "00000001658884" + "000001419a21", idr + "00000003419a21", repaired},
		{"short start codes", "000001658884" + "00000001419a21", idr + "00000003419a21", repaired},
		{"zeros behind a unit", "00000001658884" + "0000000001419a21", idr + "00000003419a21", repaired},
		{"empty unit in front", "00000000" + idr, idr, repaired},
		{"empty unit behind", idr + "00000000", idr, repaired},
		{"lengths of two bytes", "0003658884" + "0003419a21", idr + "00000003419a21", repaired},
		{"a length of one byte", "03658884", idr, repaired},
	}
	for _, tt := range tests {
		d := configured(t)
		f, ok, err := decode(d, false, wiretest.Hex("1701000000"+tt.data), at)
		if err != nil || ok != (tt.want != "") || hex.EncodeToString(f.Data) != tt.want || ok && !f.Key {
			t.Errorf("%s: %x, %v, %v; want %s", tt.name, f.Data, ok, err, tt.want)
		}
		if d.Stats() != tt.stats {
			t.Errorf("%s: counted as %+v, want %+v", tt.name, d.Stats(), tt.stats)
		}
	}
}

// ADTS inside audio tags becomes raw frames, each in its place, and its headers
// stand in for a sequence header.
func TestADTSInTags(t *testing.T) {
	const one, two = "fff14c80013ffc" + "2110", "fff04c80019ffc" + "beef" + "211004"
	d := &flv.Decoder{}
	if err := d.Audio(wiretest.Hex("af01"+one+two), at); err != nil {
		t.Fatal(err)
	}
	for i, want := range []shown{{false, at, at, true, "2110"}, {false, at + 21333333, at + 21333333, true, "211004"}} {
		f, ok := d.Next()
		if !ok {
			t.Fatalf("frame %d is missing", i)
		}
		if diff := cmp.Diff(want, show(f)); diff != "" {
			t.Errorf("frame %d: %s", i, diff)
		}
		if a := f.Track.Audio; a.SampleRate != 48000 || a.Channels != 2 || f.Track != d.AudioTrack() {
			t.Errorf("frame %d: %+v", i, a)
		}
	}
	if f, ok := d.Next(); ok {
		t.Errorf("a third frame %+v", f)
	}
}

func TestTrackIsKeptUntilItChanges(t *testing.T) {
	d := configured(t)
	decode := func(audio bool, body string) *media.Track {
		t.Helper()
		f, _, err := decode(d, audio, wiretest.Hex(body), 0)
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
		if _, _, err := decode(d, false, wiretest.Hex(header), 0); err != nil {
			t.Fatal(err)
		}
		f, ok, err := decode(d, false, wiretest.Hex("1701000000"+tt.data), 0)
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
		if _, _, err := decode(d, false, wiretest.Hex(header), 0); err != nil {
			t.Fatal(err)
		}
		if f, _, _ := decode(d, false, wiretest.Hex("1701000000"+tt.data), at); f.Track != track {
			t.Errorf("lengths %s: a repeated sequence header made a new track", tt.config)
		}
		if d.Stats() != (media.InputStats{}) {
			t.Errorf("lengths %s: counted as %+v", tt.config, d.Stats())
		}
	}
}

// Whatever a tag holds, a frame that comes out is well-formed.
func FuzzDecoder(f *testing.F) {
	for _, s := range []string{
		"1701000000" + idr, "2701ffffd8" + slice, "1700000000" + otherAVC, "9061766331" + avc, "a70207a12003" + "61766331" + slice,
		"9161766331ffffd8" + idr, "96006176633100", "1700000000" + avc[:8] + "fd" + avc[10:], "1c00000000",
	} {
		f.Add(wiretest.Hex(s), false)
	}
	for _, s := range []string{"af01211004", "af00" + otherAAC, "906d703461" + aac, "970207a12001" + "6d703461" + "211004", "2f00"} {
		f.Add(wiretest.Hex(s), true)
	}
	f.Fuzz(func(t *testing.T, body []byte, audio bool) {
		d := configured(t)
		probe := "1701000000" + idr
		if audio {
			probe = "af01211004"
		}
		for i, b := range [][]byte{body, wiretest.Hex(probe), body} {
			take := d.Video
			if audio {
				take = d.Audio
			}
			if take(b, at+time.Duration(i)*time.Second) != nil {
				continue
			}
			for f, ok := d.Next(); ok; f, ok = d.Next() {
				if f.Track == nil || len(f.Data) == 0 || f.Track.IsVideo() == audio || !f.Track.WellFormed(f.Data) {
					t.Fatalf("% x: frame %+v", b, f)
				}
			}
		}
	})
}

func BenchmarkDecoder(b *testing.B) {
	d := configured(b)
	video := append(wiretest.Hex("27010000000000100041"+"9a"), make([]byte, 4094)...)
	audio := append(wiretest.Hex("af01"), make([]byte, 350)...)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok, err := decode(d, false, video, at); !ok || err != nil {
			b.Fatal(ok, err)
		}
		if _, ok, err := decode(d, true, audio, at); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}
