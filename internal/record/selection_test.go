package record

import (
	"slices"
	"testing"

	"github.com/millrace/millrace/internal/ivs"
)

func TestSelected(t *testing.T) {
	var (
		source   = rendition{width: 1920, height: 1080}
		hd       = rendition{width: 1280, height: 720}
		sd       = rendition{width: 852, height: 480}
		low      = rendition{width: 640, height: 360}
		lowest   = rendition{width: 284, height: 160}
		audio    = rendition{}
		fallback = rendition{width: 1280, height: 720, fallback: true}
		upright  = rendition{width: 720, height: 1280}
		ladder   = []rendition{source, hd, sd, low, lowest}
		advanced = []rendition{fallback, hd, sd, low, lowest, audio}
	)
	custom := func(classes ...string) ivs.RenditionConfiguration {
		return ivs.RenditionConfiguration{RenditionSelection: ivs.RenditionsCustom, Renditions: classes}
	}
	all := ivs.RenditionConfiguration{RenditionSelection: ivs.RenditionsAll}
	for _, tt := range []struct {
		name        string
		config      ivs.RenditionConfiguration
		channelType string
		have        []rendition
		complete    bool
		want        []int
	}{
		{"all", all, ivs.TypeStandard, ladder, false, []int{0, 1, 2, 3, 4}},
		{"all, but what viewers do not get", all, ivs.TypeAdvancedHD, advanced, false, []int{1, 2, 3, 4, 5}},
		{"the source as long as there is nothing else", all, ivs.TypeStandard, []rendition{fallback}, true, []int{0}},
		{"not yet", all, ivs.TypeStandard, []rendition{fallback}, false, nil},
		{"none", ivs.RenditionConfiguration{RenditionSelection: ivs.RenditionsNone}, ivs.TypeStandard, ladder, true, nil},
		{"full HD", custom(ivs.ResolutionFullHD), ivs.TypeStandard, ladder, false, []int{0}},
		{"HD and the lowest", custom(ivs.ResolutionHD, ivs.ResolutionLowest), ivs.TypeStandard, ladder, false, []int{1, 3, 4}},
		{"SD", custom(ivs.ResolutionSD), ivs.TypeStandard, ladder, false, []int{2}},
		{"no such class yet", custom(ivs.ResolutionFullHD), ivs.TypeStandard, ladder[1:], false, nil},
		{"no such class: the best", custom(ivs.ResolutionFullHD), ivs.TypeStandard, ladder[1:], true, []int{0}},
		{"the best that viewers get", custom(ivs.ResolutionFullHD), ivs.TypeAdvancedHD, advanced, true, []int{1}},
		{"upright", custom(ivs.ResolutionHD), ivs.TypeStandard, []rendition{upright, low}, false, []int{0}},
		{"no class has audio alone", custom(ivs.ResolutionLowest), ivs.TypeAdvancedHD, []rendition{audio, lowest}, false, []int{1}},
		{"BASIC has one", custom(ivs.ResolutionSD), ivs.TypeBasic, []rendition{source}, false, []int{0}},
	} {
		var got []int
		for i, pick := range selected(tt.config, tt.channelType, tt.have, tt.complete) {
			if pick {
				got = append(got, i)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestClass(t *testing.T) {
	for lines, want := range map[int]string{0: "", 160: ivs.ResolutionLowest, 360: ivs.ResolutionLowest, 361: ivs.ResolutionSD, 480: ivs.ResolutionSD,
		481: ivs.ResolutionHD, 720: ivs.ResolutionHD, 721: ivs.ResolutionFullHD, 1080: ivs.ResolutionFullHD, 1440: ""} {
		if got := class(lines); got != want {
			t.Errorf("class(%d) = %q, want %q", lines, got, want)
		}
	}
}

func TestThumbnailSize(t *testing.T) {
	for _, tt := range []struct {
		resolution            string
		width, height         int
		wantWidth, wantHeight int
	}{
		{"", 1920, 1080, 1920, 1080},
		{ivs.ResolutionFullHD, 1920, 1080, 1920, 1080},
		{ivs.ResolutionHD, 1920, 1080, 1280, 720},
		{ivs.ResolutionSD, 1920, 1080, 852, 480},
		{ivs.ResolutionLowest, 1920, 1080, 284, 160},
		{ivs.ResolutionFullHD, 640, 360, 640, 360}, // the source has no more
		{ivs.ResolutionHD, 1080, 1920, 720, 1280},
	} {
		lines := thumbnailLines(tt.resolution, min(tt.width, tt.height))
		if w, h := scaled(tt.width, tt.height, lines); w != tt.wantWidth || h != tt.wantHeight {
			t.Errorf("%q of %dx%d is %dx%d, want %dx%d", tt.resolution, tt.width, tt.height, w, h, tt.wantWidth, tt.wantHeight)
		}
	}
}
