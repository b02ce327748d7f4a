package segment_test

import (
	"slices"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/media/mediatest"
	"github.com/millrace/millrace/internal/segment/segmenttest"
)

// Another encoder of the same kind of video continues without a discontinuity,
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
				one = one[:len(one)*9/10] // in the middle of a GOP
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

// Where the video changes its size, the audio continues without a hole: what came
// ahead of the key frame is played behind the discontinuity.
func TestAudioGoesOn(t *testing.T) {
	const change = 6 * time.Second // the third group of frames has ended when it was expected to
	small, large := mediatest.Source{Seconds: 8}.Frames(t), mediatest.Source{Size: "320x180", NoAudio: true, Seconds: 8}.Frames(t)
	frames := mediatest.Keep(small, func(f media.Frame) bool { return !f.Track.IsVideo() || f.DTS < change })
	frames = append(frames, mediatest.Keep(large, func(f media.Frame) bool { return f.DTS >= change })...)
	slices.SortStableFunc(frames, func(a, b media.Frame) int { return int(a.DTS - b.DTS) })
	for container, extension := range map[hls.Container]string{hls.TS: "ts", hls.FMP4: "mp4"} {
		t.Run(extension, func(t *testing.T) {
			p := segmenttest.NewPlayer(t, &hls.Stream{Container: container, LowLatency: true})
			p.Play(frames)
			p.Close()
			p.Report(t, "")
			if !p.Lists("#EXT-X-DISCONTINUITY\n") {
				t.Error("there is no discontinuity")
			}
			last, count := 0.0, 0
			for _, g := range p.Listed() {
				for _, at := range mediatest.AudioTimes(t, extension, slices.Concat(p.Body(g.Init), p.Body(g.Name))) {
					if d := at - last; last > 0 && (d < 0.015 || d > 0.028) { // a frame lasts 21.3 ms
						t.Errorf("%s: audio at %.3f s comes %.1f ms after the frame before it", g.Name, at, 1000*d)
					}
					last, count = at, count+1
				}
			}
			if count < 370 {
				t.Errorf("%d frames of audio in 8 s", count)
			}
		})
	}
}
