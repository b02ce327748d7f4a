// Package segmenttest provides a stream and its player for tests of segmenting and
// serving.
package segmenttest

import (
	"bytes"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/hls/hlscheck"
	"github.com/millrace/millrace/internal/hls/hlsplayer"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/media/mediatest"
	"github.com/millrace/millrace/internal/segment"
)

// Epoch is the wall clock time at the beginning of a Player's stream.
var Epoch = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// A Player fetches all that a stream offers and keeps it for hlscheck.
type Player struct {
	hlsplayer.Player
	Source *segment.Leader
	t      testing.TB
}

// NewPlayer adds a rendition, source, to s and returns its player.
func NewPlayer(t testing.TB, s *hls.Stream) *Player {
	t.Cleanup(s.Release)
	p := &Player{
		t: t, Source: segment.NewLeader(s.AddRendition("source", hls.Listing{})),
		Player: hlsplayer.Player{Stream: s, Path: "/source/", Extension: ".ts", Parts: s.LowLatency},
	}
	p.Source.SetEpoch(Epoch)
	if s.Container == hls.FMP4 {
		p.Extension = ".m4s"
	}
	return p
}

// Play writes frames and fetches whatever is new after each.
func (p *Player) Play(frames []media.Frame) {
	p.t.Helper()
	for _, f := range frames {
		if err := p.Source.WriteFrame(f); err != nil {
			p.t.Fatalf("frame at %v: %v", f.DTS, err)
		}
		p.look()
	}
}

// Close ends the rendition and fetches the rest. A rendition without media has no
// playlist.
func (p *Player) Close() {
	p.t.Helper()
	if err := p.Source.Close(); err != nil {
		p.t.Fatal(err)
	}
	p.look()
	list := p.Get(p.t.Context(), "playlist.m3u8")
	if p.Source.Rendition().Stats().Parts == 0 && list.Code == http.StatusNotFound {
		return
	}
	if list := list.Body.String(); !strings.HasSuffix(list, "#EXT-X-ENDLIST\n") {
		p.t.Errorf("the playlist does not end:\n%s", list)
	}
}

func (p *Player) look() {
	s := p.Source.Rendition().Stats()
	if !p.Fetch(p.t.Context(), s.Parts, s.Segments) {
		return
	}
	if text := p.Stream.Multivariant(""); text != nil {
		p.History = append(p.History, hlscheck.Fetch{
			URL: "/index.m3u8", Status: http.StatusOK, Body: text,
			Header: p.Get(p.t.Context(), "playlist.m3u8").Header(),
		})
	}
}

// Decode decodes all segments with ffmpeg's decoders, and expects that number of video
// frames and no warning.
func (p *Player) Decode(frames int) {
	p.t.Helper()
	file := bytes.Clone(p.Body("init-0.mp4"))
	for _, g := range p.Listed() {
		file = append(file, p.Body(g.Name)...)
	}
	if got := mediatest.Decode(p.t, p.Extension[1:], file); got != frames {
		p.t.Errorf("%d frames were decoded, want %d", got, frames)
	}
}

// ListedSeconds adds up EXTINF over all segments that were ever complete.
func (p *Player) ListedSeconds() (sum float64) {
	for _, g := range p.Listed() {
		sum += g.Duration.Seconds()
	}
	return sum
}

// Write writes frames, and expects no error.
func Write(t testing.TB, w media.Writer, frames []media.Frame) {
	t.Helper()
	for _, f := range frames {
		if err := w.WriteFrame(f); err != nil {
			t.Fatal(err)
		}
	}
}

// Kinds runs f with a stream in each container, with and without low latency.
func Kinds(t *testing.T, f func(t *testing.T, s *hls.Stream)) {
	for _, c := range []hls.Container{hls.TS, hls.FMP4} {
		for _, low := range []bool{true, false} {
			name := map[hls.Container]string{hls.TS: "TS", hls.FMP4: "FMP4"}[c] + map[bool]string{true: " low latency", false: " plain"}[low]
			t.Run(name, func(t *testing.T) { f(t, &hls.Stream{Container: c, LowLatency: low}) })
		}
	}
}

// OpenFiles counts the open files of this process that hold segments.
func OpenFiles(t testing.TB) (n int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if name, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.Contains(name, "millrace-segment") {
			n++
		}
	}
	return n
}
