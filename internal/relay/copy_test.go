package relay_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/audience"
	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/hls/hlsplayer"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/media/mediatest"
	"github.com/millrace/millrace/internal/relay"
	"github.com/millrace/millrace/internal/segment/segmenttest"
)

const (
	arn = "arn:aws:ivs:us-west-2:123456789012:channel/abcdefghijkl"
	id  = "st-1abcdefghijklmnopqrstuv"
)

// patience is far more than anything takes, on a busy machine too.
const patience = 90 * time.Second

// until waits for a condition.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for by := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(by) {
			t.Fatal("this did not come about: " + what)
		}
	}
}

// A pair is a node that has a stream, and one that relays it.
type pair struct {
	source  *relay.Source
	relay   *relay.Relay
	stop    context.CancelFunc // ends the relay
	owner   *httptest.Server
	asked   atomic.Int64 // requests for the stream
	named   atomic.Int64 // requests for its channel
	unknown atomic.Bool  // the relay's node does not learn where the stream is
	away    atomic.Bool  // the owner answers with 503
}

// live is the relay's stream of the channel; nil if it has none.
func (p *pair) live(t testing.TB) *relay.Stream {
	s, err := p.relay.Live(t.Context(), arn)
	if err != nil {
		return nil
	}
	return s
}

// stream is the relay's stream by its id; nil if it has none.
func (p *pair) stream(t testing.TB) *relay.Stream {
	s, err := p.relay.Stream(t.Context(), id)
	if err != nil {
		return nil
	}
	return s
}

func newPair(t testing.TB, s *hls.Stream) *pair {
	t.Helper()
	p := &pair{source: &relay.Source{Channel: ivs.Channel{ARN: arn, Type: ivs.TypeStandard}, Stream: s, Viewers: &audience.Viewers{}}}
	owner := &relay.Owner{
		Source: func(stream string) *relay.Source {
			if stream != id {
				return nil
			}
			return p.source
		},
		From: func(*http.Request) string { return "b" },
		Log:  slog.New(slog.DiscardHandler),
	}
	mux := http.NewServeMux()
	for pattern, h := range owner.Endpoints() {
		method, path, _ := strings.Cut(pattern, " ")
		mux.HandleFunc(method+" /"+path, func(w http.ResponseWriter, r *http.Request) {
			if p.away.Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			switch pattern {
			case "GET streams/{stream}":
				p.asked.Add(1)
			case "GET streams/{stream}/channel":
				p.named.Add(1)
			}
			h.ServeHTTP(w, r)
		})
	}
	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	p.owner = httptest.NewUnstartedServer(mux)
	p.owner.Config.Protocols = protocols
	p.owner.Start()
	base, err := url.Parse(p.owner.URL)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{Protocols: protocols}}
	place := relay.Place{Node: "a", StreamID: id, Do: func(r *http.Request) (*http.Response, error) {
		r.URL.Scheme, r.URL.Host = base.Scheme, base.Host
		return client.Do(r)
	}}
	p.relay = &relay.Relay{
		Locate:     func(key string) (relay.Place, bool) { return place, (key == id || key == arn) && !p.unknown.Load() },
		AwaitNewer: func(context.Context, time.Time) {},
		Shares:     func(string) *audience.Shares { return nil },
		Log:        slog.New(slog.DiscardHandler),
	}
	ctx, stop := context.WithCancel(t.Context())
	p.stop = stop
	done := make(chan error, 1)
	go func() { done <- p.relay.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		client.CloseIdleConnections()
		p.owner.Close()
	})
	return p
}

// open returns the relayed stream.
func (p *pair) open(t testing.TB) (s *relay.Stream) {
	t.Helper()
	until(t, "the stream is relayed", func() bool { // Run has to have begun
		s = p.opened(t, p.stream(t))
		return s != nil
	})
	return s
}

// opened opens a stream, and returns nil if it is nil or cannot be opened.
func (p *pair) opened(t testing.TB, s *relay.Stream) *relay.Stream {
	if s == nil {
		return nil
	}
	s, err := p.relay.Open(t.Context(), s, "192.0.2.1:80")
	if err != nil {
		return nil
	}
	return s
}

