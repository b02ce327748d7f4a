package live

import (
	"testing"
	"time"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/media"
)

// By default the limits are those of IVS.
func TestDefaultLimits(t *testing.T) {
	var l Limits
	for _, tt := range []struct {
		width, height, breaches int
		basic, standard         int
	}{
		{852, 480, 0, 1_500_000, 8_500_000},
		{480, 852, 0, 1_500_000, 8_500_000},
		{854, 481, 0, 3_500_000, 8_500_000},
		{1920, 1080, 0, 3_500_000, 8_500_000},
		{1080, 1920, 0, 3_500_000, 8_500_000},
		{1922, 800, 1, 3_500_000, 8_500_000},
		{1500, 1500, 1, 3_500_000, 8_500_000},
		{2560, 1440, 2, 3_500_000, 8_500_000},
	} {
		v := &media.VideoConfig{Width: tt.width, Height: tt.height}
		if n := len(l.resolution(tt.width, tt.height, time.Now())); n != tt.breaches {
			t.Errorf("%dx%d: %d breaches, want %d", tt.width, tt.height, n, tt.breaches)
		}
		if b, s := l.bitrate(ivs.TypeBasic, v), l.bitrate(ivs.TypeStandard, v); b != tt.basic || s != tt.standard {
			t.Errorf("%dx%d: %d and %d bit/s, want %d and %d", tt.width, tt.height, b, s, tt.basic, tt.standard)
		}
	}
	if l.streams() != 100 || l.views() != 15_000 || l.takeovers() != 100 || l.duration() != 48*time.Hour {
		t.Errorf("%d streams, %d views, %d takeovers, %v", l.streams(), l.views(), l.takeovers(), l.duration())
	}
}
