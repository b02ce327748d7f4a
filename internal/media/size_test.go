package media

import "testing"

func TestLines(t *testing.T) {
	for _, tt := range []struct {
		width, height, lines int
		is16to9              bool
	}{
		{1920, 1080, 1080, true},
		{1080, 1920, 1080, true},
		{1936, 1080, 1080, true}, // rounded up to whole macroblocks
		{852, 480, 480, true},
		{854, 480, 480, true},
		{284, 160, 160, true},
		{1920, 800, 1080, false},
		{800, 1920, 1080, false},
		{960, 720, 720, false},
		{720, 960, 720, false},
		{1214, 500, 683, false},
		{1, 0, 1, false},
		{0, 0, 0, false},
	} {
		if got := Lines(tt.width, tt.height); got != tt.lines {
			t.Errorf("%dx%d has %d lines, want %d", tt.width, tt.height, got, tt.lines)
		}
		if got := Is16to9(tt.width, tt.height); got != tt.is16to9 {
			t.Errorf("%dx%d is 16:9: %v, want %v", tt.width, tt.height, got, tt.is16to9)
		}
	}
}
