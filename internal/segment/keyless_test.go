package segment_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/media/mediatest"
	"github.com/millrace/millrace/internal/segment"
	"github.com/millrace/millrace/internal/segment/segmenttest"
)

// Where key frames are further apart than segments may be, segments begin with them and
// every two seconds after them: there encoded renditions have their own. Only the end of
// the first segment is elsewhere, of an encoder that does not say how rare they are.
func TestCutsWithoutKeyFrames(t *testing.T) {
	for _, tt := range []struct {
		name   string
		recipe mediatest.Source
		silent bool // nothing says how far apart key frames are
		target time.Duration
	}{
		{"2 s", mediatest.Source{GOP: 250, Seconds: 20}, false, 2 * time.Second},
		{"2 s, B-frames, NTSC", mediatest.Source{FrameRate: "30000/1001", GOP: 200, BFrames: 2, Seconds: 20}, false, 2 * time.Second},
		{"3 s", mediatest.Source{FrameRate: "25", GOP: 250, Seconds: 20}, false, 3 * time.Second},
		{"4 s", mediatest.Source{FrameRate: "60", GOP: 600, Seconds: 20}, false, 4 * time.Second},
		{"an encoder that says nothing", mediatest.Source{GOP: 250, Seconds: 20}, true, 2 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			frames := mediatest.Shift(tt.recipe.Frames(t), time.Second)
			var keys []time.Duration
			for i, f := range frames {
				if !f.Track.IsVideo() || !f.Key {
					continue
				}
				keys = append(keys, f.DTS)
				if tt.silent {
					frames[i].Data = bytes.ReplaceAll(f.Data, []byte(" keyint="), []byte(" noting="))
				}
			}
			s := &hls.Stream{LowLatency: true, TargetDuration: tt.target}
			p := segmenttest.NewPlayer(t, s)
			p.Play(frames)
			p.Close()
			p.Report(t, "")
			elsewhere := 0
			at := keys[0]
			for _, g := range p.Listed() {
				last := keys[0]
				for _, k := range keys {
					if k <= at+time.Millisecond {
						last = k
					}
				}
				if off := (at - last + 3*time.Millisecond) % segment.KeyInterval; off > time.Second/24 {
					elsewhere++
					t.Logf("%s begins %v after a key frame", g.Name, at-last)
				}
				at += g.Duration
			}
			if elsewhere > 0 && !tt.silent || elsewhere > 1 {
				t.Errorf("%d segments begin where renditions have no key frames", elsewhere)
			}
		})
	}
}

// A key frame that comes a little late is waited for, by which a segment is a little
// longer than its target.
func TestLateKeyFramesAreAwaited(t *testing.T) {
	frames := mediatest.Source{GOP: 66, Seconds: 20}.Frames(t)
	p := segmenttest.NewPlayer(t, &hls.Stream{LowLatency: true, TargetDuration: 2 * time.Second})
	p.Play(frames)
	p.Close()
	p.Report(t, "")
	if got := p.Source.Rendition().Stats(); got.Forced > 0 {
		t.Errorf("%d of %d segments are cut without a key frame, 2.2 s after the last", got.Forced, got.Segments)
	}
}
