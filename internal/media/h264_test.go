package media_test

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/wiretest"
)

// Records that libx264 wrote through ffmpeg's FLV muxer.
var avcRecords = []struct {
	name, record  string
	width, height int
	rate          float64
	codec         string
	profile       string
	level         string
}{
	{"1080p30 High, cropped", "01640028ffe1001b67640028acd940780227e5c044000003000400000300f03c60c65801000668ebe3cb22c0fdf8f800", 1920, 1080, 30, "avc1.640028", "High", "4.0"},
	{"720p60 Main", "014d4020ffe10019674d4020eca02802dd8088000003000800000303c078c18cb001000568ebe3cb20", 1280, 720, 60, "avc1.4D4020", "Main", "3.2"},
	{"360p25 Baseline", "0142c01effe100196742c01ed900a02ff97011000003000100000300320f162e4801000568cb83cb20", 640, 360, 25, "avc1.42C01E", "Baseline", "3.0"},
	{"portrait 29.97", "01640028ffe1001967640028acd9404403c797c04400000fa40003a9803c60c65801000668ebe3cb22c0fdf8f800", 1080, 1920, 30000. / 1001, "avc1.640028", "High", "4.0"},
	{"240p24", "01640015ffe1001a67640015acd941b1fe4f011000000300100000030300f162d96001000668ebe3cb22c0fdf8f800", 426, 240, 24, "avc1.640015", "High", "2.1"},
	{"1080i25", "01640028ffe1001a67640028acd94078044fde0220000003002000000643e2c5b2c001000668fba3cb22c0fdf8f800", 1920, 1080, 25, "avc1.640028", "High", "4.0"},
	// Its scaling matrix was put in by hand: twelve lists, each of which says that the default is used.
	{"4:4:4 with a scaling matrix", "01f4000bffe1002967f4000b91b08c2308c2308c2308c2308c2308c23b28508fc4e022000003000200000300781e28532c01000868ebe3c44c000440", 160, 120, 30, "avc1.F4000B", "High 4:4:4 Predictive", "1.1"},
}

func TestNewH264Track(t *testing.T) {
	for _, tt := range avcRecords {
		track, err := media.NewTrack(media.H264, wiretest.Hex(tt.record))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		v := track.Video
		if v.Width != tt.width || v.Height != tt.height || math.Abs(v.FrameRate-tt.rate) > 0.001 {
			t.Errorf("%s: %dx%d at %g, want %dx%d at %g", tt.name, v.Width, v.Height, v.FrameRate, tt.width, tt.height, tt.rate)
		}
		if got := track.RFC6381(); got != tt.codec {
			t.Errorf("%s: codec %s, want %s", tt.name, got, tt.codec)
		}
		if v.Profile != tt.profile || v.Level != tt.level {
			t.Errorf("%s: %s@%s, want %s@%s", tt.name, v.Profile, v.Level, tt.profile, tt.level)
		}
		if len(v.Sets) != 2 || !track.IsVideo() {
			t.Errorf("%s: %d sets, video %v", tt.name, len(v.Sets), track.IsVideo())
		}
	}
}

func TestH264TrackKeepsNothingOfItsArgument(t *testing.T) {
	record := wiretest.Hex(avcRecords[0].record)
	track, err := media.NewTrack(media.H264, record)
	if err != nil {
		t.Fatal(err)
	}
	clear(record)
	if track.Config[0] != 1 || track.Video.Sets[0][0]&0x1f != media.H264NALSPS {
		t.Error("the track changed with the caller's buffer")
	}
}

func TestNewH264TrackRefusesDamage(t *testing.T) {
	good := wiretest.Hex(avcRecords[0].record)
	for name, bad := range map[string][]byte{
		"empty":              nil,
		"version 2":          append([]byte{2}, good[1:]...),
		"SPS cut":            good[:20],
		"no PPS":             good[:8+27],
		"SPS length lies":    slices.Concat(good[:6], []byte{0xff, 0xff}, good[8:]),
		"huge":               make([]byte, 5000),
		"only PPS":           wiretest.Hex("01640028ffe000"),
		"SPS of three bytes": wiretest.Hex("01640028ffe1000367640001000468ebe3cb"),
	} {
		if track, err := media.NewTrack(media.H264, bad); err == nil {
			t.Errorf("%s: accepted as %dx%d", name, track.Video.Width, track.Video.Height)
		}
	}
}

// A VUI that ends too early is common (old hardware encoders) and harmless.
func TestVUICutShort(t *testing.T) {
	sps := wiretest.Hex("67640028acd940780227e5c044")
	record := slices.Concat(wiretest.Hex("01640028ffe1"), []byte{0, byte(len(sps))}, sps, wiretest.Hex("01000668ebe3cb22c0"))
	track, err := media.NewTrack(media.H264, record)
	if err != nil {
		t.Fatal(err)
	}
	if v := track.Video; v.Width != 1920 || v.Height != 1080 || v.FrameRate != 0 {
		t.Errorf("%dx%d at %g, want 1920x1080 at 0", v.Width, v.Height, v.FrameRate)
	}
}

func TestNALs(t *testing.T) {
	data := wiretest.Hex("00000002" + "0910" + "00000000" + "00000003" + "650102" + "000000ff" + "41")
	var got [][]byte
	for nal := range media.NALs(data) {
		got = append(got, nal)
	}
	if len(got) != 2 || !bytes.Equal(got[0], []byte{9, 0x10}) || !bytes.Equal(got[1], []byte{0x65, 1, 2}) {
		t.Errorf("NALs = % x, want 0910 and 650102 and nothing of the cut unit", got)
	}
}

func FuzzNewH264Track(f *testing.F) {
	for _, r := range avcRecords {
		f.Add(wiretest.Hex(r.record))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		track, err := media.NewTrack(media.H264, b)
		if err != nil {
			return
		}
		if v := track.Video; v.Width <= 0 || v.Height <= 0 || v.Width > 16384 || v.Height > 16384 || v.FrameRate < 0 || v.FrameRate > 300 {
			t.Errorf("%dx%d at %g", v.Width, v.Height, v.FrameRate)
		}
		track.RFC6381()
	})
}
