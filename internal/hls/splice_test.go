package hls_test

import (
	"testing"
	"time"

	"github.com/millrace/millrace/internal/hls"
)

// Another encoder of the same kind of pictures goes on without a discontinuity,
// also with other parameter sets and after a pause, and decoders follow;
// another kind of pictures has one.
func TestSplice(t *testing.T) {
	first := recipe{fps: "30", gop: 60, seconds: 5}
	for _, tt := range []struct {
		name          string
		next          recipe
		pause         time.Duration
		discontinuity bool
	}{
		{"same parameter sets", recipe{fps: "30", gop: 60, seconds: 6}, 33 * time.Millisecond, false},
		{"other parameter sets", recipe{fps: "30", gop: 60, bframes: 2, seconds: 6}, 33 * time.Millisecond, false},
		{"other parameter sets after a pause", recipe{fps: "30", gop: 60, bframes: 2, seconds: 6}, 2 * time.Second, false},
		{"same parameter sets after a pause", recipe{fps: "30", gop: 60, seconds: 6}, 2 * time.Second, false},
		{"other size", recipe{fps: "30", gop: 60, size: "320x180", seconds: 6}, 33 * time.Millisecond, true},
	} {
		for _, c := range []hls.Container{hls.TS, hls.FMP4} {
			t.Run(tt.name, func(t *testing.T) {
				p := newPlayer(t, &hls.Stream{Container: c, LowLatency: true})
				one := tape(t, first)
				one = one[:len(one)*9/10] // in the middle of a group of pictures
				p.play(one)
				p.source.Splice()
				p.play(shift(tape(t, tt.next), one[len(one)-1].DTS+tt.pause))
				p.close()
				p.check("part-sum") // the pause is in the segment and in no part
				if got := p.lists("#EXT-X-DISCONTINUITY\n"); got != tt.discontinuity {
					t.Errorf("container %d: discontinuity %v", c, got)
				}
				want := 4.5 + tt.pause.Seconds() + 6
				if got := p.listedSeconds(); got < want-0.5 || got > want+0.5 {
					t.Errorf("container %d: %.2f s are listed of %.2f", c, got, want)
				}
			})
		}
	}
}
