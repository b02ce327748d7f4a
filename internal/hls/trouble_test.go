package hls_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/media"
)

// keep returns the frames that f accepts.
func keep(frames []media.Frame, f func(media.Frame) bool) (kept []media.Frame) {
	for _, x := range frames {
		if f(x) {
			kept = append(kept, x)
		}
	}
	return kept
}

// listedSeconds adds up EXTINF over all segments that were ever complete.
func (p *player) listedSeconds() (sum float64) {
	seen := map[string]bool{}
	for _, f := range p.history {
		lines := strings.Split(string(f.Body), "\n")
		for i, line := range lines {
			var d float64
			if n, _ := fmt.Sscanf(line, "#EXTINF:%f,", &d); n == 1 && !seen[lines[i+1]] {
				seen[lines[i+1]] = true
				sum += d
			}
		}
	}
	return sum
}

func (p *player) lists(text string) bool {
	for _, f := range p.history {
		if strings.Contains(string(f.Body), text) {
			return true
		}
	}
	return false
}

func TestTrouble(t *testing.T) {
	steady := recipe{fps: "30", gop: 60, seconds: 20}
	long := recipe{fps: "30", gop: 360, seconds: 24}
	other := recipe{fps: "25", gop: 50, size: "320x180", rate: 44100, seconds: 10}
	tests := []struct {
		name          string
		frames        func(t *testing.T) []media.Frame
		seconds       float64
		discontinuity bool
		forced        bool
		ignored       string
	}{
		{name: "12 s groups", seconds: 24, forced: true, frames: func(t *testing.T) []media.Frame { return tape(t, long) }},
		// A key frame that was expected and did not come leaves one short part.
		{name: "groups that become longer", seconds: 28, forced: true, ignored: "part-length", frames: func(t *testing.T) []media.Frame {
			return append(shift(tape(t, recipe{fps: "30", gop: 60, silent: true, seconds: 4}), 0), shift(tape(t, recipe{fps: "30", gop: 360, silent: true, seconds: 24}), 4*time.Second)...)
		}},
		{name: "10 s hole", seconds: 20, discontinuity: true, frames: func(t *testing.T) []media.Frame {
			f := tape(t, steady)
			return append(f[:len(f)/2:len(f)/2], shift(f[len(f)/2:], 10*time.Second)...)
		}},
		{name: "2 s hole without audio", seconds: 22, ignored: "segment-times part-sum stats", frames: func(t *testing.T) []media.Frame {
			f := tape(t, recipe{fps: "30", gop: 60, silent: true, seconds: 20})
			return append(f[:200:200], shift(f[200:], 2*time.Second)...)
		}},
		{name: "slide show", seconds: 60, ignored: "segment-times part-sum stats part-length", frames: func(t *testing.T) []media.Frame {
			var slow []media.Frame
			for i, f := range tape(t, recipe{fps: "30", gop: 5, silent: true, seconds: 2}) {
				slow = append(slow, shift([]media.Frame{f}, time.Duration(i)*time.Second-f.DTS)...)
			}
			return slow
		}},
		{name: "a third of a second's hole", seconds: 20.3, ignored: "segment-times", frames: func(t *testing.T) []media.Frame {
			f := tape(t, steady)
			return append(f[:len(f)/3:len(f)/3], shift(f[len(f)/3:], 300*time.Millisecond)...)
		}},
		{name: "hour's hole", seconds: 20, discontinuity: true, frames: func(t *testing.T) []media.Frame {
			f := tape(t, steady)
			return append(f[:len(f)/2:len(f)/2], shift(f[len(f)/2:], time.Hour)...)
		}},
		{name: "late audio", seconds: 20, discontinuity: true, frames: func(t *testing.T) []media.Frame {
			return keep(tape(t, steady), func(f media.Frame) bool { return f.Track.IsVideo() || f.DTS > 5*time.Second })
		}},
		{name: "audio that ends", seconds: 20, discontinuity: true, frames: func(t *testing.T) []media.Frame {
			return keep(tape(t, steady), func(f media.Frame) bool { return f.Track.IsVideo() || f.DTS < 5*time.Second })
		}},
		{name: "video that stops for 3 s", seconds: 20, ignored: "stats segment-times part-sum", frames: func(t *testing.T) []media.Frame {
			return keep(tape(t, steady), func(f media.Frame) bool {
				return !f.Track.IsVideo() || f.DTS < 5*time.Second || f.DTS > 8*time.Second
			})
		}},
		{name: "other parameters", seconds: 30, discontinuity: true, frames: func(t *testing.T) []media.Frame {
			return append(shift(tape(t, steady), 0), shift(tape(t, other), 20*time.Second)...)
		}},
		{name: "every tenth picture lost", seconds: 20, frames: func(t *testing.T) []media.Frame {
			n := 0
			return keep(tape(t, steady), func(f media.Frame) bool {
				if f.Track.IsVideo() {
					n++
				}
				return !f.Track.IsVideo() || f.Key || n%10 != 0
			})
		}},
		{name: "shaking clock", seconds: 20, ignored: "part-length", frames: func(t *testing.T) []media.Frame {
			f := shift(tape(t, steady), 0)
			for i := range f {
				d := time.Duration(i*7919%13-6) * time.Millisecond
				f[i].DTS += d
				f[i].PTS += d
			}
			return f
		}},
		{name: "clock that stands and goes back", seconds: 20, ignored: "part-length segment-times", frames: func(t *testing.T) []media.Frame {
			f := shift(tape(t, steady), 0)
			for i := range f {
				if i%50 > 45 {
					f[i].DTS -= 200 * time.Millisecond
				}
			}
			return f
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			kinds(t, func(t *testing.T, s *hls.Stream) {
				p := newPlayer(t, s)
				p.play(tt.frames(t))
				p.close()
				p.check(tt.ignored)
				if got := p.listedSeconds(); math.Abs(got-tt.seconds) > 1 {
					t.Errorf("segments add up to %g s, want %g", got, tt.seconds)
				}
				if got := p.lists("#EXT-X-DISCONTINUITY\n"); got != tt.discontinuity {
					t.Errorf("discontinuity: %v, want %v", got, tt.discontinuity)
				}
				if st := p.source.Stats(); !strings.Contains(tt.ignored, "stats") && ((st.Forced > 0) != tt.forced || st.Holes > 0) {
					t.Errorf("stats = %+v, want forced %v, no holes", st, tt.forced)
				}
			})
		})
	}
}
