package record_test

import (
	"testing"
	"time"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/media/mediatest"
	"github.com/millrace/millrace/internal/segment"
)

// Each rendition of a merged recording has every stream at the same time and behind as
// many discontinuities as the source, with gaps where the stream did not have the
// rendition, or had it late, or not to its end.
func TestMergeRenditions(t *testing.T) {
	t.Parallel()
	video := map[string][]media.Frame{}
	for _, size := range []string{"128x72", "96x54", "64x36"} {
		video[size] = mediatest.Repeat(mediatest.Source{Seconds: 4, Size: size}.Frames(t), 4*time.Second, 3)
	}
	for _, container := range []string{ivs.ContainerTS, ivs.ContainerFMP4} {
		w := newWorld(t, container, func(c *ivs.RecordingConfiguration) { c.ReconnectWindowSeconds = 2 })
		n := 0
		for _, renditions := range [][]struct {
			size     string
			from, to int // seconds
		}{
			{{"128x72", 0, 12}},
			{{"96x54", 4, 8}, {"64x36", 0, 4}},
			{{"128x72", 0, 12}, {"96x54", 0, 12}},
		} {
			source := numbered(t, 12, &n)
			b := w.goLive(testIngest)
			followers := make([]*segment.Follower, len(renditions))
			for j, r := range renditions {
				followers[j] = segment.NewFollower(b.stream.AddRendition(r.size, hls.Listing{Label: r.size}), b.source, false)
			}
			for second := range 12 {
				for _, f := range within(source, second) {
					w.must(b.source.WriteFrame(f))
				}
				for j, r := range renditions {
					if second < r.from || second >= r.to {
						continue
					}
					for _, f := range within(video[r.size], second) {
						w.must(followers[j].WriteFrame(f))
					}
				}
			}
			w.must(b.source.Close())
			for _, f := range followers {
				w.must(f.Close())
			}
			b.finish()
		}
		r := w.ended()
		starts := func(track string) (starts []time.Duration) {
			entries, _ := w.playlist(r, "media/hls/"+track+"/playlist.m3u8")
			length := time.Duration(0)
			for _, e := range entries {
				if e.discontinuity {
					starts = append(starts, length)
				}
				length += e.duration
			}
			return append(starts, length)
		}
		want := starts("90p30")
		if len(want) != 3 {
			t.Errorf("the streams of the source begin and end at %v", want)
		}
		for _, v := range r.Renditions {
			w.check(r, v.Path, true)
			got := starts(v.Path)
			if len(got) != len(want) {
				t.Errorf("the streams of %s begin and end at %v, those of the source at %v", v.Path, got, want)
				continue
			}
			for i := range want {
				if (got[i] - want[i]).Abs() > time.Second {
					t.Errorf("the streams of %s begin and end at %v, those of the source at %v", v.Path, got, want)
				}
			}
		}
		if len(r.Renditions) != 4 {
			t.Errorf("renditions: %+v", r.Renditions)
		}
		w.stop()
	}
}
