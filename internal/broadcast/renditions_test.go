package broadcast_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/broadcast"
	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/media/mediatest"
)

// passThrough is the smallest of broadcast.Renditions: it shows once more what the
// encoder sends.
type passThrough struct {
	frames int // after which it gives up; 0 for never
}

var errGivenUp = errors.New("given up")

func (p passThrough) Run(ctx context.Context, source *media.Ring, out *broadcast.Outputs) error {
	to := out.Set([]broadcast.Output{{Label: "copy"}}, true)[0]
	in := source.Cursor(false)
	defer context.AfterFunc(ctx, in.Close)()
	for n := 1; ; n++ {
		f, err := in.ReadFrame()
		if err != nil { // the end of the source, or ctx is done
			return nil
		}
		if err := to.WriteFrame(f); err != nil {
			return err
		}
		if n == p.frames {
			return errGivenUp
		}
	}
}

// Renditions that are not the ladder's have segments of the same numbers, dates and
// durations as the source. Viewers come once they play. Where they are given up, the
// source continues alone.
func TestOtherRenditions(t *testing.T) {
	frames := arrivals(t, mediatest.Source{Seconds: 20})
	for name, tt := range map[string]struct {
		makes passThrough
		end   error
		names []string // of the renditions in the end
	}{
		"until the end": {passThrough{}, nil, []string{"source", "copy"}},
		"given up":      {passThrough{frames: 300}, errGivenUp, []string{"source"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stream := &hls.Stream{LowLatency: true}
				defer stream.Release()
				b := broadcast.New(stream, nil)
				b.Renditions = tt.makes
				made := make(chan error, 1)
				go func() { made <- b.MakeRenditions(t.Context()) }()
				synctest.Wait() // it has said which renditions there will be
				ready := false
				for _, a := range frames {
					if err := b.WriteFrame(a.frame, nil, noon.Add(a.at)); err != nil {
						t.Fatalf("frame at %v: %v", a.at, err)
					}
					if !ready && b.Ready(noon.Add(a.at)) {
						if ready = true; len(playing(stream)) < 2 || a.at > 3*time.Second {
							t.Errorf("viewers may come after %v, when %v play", a.at, playing(stream))
						}
					}
					synctest.Wait()
				}
				if !ready {
					t.Error("viewers may not come")
				}
				b.CloseSource()
				if err := <-made; err != tt.end {
					t.Errorf("MakeRenditions = %v, want %v", err, tt.end)
				}
				b.Close()
				if diff := cmp.Diff(tt.names, playing(stream)); diff != "" {
					t.Errorf("renditions that play (-want +got):\n%s", diff)
				}
				list, _ := stream.Renditions()
				source := finished(t, list[0].Rendition)
				if len(source) < 8 {
					t.Errorf("the source has %d segments", len(source))
				}
				for _, other := range list[1:] {
					if diff := cmp.Diff(source, finished(t, other.Rendition)); diff != "" {
						t.Errorf("segments of %s (-source +got):\n%s", other.Rendition.Name(), diff)
					}
				}
			})
		})
	}
}

// playing are the names of the renditions that play.
func playing(s *hls.Stream) (names []string) {
	list, _ := s.Renditions()
	for _, v := range list {
		if v.Playing {
			names = append(names, v.Rendition.Name())
		}
	}
	return names
}

// A shown segment holds what must be the same in all renditions.
type shown struct {
	Number                          int64
	Date                            time.Time
	Duration                        time.Duration
	Discontinuity, Independent, Gap bool
}

// finished are the segments of a rendition that has ended.
func finished(t *testing.T, r *hls.Rendition) (all []shown) {
	t.Helper()
	for follow := r.Follow(0); ; {
		g, _, err := follow.Next(t.Context())
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, shown{g.Number, g.Date, g.Duration, g.Discontinuity, g.Independent, g.Gap})
		g.Close()
	}
}
