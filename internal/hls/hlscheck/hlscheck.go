// Package hlscheck checks what a player of HLS received, playlists, parts and segments
// over the length of a broadcast, against the rules of RFC 8216, of
// draft-pantos-hls-rfc8216bis and of Apple's HLS Authoring Specification that apply to a
// live server. It knows nothing about Millrace's server: Millrace's tests use Check, and
// millrace check uses CheckAny on any server.
package hlscheck

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
)

// A Fetch is one response that a player received.
type Fetch struct {
	URL    string // path and query, such as "/source/playlist.m3u8?_HLS_msn=3"
	Status int
	Header http.Header
	Body   []byte // without content coding; nil for media that was not kept

	// Where URLs do not say it: the playlist that this is, or that lists it, and
	// the name of media in there.
	List, Name string
}

// A Problem is a broken rule.
type Problem struct {
	Rule    string // a short name: "target-duration", "part-length"
	Fetch   int    // index of the response in the history
	Line    int    // of the playlist; 0 for none in particular
	Text    string
	Warning bool // advice or a convention, not a requirement of the RFC
}

func (p Problem) String() string { return fmt.Sprintf("fetch %d: %s: %s", p.Fetch, p.Rule, p.Text) }

// Check returns the rules that the responses in history break, in order of time.
func Check(history []Fetch) []Problem {
	return check(history, false)
}

// CheckAny is Check for a server about which nothing is known: what it may do differently
// from Millrace is a Warning, and media is checked only if it is MPEG-TS.
func CheckAny(history []Fetch) []Problem { return check(history, true) }

func check(history []Fetch, foreign bool) []Problem {
	c := &checker{renditions: map[string]*rendition{}, bodies: map[string]string{}, foreign: foreign}
	for i, f := range history {
		c.fetch = i
		c.check(f)
	}
	c.checkMedia()
	slices.SortStableFunc(c.problems, func(a, b Problem) int { return cmp.Compare(a.Fetch, b.Fetch) })
	return c.problems
}

// A checker goes through a history.
type checker struct {
	fetch, line int // where it is
	foreign     bool
	problems    []Problem
	renditions  map[string]*rendition // by the path of the media playlist
	bodies      map[string]string     // of answers that must not change, by URL
	variants    []variant
}

func (c *checker) report(rule, format string, args ...any) {
	c.problems = append(c.problems, Problem{Rule: rule, Fetch: c.fetch, Line: c.line, Text: fmt.Sprintf(format, args...), Warning: advice[rule]})
}

// advise is require for what a server should do, and need not.
func (c *checker) advise(ok bool, rule, format string, args ...any) {
	if !ok {
		c.report(rule, format, args...)
		c.problems[len(c.problems)-1].Warning = true
	}
}

func (c *checker) require(ok bool, rule, format string, args ...any) {
	if !ok {
		c.report(rule, format, args...)
	}
}

func (c *checker) check(f Fetch) {
	c.line = 0
	u, err := url.Parse(f.URL)
	if err != nil {
		c.report("url", "%v", err)
		return
	}
	c.require(f.Header.Get("Access-Control-Allow-Origin") != "", "cors", "no Access-Control-Allow-Origin")
	if f.Status != http.StatusOK {
		c.require(f.Status < 300 || f.Status > 399, "redirect", "status %d", f.Status)
		c.require(f.Header.Get("Cache-Control") == "no-store" || f.Status < 400, "cache-error", "an error of status %d may be kept: %q", f.Status, f.Header.Get("Cache-Control"))
		return
	}
	c.require(f.Header.Get("Cache-Control") != "", "cache-control", "no Cache-Control")
	if f.Name == "" && (path.Ext(u.Path) == ".m3u8" || f.List != "") {
		c.require(f.Header.Get("Content-Type") == "application/vnd.apple.mpegurl", "content-type", "playlist of type %q", f.Header.Get("Content-Type"))
		c.require(f.Header.Get("Vary") == "Accept-Encoding", "gzip", "a playlist that is not offered in gzip: Vary %q", f.Header.Get("Vary"))
		c.checkPlaylist(f, u)
		return
	}
	c.require(maxAge(f.Header) >= 60, "cache-control", "media that never changes has %q", f.Header.Get("Cache-Control"))
	want := map[string]string{".ts": "video/mp2t", ".m4s": "video/mp4", ".mp4": "video/mp4"}[path.Ext(u.Path)]
	c.require(f.Header.Get("Content-Type") == want || c.foreign && want == "", "content-type", "media of type %q", f.Header.Get("Content-Type"))
	if f.Body == nil {
		return
	}
	c.unchanged(u.String(), string(f.Body))
	c.rendition(f.list(u)).media[cmp.Or(f.Name, path.Base(u.Path))] = answer{fetch: c.fetch, bytes: f.Body}
}

