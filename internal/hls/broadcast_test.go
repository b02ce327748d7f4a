package hls_test

import (
	"bytes"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/hls/hlscheck"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/media/mediatest"
)

var epoch = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// A player fetches all that a stream offers and keeps it for the checker.
type player struct {
	hlscheck.Player
	t      testing.TB
	stream *hls.Stream
	source *hls.Rendition
}

func newPlayer(t testing.TB, s *hls.Stream) *player {
	s.SetEpoch(epoch)
	t.Cleanup(s.Release)
	p := &player{t: t, stream: s, source: s.AddRendition("source"), Player: hlscheck.Player{Handler: s, Path: "/source/", Extension: ".ts", Parts: s.LowLatency}}
	if s.Container == hls.FMP4 {
		p.Extension = ".m4s"
	}
	return p
}

func (p *player) get(name string) *httptest.ResponseRecorder { return p.Get(p.t.Context(), name) }

// play writes frames and fetches whatever is new after each.
func (p *player) play(frames []media.Frame) {
	p.t.Helper()
	for _, f := range frames {
		if err := p.source.WriteFrame(f); err != nil {
			p.t.Fatalf("frame at %v: %v", f.DTS, err)
		}
		p.look()
	}
}

// close ends the broadcast and fetches the rest.
func (p *player) close() {
	p.t.Helper()
	if err := p.source.Close(); err != nil {
		p.t.Fatal(err)
	}
	p.look()
	if list := p.get("playlist.m3u8").Body.String(); !strings.HasSuffix(list, "#EXT-X-ENDLIST\n") {
		p.t.Errorf("the playlist does not end:\n%s", list)
	}
}

func (p *player) look() {
	s := p.source.Stats()
	if !p.Fetch(p.t.Context(), s.Parts, s.Segments) {
		return
	}
	if text := p.stream.Multivariant(""); text != nil {
		h := p.get("playlist.m3u8").Header()
		p.History = append(p.History, hlscheck.Fetch{URL: "/index.m3u8", Status: 200, Header: h, Body: text})
	}
}

// decode lets ffmpeg's decoders have all segments, and expects so many frames
// and no complaint.
func (p *player) decode(frames int) {
	p.t.Helper()
	file := bytes.Clone(p.Body("init-0.mp4"))
	for _, g := range p.Listed() {
		file = append(file, p.Body(g.Name)...)
	}
	if got := mediatest.Decode(p.t, p.Extension[1:], file); got != frames {
		p.t.Errorf("%d frames were decoded, want %d", got, frames)
	}
}

// kinds are the four ways to serve a stream.
func kinds(t *testing.T, f func(t *testing.T, s *hls.Stream)) {
	for _, c := range []hls.Container{hls.TS, hls.FMP4} {
		for _, low := range []bool{true, false} {
			name := map[hls.Container]string{hls.TS: "TS", hls.FMP4: "FMP4"}[c] + map[bool]string{true: " low latency", false: " plain"}[low]
			t.Run(name, func(t *testing.T) { f(t, &hls.Stream{Container: c, LowLatency: low}) })
		}
	}
}

func TestBroadcasts(t *testing.T) {
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
			kinds(t, func(t *testing.T, s *hls.Stream) {
				p := newPlayer(t, s)
				frames := tt.recipe.Frames(t)
				p.play(frames)
				p.close()
				p.Report(t, "")
				if got := p.source.Stats(); got.Segments != tt.segments || got.Forced != tt.forced || got.Holes != 0 || got.Dropped > 4 {
					t.Errorf("stats = %+v, want %d segments, %d of them forced, no holes", got, tt.segments, tt.forced)
				}
				pictures := 0
				for _, f := range frames {
					if f.Track.IsVideo() {
						pictures++
					}
				}
				if !s.LowLatency {
					return // the same pictures; decoding takes most of the test's time
				}
				p.decode(pictures)
			})
		})
	}
}
