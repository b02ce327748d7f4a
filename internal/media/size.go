package media

import "math"

// Lines are those of the smallest 16:9 frame, upright or lying, that holds a
// video of that size: 1080 for 1920x800 as for 1080x1920. Renditions are named
// and chosen by it.
func Lines(width, height int) int {
	long, short := max(width, height), min(width, height)
	if Is16to9(width, height) {
		return short
	}
	return max(short, int(math.Round(float64(long)*9/16)))
}

// Is16to9 reports whether video has that shape, upright or lying, also where its size
// was rounded, as 852x480 is.
func Is16to9(width, height int) bool {
	ratio := float64(max(width, height)) / float64(max(1, min(width, height)))
	return math.Abs(ratio*9/16-1) < 0.01
}