// list returns the path that identifies the playlist of a response.
func (f Fetch) list(u *url.URL) string { return cmp.Or(f.List, path.Dir(u.Path)) }

// unchanged reports an answer that differs from an earlier one.
func (c *checker) unchanged(key, body string) {
	if old, ok := c.bodies[key]; ok && old != body {
		c.report("immutable", "%s was answered differently before", key)
	}
	c.bodies[key] = body
}

// maxAge is for how many seconds an answer may be kept.
func maxAge(h http.Header) (seconds int64) { return age(h, "max-age=") }

func age(h http.Header, name string) (seconds int64) {
	for _, directive := range strings.Split(h.Get("Cache-Control"), ",") {
		if value, ok := strings.CutPrefix(strings.TrimSpace(directive), name); ok {
			seconds, _ = strconv.ParseInt(value, 10, 64) // 0 if it is no number
		}
	}
	return seconds
}

func (c *checker) checkPlaylist(f Fetch, u *url.URL) {
	h, text := f.Header, string(f.Body)
	if strings.Contains(text, "#EXT-X-STREAM-INF") {
		c.checkMultivariant(text)
		return
	}
	p, err := parse(text)
	if err != nil {
		c.line = p.line
		c.report("syntax", "%v", err)
		return
	}
	q := u.Query()
	c.checkHead(p, text)
	c.checkWindow(p)
	c.checkSegments(p)
	c.checkParts(p)
	c.compare(c.rendition(f.list(u)), p)
	c.line = 0
	c.require(p.skipped == 0 || q.Has("_HLS_skip"), "skip", "EXT-X-SKIP that was not asked for")
	c.require(!p.canBlock || q.Has("_HLS_msn") || !q.Has("_HLS_part"), "directives", "_HLS_part without _HLS_msn was answered")
	if !q.Has("_HLS_msn") || !p.canBlock {
		// A playlist that changes may be kept for half a target duration.
		c.require(maxAge(h) <= max(1, p.target/2), "cache-control", "a playlist that changes has %q", h.Get("Cache-Control"))
		return
	}
	// A shared cache may hold an answer to a blocking request (rfc8216bis, B.1),
	// a player that asks again may not.
	shared := age(h, "s-maxage=")
	c.require(maxAge(h) <= 1 && shared > 0 && shared <= 6*p.target, "cache-control", "an answer to a blocking request has %q", h.Get("Cache-Control"))
	c.checkBlocking(p, q)
	if shared > 1 {
		c.unchanged(u.String(), text)
	}
}

// checkBlocking reports whether the playlist has what the player waited for.
func (c *checker) checkBlocking(p *playlist, q url.Values) {
	if p.ended {
		return
	}
	var msn int64
	part := -1
	fmt.Sscan(q.Get("_HLS_msn"), &msn)
	if q.Has("_HLS_part") {
		fmt.Sscan(q.Get("_HLS_part"), &part)
	}
	last := p.segments[len(p.segments)-1]
	switch {
	case last.msn > msn, last.msn == msn && last.uri != "" && part < len(last.parts):
	case last.msn == msn && part >= 0 && part < len(last.parts):
	default:
		c.report("blocking", "asked for segment %d part %d, the last one is segment %d with %d parts", msn, part, last.msn, len(last.parts))
	}
}
