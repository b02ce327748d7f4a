package transcode

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

// short writes a ladder in one line: "source | 720p60 1280x720 3400 copy".
func short(rungs []Rung) string {
	var all []string
	for _, r := range rungs {
		audio := "copy"
		if r.AudioBitrate > 0 {
			audio = fmt.Sprint(r.AudioBitrate / 1000)
		}
		switch {
		case r.Source:
			all = append(all, r.Name)
		case r.AudioOnly():
			all = append(all, r.Name+" "+audio)
		default:
			all = append(all, fmt.Sprintf("%s %dx%d %d %s", r.Name, r.Width, r.Height, r.Bitrate/1000, audio))
		}
	}
	return strings.Join(all, " | ")
}

const (
	standardLow    = "480p30 852x480 1400 copy | 360p30 640x360 630 64 | 160p30 284x160 230 48"
	advancedLow    = "480p30 852x480 1300 128 | 360p30 640x360 700 64 | 160p30 284x160 270 48 | audio_only 64"
	constrainedLow = "480p30 852x480 800 128 | 360p30 640x360 400 64 | 160p30 284x160 220 48 | audio_only 64"
)

func TestLadder(t *testing.T) {
	for _, tt := range []struct {
		kind          Kind
		constrained   bool
		width, height int
		rate          float64
		want          string
	}{
		{SourceOnly, false, 1920, 1080, 30, "source"},
		{SourceOnly, false, 640, 360, 30, "source"},

		{Standard, false, 1920, 1080, 60, "source | 720p60 1280x720 3400 copy | " + standardLow},
		{Standard, false, 1600, 900, 60, "source | 720p60 1280x720 3400 copy | " + standardLow},
		{Standard, false, 1920, 1080, 30, "source | 720p30 1280x720 2400 copy | " + standardLow},
		{Standard, false, 1920, 1080, 29.97, "source | 720p30 1280x720 2400 copy | " + standardLow},
		{Standard, false, 1600, 900, 25, "source | 720p30 1280x720 2400 copy | " + standardLow},
		{Standard, false, 1280, 720, 60, "720p60 1280x720 3400 copy | " + standardLow},
		{Standard, false, 1280, 720, 50, "720p60 1280x720 3400 copy | " + standardLow},
		{Standard, false, 1280, 720, 30, "720p30 1280x720 2400 copy | " + standardLow},
		{Standard, false, 1280, 720, 0, "720p30 1280x720 2400 copy | " + standardLow},
		{Standard, false, 960, 540, 30, standardLow},
		{Standard, false, 960, 540, 60, standardLow},
		{Standard, false, 852, 480, 30, standardLow},
		{Standard, false, 854, 480, 30, "480p30 854x480 1400 copy | 360p30 640x360 630 64 | 160p30 284x160 230 48"},
		{Standard, false, 640, 360, 30, "360p30 640x360 630 64 | 160p30 284x160 230 48"},
		{Standard, false, 712, 400, 30, "400p30 712x400 1400 copy | 360p30 640x360 630 64 | 160p30 284x160 230 48"},
		{Standard, false, 320, 180, 30, "180p30 320x180 630 64 | 160p30 284x160 230 48"},
		{Standard, false, 160, 120, 30, "120p30 160x120 230 48"},

		{AdvancedHD, false, 1920, 1080, 60, "720p60 1280x720 3000 128 | " + advancedLow},
		{AdvancedHD, true, 1920, 1080, 60, "720p60 1280x720 2200 128 | " + constrainedLow},
		{AdvancedHD, false, 1280, 720, 60, "720p60 1280x720 3000 128 | " + advancedLow},
		{AdvancedHD, false, 1920, 1080, 30, "720p30 1280x720 2300 128 | " + advancedLow},
		{AdvancedHD, true, 1280, 720, 30, "720p30 1280x720 1900 128 | " + constrainedLow},
		{AdvancedHD, false, 960, 540, 30, "540p30 960x540 2300 128 | " + advancedLow},
		{AdvancedHD, true, 960, 540, 60, "540p30 960x540 1900 128 | " + constrainedLow},
		{AdvancedHD, false, 852, 480, 60, advancedLow},
		{AdvancedHD, true, 852, 480, 30, constrainedLow},
		{AdvancedHD, false, 640, 360, 30, "360p30 640x360 700 64 | 160p30 284x160 270 48 | audio_only 64"},

		{AdvancedSD, false, 1920, 1080, 60, advancedLow},
		{AdvancedSD, true, 1920, 1080, 60, constrainedLow},
		{AdvancedSD, false, 1280, 720, 30, advancedLow},
		{AdvancedSD, false, 852, 480, 30, advancedLow},
		{AdvancedSD, false, 712, 400, 30, "400p30 712x400 1300 128 | 360p30 640x360 700 64 | 160p30 284x160 270 48 | audio_only 64"},

		// Other shapes keep theirs, in even numbers.
		{Standard, false, 1080, 1920, 30, "source | 720p30 720x1280 2400 copy | 480p30 480x852 1400 copy | 360p30 360x640 630 64 | 160p30 160x284 230 48"},
		{Standard, false, 1440, 1080, 30, "source | 720p30 960x720 2400 copy | 480p30 640x480 1400 copy | 360p30 480x360 630 64 | 160p30 212x160 230 48"},
		{Standard, false, 1920, 800, 30, "source | 720p30 1280x532 2400 copy | 480p30 852x354 1400 copy | 360p30 640x266 630 64 | 160p30 284x118 230 48"},
		{Standard, false, 720, 720, 30, "720p30 720x720 2400 copy | 480p30 480x480 1400 copy | 360p30 360x360 630 64 | 160p30 160x160 230 48"},
		{Standard, false, 641, 361, 30, "360p30 640x360 630 64 | 160p30 284x160 230 48"},
	} {
		t.Run(fmt.Sprintf("%d %t %dx%d at %g", tt.kind, tt.constrained, tt.width, tt.height, tt.rate), func(t *testing.T) {
			in := Input{tt.width, tt.height, tt.rate, true}
			rungs := Rungs(tt.kind, tt.constrained, in)
			if got := short(rungs); got != tt.want {
				t.Errorf("\n got %s\nwant %s", got, tt.want)
			}
			for _, r := range rungs {
				if r.Width > tt.width || r.Height > tt.height || r.Width%2 != 0 || r.Height%2 != 0 {
					t.Errorf("%s has %dx%d", r.Name, r.Width, r.Height)
				}
			}
			in.Audio = false
			for _, r := range Rungs(tt.kind, tt.constrained, in) {
				if r.AudioOnly() || r.AudioBitrate != 0 {
					t.Errorf("%s has audio, the input has none", r.Name)
				}
			}
		})
	}
}

func TestCost(t *testing.T) {
	for _, tt := range []struct {
		in   Input
		want float64
	}{
		{Input{1280, 720, 30, true}, 1},
		{Input{1280, 720, 0, true}, 1},
		{Input{1280, 720, 60, true}, 1.70},
		{Input{1920, 1080, 30, true}, 1.38},
		{Input{1920, 1080, 60, true}, 2.45},
		{Input{852, 480, 30, true}, 0.43},
	} {
		if got := Cost(Rungs(Standard, false, tt.in), tt.in); math.Abs(got-tt.want) > 0.01 {
			t.Errorf("%+v costs %.3f, want %.2f", tt.in, got, tt.want)
		}
	}
	if got := Cost(Rungs(SourceOnly, false, Input{1920, 1080, 60, true}), Input{1920, 1080, 60, true}); got != 0 {
		t.Errorf("a channel that is not transcoded costs %g", got)
	}
}
