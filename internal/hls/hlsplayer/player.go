// Package hlsplayer is a player of a stream in the same process, for tests. It keeps what
// it fetched for hlscheck.
package hlsplayer

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/hls/hlscheck"
)

// Handler serves a stream without viewer sessions: the playlist of a rendition is at
// "/<rendition>/playlist.m3u8".
func Handler(s *hls.Stream) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if hls.CrossOrigin(w, r, "") == hls.Reading {
			s.Serve(w, r, strings.TrimPrefix(r.URL.Path, "/"), 0)
		}
	})
}

// Get fetches a path that Handler serves.
func Get(ctx context.Context, s *hls.Stream, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	Handler(s).ServeHTTP(w, httptest.NewRequestWithContext(ctx, "GET", path, nil))
	return w
}

// A Player fetches all that a rendition offers as soon as it is available, and keeps it
// for hlscheck.Check. None of its requests may have to wait.
type Player struct {
	Stream    *hls.Stream
	Path      string // of the rendition: "/source/"
	Extension string // of its media: ".ts", ".m4s"
	Parts     bool   // the playlist is low-latency HLS

	History []hlscheck.Fetch

	parts, segments int64  // that it has
	init            string // URI of the newest init segment that it has
}

// Get fetches the file at name below Path.
func (p *Player) Get(ctx context.Context, name string) *httptest.ResponseRecorder {
	w := Get(ctx, p.Stream, p.Path+name)
	p.History = append(p.History, hlscheck.Fetch{URL: p.Path + name, Status: w.Code, Header: w.Header(), Body: w.Body.Bytes()})
	return w
}

// Fetch fetches what is new when there were so many parts and segments, and
// reports whether anything was. While there is no whole segment no playlist is
// fetched: one may have to wait.
func (p *Player) Fetch(ctx context.Context, parts, segments int64) bool {
	news := segments > p.segments || p.Parts && parts > p.parts
	for ; p.segments < segments; p.segments++ {
		p.Get(ctx, fmt.Sprint(p.segments, p.Extension))
	}
	for ; p.Parts && p.parts < parts; p.parts++ {
		p.Get(ctx, fmt.Sprint("p", p.parts, p.Extension))
	}
	if !news || segments == 0 {
		return false
	}
	list := p.Get(ctx, "playlist.m3u8").Body.String()
	if p.Parts {
		p.Get(ctx, "playlist.m3u8?_HLS_skip=YES")
	}
	if i := strings.LastIndex(list, "#EXT-X-MAP:URI="); i >= 0 {
		uri, _, _ := strings.Cut(list[i+len("#EXT-X-MAP:URI="):], "\n")
		if uri = strings.Trim(uri, `"`); uri != p.init {
			p.init = uri
			p.Get(ctx, uri)
		}
	}
	return true
}

// Body returns what was fetched under a name, or nil.
func (p *Player) Body(name string) []byte {
	for _, f := range p.History {
		if f.URL == p.Path+name && f.Status == http.StatusOK {
			return f.Body
		}
	}
	return nil
}

// Lists reports whether any response contained text.
func (p *Player) Lists(text string) bool {
	for _, f := range p.History {
		if strings.Contains(string(f.Body), text) {
			return true
		}
	}
	return false
}

// A Listed segment is one that a playlist has listed completely.
type Listed struct {
	Name, Init string
	Date       time.Time
	Duration   time.Duration
	Target     time.Duration
}

// Listed returns all segments that were ever listed completely, in order.
func (p *Player) Listed() (all []Listed) {
	seen := map[string]bool{}
	for _, f := range p.History {
		if !strings.HasPrefix(f.URL, p.Path+"playlist.m3u8") {
			continue
		}
		var g Listed
		for line := range strings.Lines(string(f.Body)) {
			if line = strings.TrimSpace(line); g.read(line) && !seen[line] {
				seen[line] = true
				all = append(all, g)
			}
		}
	}
	return all
}

// read takes a line of a playlist and reports whether it ends a segment.
func (g *Listed) read(line string) bool {
	tag, value, _ := strings.Cut(line, ":")
	switch tag {
	case "#EXT-X-TARGETDURATION":
		g.Target, _ = time.ParseDuration(value + "s")
	case "#EXT-X-MAP":
		g.Init = strings.Trim(strings.TrimPrefix(value, "URI="), `"`)
	case "#EXT-X-PROGRAM-DATE-TIME":
		g.Date, _ = time.Parse(time.RFC3339, value)
	case "#EXTINF":
		g.Duration, _ = time.ParseDuration(strings.TrimSuffix(value, ",") + "s")
	}
	g.Name = line
	return line != "" && line[0] != '#'
}

// Report fails t for each broken rule of HLS, except those named in ignored, separated by
// spaces.
func (p *Player) Report(t testing.TB, ignored string) {
	t.Helper()
	n := 0
	for _, problem := range hlscheck.Check(p.History) {
		if strings.Contains(ignored, problem.Rule) {
			continue
		}
		if n++; n > 10 {
			t.Fatal("and more")
		}
		f := p.History[problem.Fetch]
		text := f.Body
		if !strings.Contains(f.URL, ".m3u8") {
			text = nil
		}
		t.Errorf("%s %v\n%.3000s", f.URL, problem, text)
	}
}