// get fetches a path of a stream.
func get(s *hls.Stream, path string) *httptest.ResponseRecorder {
	return hlsplayer.Get(context.Background(), s, path)
}

// A script makes up a stream with everything that can happen to one.
type script struct {
	rand   *rand.Rand
	stream *hls.Stream
	tracks [2]*media.Track
	names  int
	breaks int
	lines  []*line
}

// A line is a rendition of a script.
type line struct {
	*hls.Rendition
	head     hls.Head
	init     *hls.Init
	part     int64
	length   time.Duration // of the segment that has begun
	fallback bool
}

func (c *script) add() {
	c.names++
	l := &line{Rendition: c.stream.AddRendition(fmt.Sprintf("r%d", c.names), hls.Listing{Bitrate: 1000 * c.names, AudioOnly: c.names%4 == 3})}
	if len(c.lines) > 0 {
		l.head = c.lines[0].head
		l.head.Init = nil
	} else {
		l.head.Date = segmenttest.Epoch
	}
	c.lines = append(c.lines, l)
}

// step makes something happen.
func (c *script) step(t testing.TB) {
	t.Helper()
	r := c.rand
	l := c.lines[r.IntN(len(c.lines))]
	switch n := r.IntN(40); {
	case n == 0 && len(c.lines) < 4:
		c.add()
	case n == 1 && len(c.lines) > 2:
		i := 1 + r.IntN(len(c.lines)-1)
		c.lines[i].Remove()
		c.lines = append(c.lines[:i], c.lines[i+1:]...)
	case n == 2:
		l.fallback = !l.fallback
		l.SetFallback(l.fallback)
	case n == 3:
		c.breaks++
		_, err := c.stream.AddAdBreak(fmt.Sprintf("break%d", c.breaks), time.Duration(1+r.IntN(9))*time.Second)
		if err != nil && err != hls.ErrBreakRunning {
			t.Fatal(err)
		}
	case n == 4 && l.length == 0 && l.init != nil:
		d := time.Duration(1+r.IntN(2000)) * time.Millisecond
		l.AddGap(l.head, d)
		l.advance(d)
	case n < 14 && l.length > 0:
		l.EndSegment(l.length, r.IntN(2) == 0)
		l.advance(l.length)
	default:
		l.addPart(t, c)
	}
}

func (l *line) advance(d time.Duration) {
	l.head = hls.Head{Number: l.head.Number + 1, PTS: l.head.PTS + d, Date: l.head.Date.Add(d)}
	l.length = 0
}

func (l *line) addPart(t testing.TB, c *script) {
	r := c.rand
	if l.init == nil || l.length == 0 && r.IntN(20) == 0 {
		n := int64(0)
		if l.init != nil {
			n = l.init.Number + 1
			l.head.Discontinuity = true
		}
		l.init = &hls.Init{Number: n, Video: c.tracks[0], Audio: c.tracks[1]}
		if c.stream.Container == hls.FMP4 {
			l.init.Bytes = []byte(fmt.Sprint("init ", n))
		}
	}
	if l.length == 0 {
		l.head.Init, l.head.Independent = l.init, r.IntN(4) > 0
	}
	d := time.Duration(10+r.IntN(500)) * time.Millisecond
	l.length += d
	body := make([]byte, r.IntN(3000))
	for i := range body {
		body[i] = byte(r.Uint32())
	}
	err := l.AddPart(l.head, hls.Part{Number: l.part, End: l.length, Duration: d - time.Duration(r.IntN(2)), Independent: r.IntN(2) == 0},
		hls.Details{Frame: 33 * time.Millisecond, PartTarget: 510 * time.Millisecond, Captions: r.IntN(2) == 0}, body)
	if err != nil {
		t.Fatal(err)
	}
	l.part++
}

// reports are the positions of other renditions: a playlist has them as they were
// when it was first asked for.
var reports = regexp.MustCompile(`(#EXT-X-RENDITION-REPORT:URI="[^"]*"),.*`)

