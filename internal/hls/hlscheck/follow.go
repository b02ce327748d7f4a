package hlscheck

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Bounds of what is taken from a server.
const (
	maxPlaylist   = 4 << 20   // bytes
	maxMedia      = 64 << 20  // of one segment
	maxKept       = 256 << 20 // of media in all that is kept to be looked into
	maxRenditions = 16
	beginAt       = 3 // segments from the end of the first playlist
)

// A Follower plays a live stream of any server, all renditions at the same time, without
// showing it: it reloads each playlist as rfc8216bis requires (6.3.4), with blocking
// requests if the server supports them, and fetches every new part and segment.
type Follower struct {
	HTTP *http.Client

	mu      sync.Mutex
	began   time.Time
	history []Fetch
	times   []time.Duration // of history, since the beginning
	kept    int             // bytes of media in history
	own     []Moment        // problems of time, which no answer shows
}

// A Moment is a Problem with its time and URL.
type Moment struct {
	Problem
	At  time.Duration // since the beginning
	URL string
}

// A Report is the result of Follow.
type Report struct {
	Renditions, Playlists, Media int
	Bytes                        int64 // of media
	NotKept                      bool  // some media was fetched, but was too large to be checked
	Problems                     []Moment
}

// Follow plays the stream at a URL until ctx is done or the stream has ended. It returns
// an error if there was nothing to play.
func (f *Follower) Follow(ctx context.Context, address string) (Report, error) {
	f.began = time.Now()
	top, body, err := f.get(ctx, address, Fetch{List: address})
	if err != nil {
		return Report{}, err
	}
	lists := map[string]*url.URL{"": top}
	if strings.Contains(body, "#EXT-X-STREAM-INF") {
		if lists, err = renditionURIs(top, body); err != nil {
			return Report{}, fmt.Errorf("%s: %w", address, err)
		}
	} else if _, err := parse(body); err != nil {
		return Report{}, fmt.Errorf("%s is no playlist: %w", address, err)
	}
	var all sync.WaitGroup
	for list, at := range lists {
		all.Go(func() { f.rendition(ctx, cmp.Or(list, address), at) })
	}
	all.Wait()
	return f.report(len(lists)), nil
}

// renditionURIs are the media playlists of a multivariant playlist: what it
// calls them, and where they are.
func renditionURIs(base *url.URL, text string) (map[string]*url.URL, error) {
	lists := map[string]*url.URL{}
	add := func(uri string) error {
		at, err := base.Parse(uri)
		if err != nil {
			return err
		}
		if lists[uri] = at; len(lists) > maxRenditions {
			return fmt.Errorf("it has more than %d renditions", maxRenditions)
		}
		return nil
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		name, value, _ := strings.Cut(line, ":")
		uri := ""
		switch name {
		case "#EXT-X-STREAM-INF":
			if i+1 < len(lines) {
				uri = lines[i+1]
			}
		case "#EXT-X-MEDIA":
			if a, err := parseAttributes(value); err == nil {
				uri = a["URI"]
			}
		}
		if uri == "" || uri[0] == '#' {
			continue // the check of the text says so
		}
		if err := add(uri); err != nil {
			return nil, err
		}
	}
	return lists, nil
}

// get fetches an address into the history, and returns where it was at last. An
// answer other than 200 is an error, and in the history.
func (f *Follower) get(ctx context.Context, address string, as Fetch) (*url.URL, string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, "", err
	}
	answer, err := f.HTTP.Do(r)
	if err != nil {
		return nil, "", err
	}
	defer answer.Body.Close()
	limit := int64(maxPlaylist)
	if as.Name != "" {
		limit = maxMedia
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, limit+1))
	if err == nil && int64(len(body)) > limit {
		err = fmt.Errorf("%s: more than %d bytes", address, limit)
	}
	if err != nil {
		return nil, "", err
	}
	text := ""
	if as.Name == "" {
		text = strings.ReplaceAll(string(body), "\r\n", "\n")
		body = []byte(text)
	}
	as.URL, as.Status, as.Header, as.Body = address, answer.StatusCode, answer.Header, body
	f.keep(as)
	if answer.StatusCode != http.StatusOK {
		return nil, "", fmt.Errorf("%s: %s", address, answer.Status)
	}
	return answer.Request.URL, text, nil
}

