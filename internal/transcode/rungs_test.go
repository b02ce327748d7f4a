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
	hbd = "HIGHER_BANDWIDTH_DELIVERY"
	cbd = "CONSTRAINED_BANDWIDTH_DELIVERY"

	standardLow = "480p30 852x480 1400 copy | 360p30 640x360 630 64 | 160p30 284x160 230 48"
	advancedLow = "480p30 852x480 1300 128 | 360p30 640x360 700 64 | 160p30 284x160 270 48 | audio_only 64"
	tightLow    = "480p30 852x480 800 128 | 360p30 640x360 400 64 | 160p30 284x160 220 48 | audio_only 64"
)

func TestLadder(t *testing.T) {
	for _, tt := range []struct {
		channel, preset string
		width, height   int
		rate            float64
		want            string
	}{
		{"BASIC", "", 1920, 1080, 30, "source"},
		{"BASIC", "", 640, 360, 30, "source"},

		{"STANDARD", "", 1920, 1080, 60, "source | 720p60 1280x720 3400 copy | " + standardLow},
		{"STANDARD", "", 1600, 900, 60, "source | 720p60 1280x720 3400 copy | " + standardLow},
		{"STANDARD", "", 1920, 1080, 30, "source | 720p30 1280x720 2400 copy | " + standardLow},
		{"STANDARD", "", 1920, 1080, 29.97, "source | 720p30 1280x720 2400 copy | " + standardLow},
		{"STANDARD", "", 1600, 900, 25, "source | 720p30 1280x720 2400 copy | " + standardLow},
		{"STANDARD", "", 1280, 720, 60, "720p60 1280x720 3400 copy | " + standardLow},
		{"STANDARD", "", 1280, 720, 50, "720p60 1280x720 3400 copy | " + standardLow},
		{"STANDARD", "", 1280, 720, 30, "720p30 1280x720 2400 copy | " + standardLow},
		{"STANDARD", "", 1280, 720, 0, "720p30 1280x720 2400 copy | " + standardLow},
		{"STANDARD", "", 960, 540, 30, standardLow},
		{"STANDARD", "", 960, 540, 60, standardLow},
		{"STANDARD", "", 852, 480, 30, standardLow},
		{"STANDARD", "", 854, 480, 30, "480p30 854x480 1400 copy | 360p30 640x360 630 64 | 160p30 284x160 230 48"},
		{"STANDARD", "", 640, 360, 30, "360p30 640x360 630 64 | 160p30 284x160 230 48"},
		{"STANDARD", "", 712, 400, 30, "400p30 712x400 1400 copy | 360p30 640x360 630 64 | 160p30 284x160 230 48"},
		{"STANDARD", "", 320, 180, 30, "180p30 320x180 630 64 | 160p30 284x160 230 48"},
		{"STANDARD", "", 160, 120, 30, "120p30 160x120 230 48"},

		{"ADVANCED_HD", hbd, 1920, 1080, 60, "720p60 1280x720 3000 128 | " + advancedLow},
		{"ADVANCED_HD", cbd, 1920, 1080, 60, "720p60 1280x720 2200 128 | " + tightLow},
		{"ADVANCED_HD", hbd, 1280, 720, 60, "720p60 1280x720 3000 128 | " + advancedLow},
		{"ADVANCED_HD", hbd, 1920, 1080, 30, "720p30 1280x720 2300 128 | " + advancedLow},
		{"ADVANCED_HD", cbd, 1280, 720, 30, "720p30 1280x720 1900 128 | " + tightLow},
		{"ADVANCED_HD", hbd, 960, 540, 30, "540p30 960x540 2300 128 | " + advancedLow},
		{"ADVANCED_HD", cbd, 960, 540, 60, "540p30 960x540 1900 128 | " + tightLow},
		{"ADVANCED_HD", hbd, 852, 480, 60, advancedLow},
		{"ADVANCED_HD", cbd, 852, 480, 30, tightLow},
		{"ADVANCED_HD", hbd, 640, 360, 30, "360p30 640x360 700 64 | 160p30 284x160 270 48 | audio_only 64"},

		{"ADVANCED_SD", hbd, 1920, 1080, 60, advancedLow},
		{"ADVANCED_SD", cbd, 1920, 1080, 60, tightLow},
		{"ADVANCED_SD", hbd, 1280, 720, 30, advancedLow},
		{"ADVANCED_SD", "", 852, 480, 30, advancedLow},
		{"ADVANCED_SD", hbd, 712, 400, 30, "400p30 712x400 1300 128 | 360p30 640x360 700 64 | 160p30 284x160 270 48 | audio_only 64"},

		// Other shapes keep theirs, in even numbers.
		{"STANDARD", "", 1080, 1920, 30, "source | 720p30 720x1280 2400 copy | 480p30 480x852 1400 copy | 360p30 360x640 630 64 | 160p30 160x284 230 48"},
		{"STANDARD", "", 1440, 1080, 30, "source | 720p30 960x720 2400 copy | 480p30 640x480 1400 copy | 360p30 480x360 630 64 | 160p30 212x160 230 48"},
		{"STANDARD", "", 1920, 800, 30, "source | 720p30 1280x532 2400 copy | 480p30 852x354 1400 copy | 360p30 640x266 630 64 | 160p30 284x118 230 48"},
		{"STANDARD", "", 720, 720, 30, "720p30 720x720 2400 copy | 480p30 480x480 1400 copy | 360p30 360x360 630 64 | 160p30 160x160 230 48"},
		{"STANDARD", "", 641, 361, 30, "360p30 640x360 630 64 | 160p30 284x160 230 48"},
	} {
		t.Run(fmt.Sprintf("%s %s %dx%d at %g", tt.channel, tt.preset, tt.width, tt.height, tt.rate), func(t *testing.T) {
			in := Input{tt.width, tt.height, tt.rate, true}
			rungs := Rungs(tt.channel, tt.preset, in)
			if got := short(rungs); got != tt.want {
				t.Errorf("\n got %s\nwant %s", got, tt.want)
			}
			for _, r := range rungs {
				if r.Width > tt.width || r.Height > tt.height || r.Width%2 != 0 || r.Height%2 != 0 {
					t.Errorf("%s has %dx%d", r.Name, r.Width, r.Height)
				}
			}
			in.Audio = false
			for _, r := range Rungs(tt.channel, tt.preset, in) {
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
		if got := Cost(Rungs("STANDARD", "", tt.in), tt.in); math.Abs(got-tt.want) > 0.01 {
			t.Errorf("%+v costs %.3f, want %.2f", tt.in, got, tt.want)
		}
	}
	if got := Cost(Rungs("BASIC", "", Input{1920, 1080, 60, true}), Input{1920, 1080, 60, true}); got != 0 {
		t.Errorf("a channel that is not transcoded costs %g", got)
	}
}
