package hls_test

import (
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/hls/hlscheck"
	"github.com/millrace/millrace/internal/media"
)

var epoch = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// A player fetches all that a stream offers and keeps it for the checker.
type player struct {
	t       testing.TB
	stream  *hls.Stream
	source  *hls.Rendition
	history []hlscheck.Fetch
	parts   int64 // numbers of what it has
	msn     int64
}

func newPlayer(t testing.TB, s *hls.Stream) *player {
	s.SetEpoch(epoch)
	t.Cleanup(s.Release)
	return &player{t: t, stream: s, source: s.AddRendition("source")}
}

// get fetches a path below the rendition. It must be answered at once.
func (p *player) get(path string) *httptest.ResponseRecorder {
	p.t.Helper()
	w := httptest.NewRecorder()
	p.stream.ServeHTTP(w, httptest.NewRequestWithContext(p.t.Context(), "GET", "/source/"+path, nil))
	body := w.Body.Bytes()
	p.history = append(p.history, hlscheck.Fetch{URL: "/source/" + path, Status: w.Code, Header: w.Header(), Body: body})
	return w
}

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

func (p *player) extension() string {
	if p.stream.Container == hls.FMP4 {
		return ".m4s"
	}
	return ".ts"
}

func (p *player) look() {
	s := p.source.Stats()
	news := s.Segments > p.msn
	for ; p.msn < s.Segments; p.msn++ {
		p.get(fmt.Sprint(p.msn, p.extension()))
	}
	if p.stream.LowLatency {
		news = news || s.Parts > p.parts
		for ; p.parts < s.Parts; p.parts++ {
			p.get(fmt.Sprint("p", p.parts, p.extension()))
		}
	}
	if !news || s.Segments == 0 {
		return
	}
	p.get("playlist.m3u8")
	if p.stream.LowLatency {
		p.get("playlist.m3u8?_HLS_skip=YES")
	}
	if text := p.stream.Multivariant(""); text != nil {
		h := p.get("playlist.m3u8").Header()
		p.history = append(p.history, hlscheck.Fetch{URL: "/index.m3u8", Status: 200, Header: h, Body: text})
	}
}

// check reports the rules of HLS that were broken.
func (p *player) check(ignored ...string) {
	p.t.Helper()
	n := 0
	for _, problem := range hlscheck.Check(p.history) {
		if skip := fmt.Sprint(ignored); strings.Contains(skip, problem.Rule) {
			continue
		}
		if n++; n > 10 {
			p.t.Fatal("and more")
		}
		p.t.Errorf("%s %v\n%.3000s", p.history[problem.Fetch].URL, problem, printable(p.history[problem.Fetch]))
	}
}

func printable(f hlscheck.Fetch) []byte {
	if strings.Contains(f.URL, ".m3u8") {
		return f.Body
	}
	return nil
}

// body returns what the player has of a name.
func (p *player) body(name string) []byte {
	for _, f := range p.history {
		if f.URL == "/source/"+name && f.Status == 200 {
			return f.Body
		}
	}
	return nil
}

// decode lets ffmpeg's decoders have the segments from first to last, and
// expects a number of pictures and no complaint.
func (p *player) decode(first, last int64, pictures int) {
	p.t.Helper()
	var media []byte
	if p.stream.Container == hls.FMP4 {
		media = append(media, p.body("init-0.mp4")...)
	}
	for msn := first; msn <= last; msn++ {
		media = append(media, p.body(fmt.Sprint(msn, p.extension()))...)
	}
	name := filepath.Join(p.t.TempDir(), "media"+p.extension())
	if err := os.WriteFile(name, media, 0o600); err != nil {
		p.t.Fatal(err)
	}
	out, err := exec.Command("ffprobe", "-v", "error", "-select_streams", "v", "-count_frames", "-show_entries", "stream=nb_read_frames", "-of", "csv=p=0", name).CombinedOutput()
	var n int
	fmt.Sscan(string(out), &n) // an error message is no number
	if err != nil || n != pictures {
		p.t.Errorf("ffprobe: %v: %.2000s; want %d pictures and nothing else", err, out, pictures)
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
		recipe   recipe
		segments int64 // complete ones, at the end
		forced   int64
	}{
		{"2 s groups", recipe{fps: "30", gop: 60, seconds: 20}, 10, 0},
		{"1 s groups", recipe{fps: "30", gop: 30, seconds: 20}, 20, 0},
		{"half second groups", recipe{fps: "30", gop: 15, seconds: 10}, 10, 0},
		{"B-frames", recipe{fps: "30", gop: 60, bframes: 3, seconds: 20}, 10, 0},
		{"24 fps", recipe{fps: "24", gop: 48, seconds: 10}, 5, 0},
		{"25 fps", recipe{fps: "25", gop: 50, bframes: 2, seconds: 10}, 5, 0},
		{"29.97 fps", recipe{fps: "30000/1001", gop: 60, seconds: 10}, 5, 0},
		{"50 fps", recipe{fps: "50", gop: 100, seconds: 10}, 5, 0},
		{"60 fps", recipe{fps: "60", gop: 120, bframes: 2, seconds: 10}, 5, 0},
		{"12 fps", recipe{fps: "12", gop: 24, seconds: 10}, 5, 0},
		{"5 fps", recipe{fps: "5", gop: 10, seconds: 10}, 5, 0},
		{"silent", recipe{fps: "30", gop: 60, silent: true, seconds: 10}, 5, 0},
		{"44.1 kHz", recipe{fps: "30", gop: 60, rate: 44100, seconds: 20}, 10, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			kinds(t, func(t *testing.T, s *hls.Stream) {
				p := newPlayer(t, s)
				frames := tape(t, tt.recipe)
				p.play(frames)
				p.close()
				if s.Container == hls.FMP4 {
					p.get("init-0.mp4")
				}
				p.check()
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
				p.decode(0, p.msn-1, pictures)
			})
		})
	}
}
