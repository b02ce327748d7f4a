package playback

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/access"
	"github.com/millrace/millrace/internal/audience"
	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/live"
	"github.com/millrace/millrace/internal/media"
)

const name = "us-west-2.123456789012.channel.abcdefghijkl"

// A viewer session that we named counts, once, on that channel; one that was
// made up, changed, or named by another key does not.
func TestCount(t *testing.T) {
	h, other := newNames([]byte("a")), newNames([]byte("b"))
	arn, ok := channelARN(name)
	if !ok {
		t.Fatal("no ARN")
	}
	v := h.give(ofSession(&live.Session{Channel: ivs.Channel{ARN: arn}}), nil)
	changed := []byte(v)
	changed[3] ^= 1
	for _, tt := range []struct {
		name, arn string
		want      int
	}{
		{v, arn, 1}, {strings.ToUpper(v), arn, 1}, {v, arn + "x", 0}, {other.give(ofSession(&live.Session{Channel: ivs.Channel{ARN: arn}}), nil), arn, 0}, {string(changed), arn, 0},
		{"", arn, 0}, {"0123456789abcdef", arn, 0}, {strings.Repeat("0", 32), arn, 0}, {strings.Repeat("x", 32), arn, 0},
		{v[:30], arn, 0}, {v + "00", arn, 0}, {v[16:] + v[:16], arn, 0},
	} {
		s := ofSession(&live.Session{Channel: ivs.Channel{ARN: tt.arn}})
		for range 2 { // the second time it may be known
			if ours := counted(h, s, tt.name); ours != (tt.want == 1) {
				t.Errorf("%q on %s: %v", tt.name, tt.arn, ours)
			}
		}
		if n := s.Viewers.Count(time.Now()); n != tt.want {
			t.Errorf("%q on %s: %d viewers", tt.name, tt.arn, n)
		}
	}
	if h.give(ofSession(&live.Session{Channel: ivs.Channel{ARN: arn}}), nil) == v {
		t.Error("two viewer sessions have one name")
	}
}

// counted counts a session of s, if its name was not made up.
func oneKey() (string, []string) { return "key", []string{"key"} }

func counted(n names, s stream, name string) bool {
	number, known, ok := n.check(s, name)
	if ok && !known {
		s.Viewers.Seen(number, 1, time.Now())
	}
	return ok
}

func BenchmarkCount(b *testing.B) {
	b.ReportAllocs()
	h := newNames([]byte("a"))
	arn, _ := channelARN(name)
	s := ofSession(&live.Session{Channel: ivs.Channel{ARN: arn}})
	v := h.give(s, nil)
	for b.Loop() {
		if !counted(h, s, v) {
			b.Fatal("not ours")
		}
	}
}

// Renditions above what a token allows are not served to its viewer session,
// though their addresses can be guessed from those of others.
func TestMaximumResolution(t *testing.T) {
	s := ofSession(&live.Session{Channel: ivs.Channel{ARN: "arn", Authorized: true}, StreamID: "st-1", Stream: &hls.Stream{LowLatency: true}})
	for name, lines := range map[string]int{"360p30": 360, "480p30": 480, "720p30": 720, "source": 1080} {
		track := &media.Track{Video: &media.VideoConfig{Width: lines * 16 / 9, Height: lines}}
		r := s.Stream.AddRendition(name, hls.Listing{})
		if err := r.AddPart(hls.Head{Init: &hls.Init{Video: track}}, hls.Part{}, hls.Details{}, []byte("media")); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(s.Stream.Release)
	h := New(Config{Keys: oneKey, Log: slog.New(slog.DiscardHandler), Access: &access.Control{}})
	for class, allowed := range map[string]string{"": "360p30 480p30 720p30 source", "SD": "360p30 480p30", "HD": "360p30 480p30 720p30", "FULL_HD": "360p30 480p30 720p30 source"} {
		viewer := h.names.give(s, &access.Grant{MaxResolution: class})
		for _, rendition := range []string{"360p30", "480p30", "720p30", "source"} {
			for _, file := range []string{"playlist.m3u8", "p0.ts", "0.ts"} {
				w := httptest.NewRecorder()
				h.privateMedia(w, &request{Request: httptest.NewRequest("GET", "/", nil), session: s, viewer: viewer, file: rendition + "/" + file, check: true})
				want := http.StatusForbidden
				if strings.Contains(allowed, rendition) {
					want = http.StatusNoContent
				}
				if w.Code != want {
					t.Errorf("%q: %s/%s = %d, want %d", class, rendition, file, w.Code, want)
				}
			}
		}
	}
}

// A cache that only asks gets 403 for whatever is not allowed, and nothing else:
// nginx answers 500 if its check does.
func TestCheckAnswers(t *testing.T) {
	h := New(Config{Hub: &live.Hub{}, Keys: oneKey, Log: slog.New(slog.DiscardHandler), Access: &access.Control{}})
	for _, method := range []string{"GET", "HEAD", "POST", "DELETE"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, Root+"authorize/"+name+"/viewer/st-1/source/p0.ts", nil))
		if w.Code != http.StatusForbidden {
			t.Errorf("%s = %d", method, w.Code)
		}
	}
	for _, status := range []int{400, 403, 404, 405, 429, 500, 503} {
		w := httptest.NewRecorder()
		h.deny(checkAnswer{w}, httptest.NewRequest("GET", "/", nil), ofSession(&live.Session{}), &access.Refusal{Status: status, Text: "why"})
		if w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "why") {
			t.Errorf("%d is answered as %d %s", status, w.Code, w.Body)
		}
	}
	w := httptest.NewRecorder()
	if allow(checkAnswer{w}, &request{Request: httptest.NewRequest("GET", "/", nil), file: "source/p0.ts", check: true}); w.Code != http.StatusNoContent {
		t.Errorf("what is allowed is %d", w.Code)
	}
}

