package segment_test

import (
	"testing"
	"time"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/media/mediatest"
	"github.com/millrace/millrace/internal/segment/segmenttest"
)

func TestStreams(t *testing.T) {
	tests := []struct {
		name     string
		recipe   mediatest.Source
		segments int64 // complete ones, at the end
		forced   int64
	}{
		{"2 s groups", mediatest.Source{Seconds: 20}, 10, 0},
		{"1 s groups", mediatest.Source{GOP: 30, Seconds: 20}, 20, 0},
		{"half second groups", mediatest.Source{GOP: 15, Seconds: 10}, 10, 0},
		{"B-frames", mediatest.Source{BFrames: 3, Seconds: 20}, 10, 0},
		{"24 fps", mediatest.Source{FrameRate: "24", GOP: 48, Seconds: 10}, 5, 0},
		{"25 fps", mediatest.Source{FrameRate: "25", GOP: 50, BFrames: 2, Seconds: 10}, 5, 0},
		{"29.97 fps", mediatest.Source{FrameRate: "30000/1001", Seconds: 10}, 5, 0},
		{"50 fps", mediatest.Source{FrameRate: "50", GOP: 100, Seconds: 10}, 5, 0},
		{"60 fps", mediatest.Source{FrameRate: "60", GOP: 120, BFrames: 2, Seconds: 10}, 5, 0},
		{"12 fps", mediatest.Source{FrameRate: "12", GOP: 24, Seconds: 10}, 5, 0},
		{"5 fps", mediatest.Source{FrameRate: "5", GOP: 10, Seconds: 10}, 5, 0},
		{"silent", mediatest.Source{NoAudio: true, Seconds: 10}, 5, 0},
		{"44.1 kHz", mediatest.Source{SampleRate: 44100, Seconds: 20}, 10, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			segmenttest.Kinds(t, func(t *testing.T, s *hls.Stream) {
				p := segmenttest.NewPlayer(t, s)
				frames := tt.recipe.Frames(t)
				p.Play(frames)
				p.Close()
				p.Report(t, "")
				if got := p.Source.Rendition().Stats(); got.Segments != tt.segments || got.Forced != tt.forced {
					t.Errorf("stats = %+v, want %d segments, %d of them forced", got, tt.segments, tt.forced)
				}
				if got := p.Source.Counters(); got.Holes != 0 || got.Dropped > 4 {
					t.Errorf("stats = %+v, want no holes", got)
				}
				count := 0
				for _, f := range frames {
					if f.Track.IsVideo() {
						count++
					}
				}
				if !s.LowLatency || testing.Short() {
					return // the same frames; decoding takes most of the test's time
				}
				p.Decode(count)
			})
		})
	}
}

func TestDiscontinuity(t *testing.T) {
	segmenttest.Kinds(t, func(t *testing.T, s *hls.Stream) {
		p := segmenttest.NewPlayer(t, s)
		frames := mediatest.Source{NoAudio: true, Seconds: 10}.Frames(t)
		p.Play(frames[:100])
		if err := p.Source.Discontinuity(); err != nil {
			t.Fatal(err)
		}
		p.Play(mediatest.Shift(frames[100:], time.Minute)) // continues at the key frame 120
		p.Play(mediatest.Repeat(mediatest.Shift(frames, 70*time.Second), 10*time.Second, 6))
		p.Close()
		p.Report(t, "")
		if !p.Lists("#EXT-X-DISCONTINUITY\n") || !p.Lists("#EXT-X-DISCONTINUITY-SEQUENCE:1\n") {
			t.Error("no discontinuity was listed and left")
		}
		if got := p.Source.Counters().Dropped; got != 20 {
			t.Errorf("%d frames dropped, want 20", got)
		}
		if err := p.Source.Discontinuity(); err != hls.ErrClosed {
			t.Errorf("Discontinuity after Close: %v", err)
		}
	})
}

// Many changes over a long time: numbers of discontinuities stay right when
// they leave the window.
func TestManyChanges(t *testing.T) {
	one := mediatest.Source{Seconds: 6}.Frames(t)
	other := mediatest.Source{FrameRate: "25", GOP: 50, Size: "320x180", SampleRate: 44100, Seconds: 6}.Frames(t)
	segmenttest.Kinds(t, func(t *testing.T, s *hls.Stream) {
		p := segmenttest.NewPlayer(t, s)
		for i := range 10 {
			p.Play(mediatest.Shift([][]media.Frame{one, other}[i%2], time.Duration(i)*6*time.Second))
		}
		p.Close()
		p.Report(t, "")
		if s.Container == hls.FMP4 && p.Get(t.Context(), "init-9.mp4").Code != 200 {
			t.Error("the tenth init segment is missing")
		}
	})
}

// A stream begins with the first key frame that a player can use, and until then it has
// nothing, however long its audio goes on: viewers are let in with its first part.
func TestBeginsWithKeyFrame(t *testing.T) {
	const begins = 10 * time.Second
	for _, tt := range []struct {
		name  string
		early func(f media.Frame) (media.Frame, bool) // what there is of a frame of video before the first key frame
	}{
		{"audio alone before it", func(f media.Frame) (media.Frame, bool) { return f, false }},
		{"frames that refer to others before it", func(f media.Frame) (media.Frame, bool) { return f, !f.Key }},
		{"damaged key frames before it", func(f media.Frame) (media.Frame, bool) { f.Data = f.Data[:len(f.Data)-1]; return f, f.Key }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var before, after []media.Frame
			for _, f := range steady.Frames(t) {
				switch early, ok := tt.early(f); {
				case f.DTS >= begins:
					after = append(after, f)
				case !f.Track.IsVideo():
					before = append(before, f)
				case ok:
					before = append(before, early)
				}
			}
			segmenttest.Kinds(t, func(t *testing.T, s *hls.Stream) {
				p := segmenttest.NewPlayer(t, s)
				p.Play(before)
				if got := p.Source.Rendition().Stats(); got.Parts > 0 || p.Source.Counters().Dropped != int64(len(before)) {
					t.Errorf("before the key frame there are %+v, and %d of %d frames were dropped", got, p.Source.Counters().Dropped, len(before))
				}
				p.Play(after)
				p.Close()
				p.Report(t, "")
				if got := p.ListedSeconds(); got < 9.5 || got > 10.5 || p.Lists("#EXT-X-DISCONTINUITY\n") {
					t.Errorf("%g s are listed of 10, with a discontinuity: %t", got, p.Lists("#EXT-X-DISCONTINUITY\n"))
				}
			})
		})
	}
}
