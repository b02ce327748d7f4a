package hlscheck

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/internal/mpegts"
)

// An origin has a live stream: a new segment every two seconds, and with each the
// first two parts of the next. It answers blocking requests, in the caller's time.
type origin struct {
	began  time.Time
	parts  [][]byte
	change func(path, body string) string // nil for none
	status func(path string) int          // nil for 200
	stops  int64                          // no segment comes after this one; 0 for never
}

func newOrigin() *origin {
	o := &origin{began: time.Now()}
	ts := &mpegts.Muxer{Video: video}
	for n := range 200 {
		o.parts = append(o.parts, ts.EndPart(ts.Append(nil, frame(n)), time.Duration(n+1)*500*time.Millisecond))
	}
	return o
}

// edge is how many segments are complete.
func (o *origin) edge() int64 {
	n := 8 + int64(time.Since(o.began)/(2*time.Second))
	if o.stops > 0 {
		n = min(n, o.stops)
	}
	return n
}

// RoundTrip answers as a server would, without a network.
func (o *origin) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	_, wait := o.body(r.URL)
	select {
	case <-r.Context().Done():
		return nil, r.Context().Err()
	case <-time.After(wait):
	}
	body, _ := o.body(r.URL)
	answer := fetch(r.URL.RequestURI(), body)
	for name, values := range answer.Header {
		w.Header()[name] = values
	}
	if o.status != nil {
		w.WriteHeader(o.status(r.URL.Path))
	}
	if o.change != nil {
		answer.Body = []byte(o.change(r.URL.Path, string(body)))
	}
	w.Write(answer.Body)
	result := w.Result()
	result.Request = r
	return result, nil
}

// body returns the response for a URL, and the delay before it.
func (o *origin) body(u *url.URL) (body []byte, wait time.Duration) {
	name := path.Base(u.Path)
	var n, msn int64
	switch {
	case name == "index.m3u8":
		return []byte(strings.Replace(multivariant, "v/playlist", "v/list", 1)), 0
	case name == "list.m3u8":
		next := o.edge()
		if q := u.Query(); q.Has("_HLS_msn") {
			fmt.Sscan(q.Get("_HLS_msn"), &msn)
			wait = min(max(0, time.Until(o.began.Add(time.Duration(msn-8+1)*2*time.Second))), 6*time.Second)
		}
		return list(int(next)-8, int(next), 0, false, ".ts"), wait
	case strings.HasPrefix(name, "p"):
		fmt.Sscanf(name, "p%d.ts", &n)
		return o.parts[n], 0
	default:
		fmt.Sscanf(name, "%d.ts", &n)
		for _, part := range o.parts[4*n : 4*n+4] {
			body = append(body, part...)
		}
		return body, 0
	}
}

// follow plays the origin for twenty seconds of virtual time.
func follow(t *testing.T, change func(*origin)) (r Report) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin()
		if change != nil {
			change(o)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		var err error
		if r, err = (&Follower{HTTP: &http.Client{Transport: o}}).Follow(ctx, "http://origin.example/live/index.m3u8"); err != nil {
			t.Fatal(err)
		}
	})
	return r
}

func TestFollow(t *testing.T) {
	r := follow(t, nil)
	for _, p := range r.Problems {
		t.Errorf("%v %s: %v", p.At, p.URL, p)
	}
	// Three segments at first and ten more, their parts, one rendition.
	if r.Renditions != 1 || r.Playlists < 10 || r.Media < 13+4*10 || r.Bytes == 0 || r.NotKept {
		t.Errorf("it fetched %+v", r)
	}
}

// What breaks while it is followed is an error with its moment, rule and line.
func TestFollowFindsErrors(t *testing.T) {
	later := func(o *origin, old, new string) {
		o.change = func(path, body string) string {
			if time.Since(o.began) < 9*time.Second || !strings.HasSuffix(path, "list.m3u8") {
				return body
			}
			return strings.ReplaceAll(body, old, new)
		}
	}
	for _, tt := range []struct {
		rule   string
		change func(*origin)
		line   bool
	}{
		{"target-changed", func(o *origin) { later(o, "TARGETDURATION:2", "TARGETDURATION:3") }, false},
		{"syntax", func(o *origin) { later(o, "#EXT-X-TARGETDURATION:2", "#EXT-X-TARGETDURATION:two") }, true},
		{"segment-length", func(o *origin) { later(o, "#EXTINF:2.0", "#EXTINF:2.6") }, true},
		{"status", func(o *origin) {
			o.status = func(path string) int {
				if strings.HasSuffix(path, "/p48.ts") {
					return http.StatusNotFound
				}
				return http.StatusOK
			}
		}, false},
		{"stale", func(o *origin) { o.stops = 11 }, false},
		{"part-bytes", func(o *origin) {
			o.change = func(path, body string) string {
				if strings.HasSuffix(path, "/12.ts") {
					return strings.Replace(body, "\x88", "\x89", 1)
				}
				return body
			}
		}, false},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			for _, p := range follow(t, tt.change).Problems {
				if p.Rule == tt.rule && !p.Warning && p.At > 5*time.Second && p.URL != "" && p.Section() != "" && (p.Line > 0) == tt.line {
					return
				}
			}
			t.Errorf("not reported, but %+v", follow(t, tt.change).Problems)
		})
	}
}

// What is no playlist is an error at once.
func TestFollowNothing(t *testing.T) {
	for _, change := range []func(*origin){
		func(o *origin) { o.change = func(string, string) string { return "<html>" } },
		func(o *origin) { o.status = func(string) int { return http.StatusForbidden } },
	} {
		synctest.Test(t, func(t *testing.T) {
			o := newOrigin()
			change(o)
			if r, err := (&Follower{HTTP: &http.Client{Transport: o}}).Follow(t.Context(), "http://origin.example/live/index.m3u8"); err == nil {
				t.Errorf("it fetched %+v", r)
			}
		})
	}
}

// Each rule has a section, so that a reader can look it up.
func TestSections(t *testing.T) {
	for rule := range advice {
		if sections[rule] == "" {
			t.Errorf("rule %s has no section", rule)
		}
	}
	for _, extension := range []string{".ts", ".m4s"} {
		for _, p := range CheckAny(good(extension)) {
			t.Errorf("a good stream of another server: %v", p)
		}
	}
}