// difference is the first thing that two streams answer differently, "" if there is
// none.
func (c *script) difference(owner, copied *hls.Stream) string {
	paths := []string{}
	for i := 1; i <= c.names; i++ {
		for _, query := range []string{"", "?parts=off", "?_HLS_skip=YES"} {
			paths = append(paths, fmt.Sprintf("/r%d/playlist.m3u8%s", i, query))
		}
	}
	if a, b := owner.Multivariant("x/"), copied.Multivariant("x/"); !bytes.Equal(a, b) {
		return fmt.Sprintf("multivariant playlist:\n%s\nof the relay:\n%s", a, b)
	}
	for _, path := range paths {
		a, b := c.get(owner, path), c.get(copied, path)
		list, other := reports.ReplaceAllString(a.Body.String(), "$1"), reports.ReplaceAllString(b.Body.String(), "$1")
		if a.Code != b.Code || a.Header().Get("Cache-Control") != b.Header().Get("Cache-Control") || list != other {
			return fmt.Sprintf("%s: %d, of the relay %d: %s", path, a.Code, b.Code, cmp.Diff(list, other))
		}
	}
	return ""
}

// get fetches a path that may have nothing yet: it does not wait.
func (c *script) get(s *hls.Stream, path string) *httptest.ResponseRecorder {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return hlsplayer.Get(ctx, s, path)
}

var uri = regexp.MustCompile(`(?m)^[^#\n]+$|URI="([^"./]+\.[a-z0-9]+)"`)

// mediaDiffers fetches all media that the playlists list.
func (c *script) mediaDiffers(owner, copied *hls.Stream) string {
	for _, l := range c.lines {
		for _, m := range uri.FindAllStringSubmatch(c.get(owner, "/"+l.Name()+"/playlist.m3u8").Body.String(), -1) {
			name := m[0]
			if m[1] != "" {
				name = m[1]
			}
			path := "/" + l.Name() + "/" + name
			a, b := c.get(owner, path), c.get(copied, path)
			if a.Code != b.Code || !bytes.Equal(a.Body.Bytes(), b.Body.Bytes()) {
				return fmt.Sprintf("%s: %d with %d bytes; of the relay: %d with %d", path, a.Code, a.Body.Len(), b.Code, b.Body.Len())
			}
		}
	}
	return ""
}

// Whatever happens to a stream, and whenever a relay begins: the relay's playlists
// and media are those of the owner, byte by byte.
func TestRelayedBytes(t *testing.T) {
	var tracks [2]*media.Track
	for _, f := range (mediatest.Source{Seconds: 1, Size: "160x120"}).Frames(t) {
		if f.Track.IsVideo() {
			tracks[0] = f.Track
		} else {
			tracks[1] = f.Track
		}
	}
	segmenttest.Kinds(t, func(t *testing.T, s *hls.Stream) {
		t.Parallel()
		for seed := range uint64(3) {
			owner := &hls.Stream{Container: s.Container, LowLatency: s.LowLatency}
			c := &script{rand: rand.New(rand.NewPCG(seed, 15)), stream: owner, tracks: tracks}
			c.add()
			for range c.rand.IntN(400) {
				c.step(t)
			}
			select {
			case <-owner.Ready():
			default:
				c.lines[0].addPart(t, c)
				c.lines[0].EndSegment(c.lines[0].length, false)
				c.lines[0].advance(c.lines[0].length)
			}
			p := newPair(t, owner)
			copied := p.open(t)
			for step := range 300 {
				if step == 150 {
					p.owner.CloseClientConnections() // it continues from where it is
				}
				c.step(t)
				different := ""
				for by := time.Now().Add(patience); ; time.Sleep(100 * time.Microsecond) {
					if different = c.difference(owner, copied.Media); different == "" {
						break
					}
					if time.Now().After(by) {
						t.Fatalf("seed %d, step %d: %s", seed, step, different)
					}
				}
			}
			if different := c.mediaDiffers(owner, copied.Media); different != "" {
				t.Errorf("seed %d: %s", seed, different)
			}
			for _, l := range c.lines {
				l.Close()
			}
			until(t, "the relay has ended, too", func() bool { return c.difference(owner, copied.Media) == "" })
			if list := get(copied.Media, "/r1/playlist.m3u8").Body.String(); !strings.HasSuffix(list, "#EXT-X-ENDLIST\n") {
				t.Errorf("the playlist does not end:\n%s", list)
			}
			owner.Release()
		}
	})
}
