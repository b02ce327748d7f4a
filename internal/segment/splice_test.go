package segment_test

import (
	"testing"
	"time"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/media/mediatest"
	"github.com/millrace/millrace/internal/segment/segmenttest"
)

// Another encoder of the same kind of video goes on without a discontinuity,
// also with other parameter sets and after a pause, and decoders follow;
// another kind of video has one.
func TestSplice(t *testing.T) {
	first := mediatest.Source{Seconds: 5}
	for _, tt := range []struct {
		name          string
		next          mediatest.Source
		pause         time.Duration
		discontinuity bool
	}{
		{"same parameter sets", mediatest.Source{Seconds: 6}, 33 * time.Millisecond, false},
		{"other parameter sets", mediatest.Source{BFrames: 2, Seconds: 6}, 33 * time.Millisecond, false},
		{"other parameter sets after a pause", mediatest.Source{BFrames: 2, Seconds: 6}, 2 * time.Second, false},
		{"same parameter sets after a pause", mediatest.Source{Seconds: 6}, 2 * time.Second, false},
		{"other size", mediatest.Source{Size: "320x180", Seconds: 6}, 33 * time.Millisecond, true},
	} {
		for _, c := range []hls.Container{hls.TS, hls.FMP4} {
			t.Run(tt.name, func(t *testing.T) {
				p := segmenttest.NewPlayer(t, &hls.Stream{Container: c, LowLatency: true})
				one := first.Frames(t)
				one = one[:len(one)*9/10] // in the middle of a group of pictures
				p.Play(one)
				p.Source.Splice()
				p.Play(mediatest.Shift(tt.next.Frames(t), one[len(one)-1].DTS+tt.pause))
				p.Close()
				p.Report(t, "part-sum segment-times") // the pause is in a segment and in no part
				if got := p.Lists("#EXT-X-DISCONTINUITY\n"); got != tt.discontinuity {
					t.Errorf("container %d: discontinuity %v", c, got)
				}
				want := 4.5 + tt.pause.Seconds() + 6
				if got := p.ListedSeconds(); got < want-0.5 || got > want+0.5 {
					t.Errorf("container %d: %.2f s are listed of %.2f", c, got, want)
				}
			})
		}
	}
}
