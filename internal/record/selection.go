package record

import (
	"slices"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/media"
)

// A rendition has what selection needs to know of one.
type rendition struct {
	width, height int  // pixels; 0 for one without video
	fallback      bool // viewers get it only while there is no other
}

// lines is the number that decides the class of a resolution.
func (r rendition) lines() int {
	if r.height == 0 {
		return 0
	}
	return media.Lines(r.width, r.height)
}

// class is the class of resolutions that lines belong to, "" for more than
// FULL_HD and for no video.
func class(lines int) string {
	switch {
	case lines == 0 || lines > 1080:
		return ""
	case lines > 720:
		return ivs.ResolutionFullHD
	case lines > 480:
		return ivs.ResolutionHD
	case lines > 360:
		return ivs.ResolutionSD
	}
	return ivs.ResolutionLowest
}

// selected returns which of the renditions that a stream has now a
// configuration asks to record. complete says that no more are expected: then a
// CUSTOM selection that nothing matches falls back to the best one with video,
// and a fallback rendition counts where there is no other.
func selected(c ivs.RenditionConfiguration, channelType string, all []rendition, complete bool) []bool {
	pick := make([]bool, len(all))
	switch c.RenditionSelection {
	case ivs.RenditionsNone:
		return pick
	case ivs.RenditionsCustom:
		if channelType != ivs.TypeBasic { // on BASIC it has no effect
			for i, r := range all {
				pick[i] = !r.fallback && slices.Contains(c.Renditions, class(r.lines()))
			}
			break
		}
		fallthrough
	default:
		for i, r := range all {
			pick[i] = !r.fallback
		}
	}
	hasVideo := func(i int) bool { return pick[i] && all[i].height > 0 }
	for i := range all {
		if hasVideo(i) {
			return pick
		}
	}
	if complete {
		if best := best(all); best >= 0 {
			pick[best] = true
		}
	}
	return pick
}

// best is the index of the rendition with the most lines, -1 if none has video.
// One that viewers do not get is the last choice.
func best(all []rendition) int {
	at, lines, fallback := -1, 0, true
	for i, r := range all {
		if n := r.lines(); n > 0 && (at < 0 || fallback && !r.fallback || fallback == r.fallback && n > lines) {
			at, lines, fallback = i, n, r.fallback
		}
	}
	return at
}

// thumbnailLines is how many lines the thumbnails of a configuration have,
// given those of the source; a class that the source does not reach gives the
// source's own.
func thumbnailLines(resolution string, source int) int {
	if resolution == ivs.ResolutionLowest {
		return min(160, source)
	}
	if most := ivs.MaxLines(resolution); most > 0 {
		return min(most, source)
	}
	return source
}
