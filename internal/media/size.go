package media

import "math"

// Lines returns the lines of the smallest 16:9 frame, landscape or portrait, that holds
// video of that size: 1080 for 1920x800 and for 1080x1920. Renditions are named and
// selected by it.
func Lines(width, height int) int {
	long, short := max(width, height), min(width, height)
	if Is16to9(width, height) {
		return short
	}
	return max(short, int(math.Round(float64(long)*9/16)))
}

// Is16to9 reports whether video has that aspect ratio, landscape or portrait, even if its
// size was rounded, as in 852x480.
func Is16to9(width, height int) bool {
	ratio := float64(max(width, height)) / float64(max(1, min(width, height)))
	return math.Abs(ratio*9/16-1) < 0.01
}
