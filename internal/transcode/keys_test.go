package transcode

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/media/mediatest"
	"github.com/millrace/millrace/internal/segment"
)

// Each segment of each rendition begins with a key frame, at whatever distance those of
// the source are, and if there is none after the first.
func TestSegmentsBeginWithKeyFrames(t *testing.T) {
	if testing.Short() {
		t.Skip("ffmpeg takes its time")
	}
	for _, tt := range []struct {
		name   string
		recipe mediatest.Source
		rate   float64
		keys   int // in the source
	}{
		{"intra refresh at 60", mediatest.Source{FrameRate: "60", GOP: 120, X264: ":intra-refresh=1"}, 60, 1},
		{"open GOP", mediatest.Source{FrameRate: "25", GOP: 33, BFrames: 3, X264: ":open-gop=1"}, 25, 1},
		{"key frames every 6.7 s", mediatest.Source{FrameRate: "30000/1001", GOP: 200, BFrames: 2}, 30000. / 1001, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.recipe.Seconds = 9
			frames := mediatest.Shift(tt.recipe.Frames(t), time.Second)
			if _, keys := times(frames); len(keys) != tt.keys {
				t.Fatalf("the source has key frames at %v", keys)
			}
			s := &hls.Stream{LowLatency: true, TargetDuration: 2 * time.Second}
			defer s.Release()
			source := segment.NewLeader(s.AddRendition("source", hls.Listing{}))
			j, _ := job(t, Standard, Input{160, 90, tt.rate, true})
			var followers []*segment.Follower
			for i, r := range j.Rungs {
				f := segment.NewFollower(s.AddRendition(r.Name, hls.Listing{}), source, false)
				followers = append(followers, f)
				j.Outputs[i] = f
			}
			for _, f := range frames {
				if err := source.WriteFrame(f); err != nil {
					t.Fatal(err)
				}
			}
			if err := j.Run(t.Context(), newTape(frames)); err != nil {
				t.Fatal(err)
			}
			for i, f := range followers {
				if err := f.Close(); err != nil {
					t.Fatal(err)
				}
				checkSegments(t, j.Rungs[i].Name, f.Rendition().Follow(0))
			}
		})
	}
}

func checkSegments(t *testing.T, name string, r *hls.Reader) {
	t.Helper()
	for n := int64(0); ; n++ {
		g, missed, err := r.Next(t.Context())
		if errors.Is(err, io.EOF) && missed == 0 {
			if n < 4 {
				t.Errorf("%s has %d segments in 9 s", name, n)
			}
			return
		}
		if err != nil || missed > 0 {
			t.Fatalf("%s: %d segments are missing, error %v", name, missed, err)
		}
		if !g.Independent || g.Gap || g.Number != n {
			t.Errorf("%s: segment %d, number %d: key frame %v, gap %v", name, n, g.Number, g.Independent, g.Gap)
		}
		g.Close()
	}
}