func (f *Follower) keep(a Fetch) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if a.Name != "" {
		if f.kept+len(a.Body) > maxKept {
			a.Body = nil
		}
		f.kept += len(a.Body)
	}
	f.history = append(f.history, a)
	f.times = append(f.times, time.Since(f.began))
}

// problem adds one that the follower saw itself.
func (f *Follower) problem(rule, address, format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.own = append(f.own, Moment{Problem{Rule: rule, Text: fmt.Sprintf(format, args...)}, time.Since(f.began), address})
}

// rendition plays one media playlist.
func (f *Follower) rendition(ctx context.Context, list string, at *url.URL) {
	have := map[string]bool{} // media, by URI
	address := at.String()
	changed, latest, stale := time.Now(), "", false
	for wait := time.Duration(0); sleep(ctx, wait); {
		base, text, err := f.get(ctx, address, Fetch{List: list})
		if err != nil {
			f.failed(ctx, address, err)
			wait = time.Second
			continue
		}
		p, err := parse(text)
		if err != nil {
			wait = time.Second
			continue // the check of the text says so
		}
		f.media(ctx, list, base, p, have)
		if p.ended {
			return
		}
		edge, advanced := p.edge(), p.edge() != latest
		target := time.Duration(max(p.target, 1)) * time.Second
		if advanced {
			changed, latest, stale = time.Now(), edge, false
		} else if age := time.Since(changed); age > target*3/2 && !stale {
			// RFC 8216, 6.2.2: a new segment within one and a half target durations.
			f.problem("stale", address, "nothing new for %.1f s, target duration %d", age.Seconds(), p.target)
			stale = true
		}
		address, wait = p.next(at), 0
		if !p.canBlock || !advanced { // a request that did not block is made no oftener
			wait = target / 2
		}
	}
}

// sleep waits, and reports whether ctx is not done.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return ctx.Err() == nil
	}
}

func (f *Follower) failed(ctx context.Context, address string, err error) {
	if ctx.Err() == nil {
		f.problem("status", address, "%v", err)
	}
}

// edge identifies the end of a playlist.
func (p *playlist) edge() string {
	last := p.segments[len(p.segments)-1]
	return fmt.Sprint(last.msn, " ", last.uri, " ", len(last.parts))
}

// next is where the playlist after this one is.
func (p *playlist) next(at *url.URL) string {
	if !p.canBlock {
		return at.String()
	}
	last := p.segments[len(p.segments)-1]
	msn, part := last.msn, len(last.parts)
	if last.uri != "" {
		msn, part = last.msn+1, 0
	}
	u := *at
	q := u.Query()
	q.Set("_HLS_msn", fmt.Sprint(msn))
	if p.partTarget > 0 {
		q.Set("_HLS_part", fmt.Sprint(part))
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// media fetches what is new in a playlist. What is a range of a file is not.
func (f *Follower) media(ctx context.Context, list string, base *url.URL, p *playlist, have map[string]bool) {
	segments := p.segments
	if len(have) == 0 {
		segments = segments[max(0, len(segments)-beginAt):]
	}
	first := segments[0].msn
	fetch := func(uri string, gap bool) {
		if uri == "" || gap || have[uri] || ctx.Err() != nil {
			return
		}
		have[uri] = true
		at, err := base.Parse(uri)
		if err == nil {
			_, _, err = f.get(ctx, at.String(), Fetch{List: list, Name: uri})
		}
		if err != nil {
			f.failed(ctx, base.String(), fmt.Errorf("%s is listed: %w", uri, err))
		}
	}
	for _, g := range segments {
		if g.msn < first || g.rangeSize > 0 {
			continue
		}
		fetch(g.init, false)
		for _, part := range g.parts {
			fetch(part.uri, part.gap || part.ranged)
		}
		fetch(g.uri, g.gap)
	}
}

// report checks what was fetched.
func (f *Follower) report(renditions int) Report {
	r := Report{Renditions: renditions, Problems: f.own}
	for _, a := range f.history {
		if a.Name == "" {
			r.Playlists++
			continue
		}
		r.Media++
		r.Bytes += int64(len(a.Body))
		r.NotKept = r.NotKept || a.Body == nil
	}
	for _, p := range CheckAny(f.history) {
		r.Problems = append(r.Problems, Moment{p, f.times[p.Fetch], f.history[p.Fetch].URL})
	}
	slices.SortStableFunc(r.Problems, func(a, b Moment) int { return cmp.Compare(a.At, b.At) })
	return r
}