// What a player posts is taken of a viewer session that counts, and of no other.
func TestReport(t *testing.T) {
	arn, _ := channelARN(name)
	s := ofSession(&live.Session{Channel: ivs.Channel{ARN: arn}, StreamID: "st-1"})
	h := New(Config{Hub: &live.Hub{}, Keys: oneKey, Log: slog.New(slog.DiscardHandler), Access: &access.Control{}})
	for _, private := range []bool{false, true} {
		s.Channel.Authorized = private
		viewer := h.names.give(s, &access.Grant{})
		q := &request{session: s, viewer: viewer}
		if !h.knows(q) {
			t.Fatalf("private %v: the session that was given is unknown", private)
		}
		if h.knows(&request{session: s, viewer: strings.Repeat("0", len(viewer))}) {
			t.Errorf("private %v: a name that was made up is known", private)
		}
	}
	post := func(path, body string) int {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("POST", Root+path, strings.NewReader(body)))
		return w.Code
	}
	for _, tt := range []struct {
		path, body string
		want       int
	}{
		{name + "/0123/st-none/cmcd", "bs", http.StatusNotFound},
		{name + "/0123/st-none/cmcd", strings.Repeat("bs\n", 16<<10), http.StatusRequestEntityTooLarge},
		{name + "/0123/st-none/source/p0.ts", "bs", http.StatusMethodNotAllowed},
		{"authorize/" + name + "/0123/st-none/cmcd", "bs", http.StatusForbidden},
	} {
		if got := post(tt.path, tt.body); got != tt.want {
			t.Errorf("POST %s of %d bytes = %d, want %d", tt.path, len(tt.body), got, tt.want)
		}
	}
}

// A part for a viewer of a public channel, and for one of a private channel who
// has a name.
func BenchmarkMedia(b *testing.B) {
	h := New(Config{Keys: oneKey, Log: slog.New(slog.DiscardHandler), Access: &access.Control{}})
	for _, private := range []bool{false, true} {
		b.Run(map[bool]string{false: "public", true: "private"}[private], func(b *testing.B) {
			c := ivs.Channel{ARN: "arn:aws:ivs:us-west-2:123456789012:channel/abcdefghijkl", Authorized: private}
			s := ofSession(&live.Session{Channel: c, StreamID: "st-1abcdefghijklmnopqrstuv", Stream: &hls.Stream{LowLatency: true}})
			track := &media.Track{Video: &media.VideoConfig{Width: 1280, Height: 720}}
			if err := s.Stream.AddRendition("source", hls.Listing{}).AddPart(hls.Head{Init: &hls.Init{Video: track}}, hls.Part{}, hls.Details{}, make([]byte, 1000)); err != nil {
				b.Fatal(err)
			}
			b.Cleanup(s.Stream.Release)
			viewer := h.names.give(s, &access.Grant{Identity: audience.Identity{ViewerID: "viewer-42", Version: 1777626000}})
			r := httptest.NewRequest("GET", "/", nil)
			b.ReportAllocs()
			for b.Loop() {
				w := httptest.NewRecorder()
				asked := &request{Request: r, session: s, viewer: viewer, file: "source/p0.ts"}
				h.media(w, asked)
				if w.Code != http.StatusOK {
					b.Fatal(w.Code, w.Body)
				}
			}
		})
	}
}
