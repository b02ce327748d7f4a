package segment_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/media/mediatest"
	"github.com/millrace/millrace/internal/segment/segmenttest"
)

var (
	steady      = mediatest.Source{Seconds: 20}
	longGroups  = mediatest.Source{GOP: 360, Seconds: 24}
	slides      = mediatest.Source{GOP: 5, NoAudio: true, Seconds: 2}
	otherTracks = mediatest.Source{FrameRate: "25", GOP: 50, Size: "320x180", SampleRate: 44100, Seconds: 10}
)

// troubles are broadcasts as encoders should not send them.
var troubles = []struct {
	name          string
	frames        func(t *testing.T) []media.Frame
	seconds       float64
	discontinuity bool
	forced        bool
	ignored       string
}{
	{name: "12 s groups", seconds: 24, forced: true, frames: func(t *testing.T) []media.Frame { return longGroups.Frames(t) }},
	// A key frame that was expected and did not come leaves one short part.
	{name: "groups that become longer", seconds: 28, forced: true, ignored: "part-length", frames: func(t *testing.T) []media.Frame {
		return append(mediatest.Shift(mediatest.Source{NoAudio: true, Seconds: 4}.Frames(t), 0), mediatest.Shift(mediatest.Source{GOP: 360, NoAudio: true, Seconds: 24}.Frames(t), 4*time.Second)...)
	}},
	{name: "10 s hole", seconds: 20, discontinuity: true, frames: func(t *testing.T) []media.Frame {
		f := steady.Frames(t)
		return append(f[:len(f)/2:len(f)/2], mediatest.Shift(f[len(f)/2:], 10*time.Second)...)
	}},
	{name: "2 s hole without audio", seconds: 22, ignored: "segment-times part-sum stats", frames: func(t *testing.T) []media.Frame {
		f := mediatest.Source{NoAudio: true, Seconds: 20}.Frames(t)
		return append(f[:200:200], mediatest.Shift(f[200:], 2*time.Second)...)
	}},
	{name: "slide show", seconds: 60, ignored: "segment-times part-sum stats part-length", frames: func(t *testing.T) []media.Frame {
		var slow []media.Frame
		for i, f := range slides.Frames(t) {
			slow = append(slow, mediatest.Shift([]media.Frame{f}, time.Duration(i)*time.Second-f.DTS)...)
		}
		return slow
	}},
	{name: "a third of a second's hole", seconds: 20.3, ignored: "segment-times", frames: func(t *testing.T) []media.Frame {
		f := steady.Frames(t)
		return append(f[:len(f)/3:len(f)/3], mediatest.Shift(f[len(f)/3:], 300*time.Millisecond)...)
	}},
	{name: "hour's hole", seconds: 20, discontinuity: true, frames: func(t *testing.T) []media.Frame {
		f := steady.Frames(t)
		return append(f[:len(f)/2:len(f)/2], mediatest.Shift(f[len(f)/2:], time.Hour)...)
	}},
	{name: "late audio", seconds: 20, discontinuity: true, frames: func(t *testing.T) []media.Frame {
		return mediatest.Keep(steady.Frames(t), func(f media.Frame) bool { return f.Track.IsVideo() || f.DTS > 5*time.Second })
	}},
	{name: "audio that ends", seconds: 20, discontinuity: true, frames: func(t *testing.T) []media.Frame {
		return mediatest.Keep(steady.Frames(t), func(f media.Frame) bool { return f.Track.IsVideo() || f.DTS < 5*time.Second })
	}},
	{name: "video that stops for 3 s", seconds: 20, ignored: "stats segment-times part-sum", frames: func(t *testing.T) []media.Frame {
		return mediatest.Keep(steady.Frames(t), func(f media.Frame) bool {
			return !f.Track.IsVideo() || f.DTS < 5*time.Second || f.DTS > 8*time.Second
		})
	}},
	{name: "other parameters", seconds: 30, discontinuity: true, frames: func(t *testing.T) []media.Frame {
		return append(mediatest.Shift(steady.Frames(t), 0), mediatest.Shift(otherTracks.Frames(t), 20*time.Second)...)
	}},
	{name: "every tenth video frame lost", seconds: 20, frames: func(t *testing.T) []media.Frame {
		n := 0
		return mediatest.Keep(steady.Frames(t), func(f media.Frame) bool {
			if f.Track.IsVideo() {
				n++
			}
			return !f.Track.IsVideo() || f.Key || n%10 != 0
		})
	}},
	{name: "shaking clock", seconds: 20, ignored: "part-length", frames: func(t *testing.T) []media.Frame {
		f := mediatest.Shift(steady.Frames(t), 0)
		for i := range f {
			d := time.Duration(i*7919%13-6) * time.Millisecond
			f[i].DTS += d
			f[i].PTS += d
		}
		return f
	}},
	{name: "clock that stands and goes back", seconds: 20, ignored: "part-length segment-times", frames: func(t *testing.T) []media.Frame {
		f := mediatest.Shift(steady.Frames(t), 0)
		for i := range f {
			if i%50 > 45 {
				f[i].DTS -= 200 * time.Millisecond
			}
		}
		return f
	}},
}

func TestTroubledStreams(t *testing.T) {
	for _, tt := range troubles {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			segmenttest.Kinds(t, func(t *testing.T, s *hls.Stream) {
				p := segmenttest.NewPlayer(t, s)
				p.Play(tt.frames(t))
				p.Close()
				p.Report(t, tt.ignored)
				if got := p.ListedSeconds(); math.Abs(got-tt.seconds) > 1 {
					t.Errorf("segments add up to %g s, want %g", got, tt.seconds)
				}
				if got := p.Lists("#EXT-X-DISCONTINUITY\n"); got != tt.discontinuity {
					t.Errorf("discontinuity: %v, want %v", got, tt.discontinuity)
				}
				if st, holes := p.Source.Rendition().Stats(), p.Source.Counters().Holes; !strings.Contains(tt.ignored, "stats") && ((st.Forced > 0) != tt.forced || holes > 0) {
					t.Errorf("stats = %+v, %d holes; want forced %v, no holes", st, holes, tt.forced)
				}
			})
		})
	}
}
