package playback

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/access"
	"github.com/millrace/millrace/internal/audience"
	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/live"
	"github.com/millrace/millrace/internal/relay"
	"github.com/millrace/millrace/internal/store/storetest"
)

// A copies is a handler, and a node that has the stream that its viewers ask for.
type copies struct {
	*testing.T
	h               *Handler
	source          *relay.Source
	id              atomic.Value // of the stream
	away            atomic.Bool  // its owner does not answer
	full            atomic.Bool  // this machine has no room
	begun, admitted atomic.Int64
}

func startCopies(t *testing.T) *copies {
	t.Helper()
	arn, _ := channelARN(name)
	c := &copies{T: t, source: &relay.Source{Channel: ivs.Channel{ARN: arn}, Stream: &hls.Stream{}, Viewers: &audience.Viewers{}}}
	c.id.Store("st-0")
	copier := &relay.Relay{Locate: c.locate(), AwaitNewer: func(context.Context, time.Time) {}, Log: slog.New(slog.DiscardHandler), Shares: func(string) *audience.Shares { return nil },
		Admit: func(ivs.Channel, string) (hls.Share, func(), error) {
			c.admitted.Add(1)
			if c.full.Load() {
				return nil, nil, errors.New("the machine is full")
			}
			return nil, func() {}, nil
		}}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- copier.Run(ctx) }()
	t.Cleanup(func() { stop(); <-ended })
	db := storetest.Open(t, storetest.SQLite(t))
	c.h = New(Config{Hub: &live.Hub{}, Relay: copier, Keys: oneKey, Log: slog.New(slog.DiscardHandler), Access: &access.Control{Store: db, Log: slog.New(slog.DiscardHandler)}})
	for by := time.Now().Add(90 * time.Second); ; time.Sleep(time.Millisecond) { // Run has to have begun
		if _, err := copier.Live(t.Context(), arn); err == nil {
			return c
		} else if time.Now().After(by) {
			t.Fatal(err)
		}
	}
}

// locate finds a node that describes the stream, and has none when it is to be copied.
func (c *copies) locate() func(string) (relay.Place, bool) {
	owner := (&relay.Owner{Source: func(string) *relay.Source { return c.source }}).Endpoints()
	mux := http.NewServeMux()
	mux.Handle("GET /streams/{stream}/channel", owner["GET streams/{stream}/channel"])
	mux.Handle("GET /streams/{stream}/thumbnail", owner["GET streams/{stream}/thumbnail"])
	mux.HandleFunc("GET /streams/{stream}", func(w http.ResponseWriter, _ *http.Request) {
		c.begun.Add(1)
		http.Error(w, "it has just ended", http.StatusNotFound)
	})
	return func(string) (relay.Place, bool) {
		return relay.Place{Node: "a", StreamID: c.id.Load().(string), Do: func(r *http.Request) (*http.Response, error) {
			if c.away.Load() {
				return nil, errors.New("connection refused")
			}
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, r)
			return w.Result(), nil
		}}, true
	}
}

// ask has a viewer ask for a stream that is not known yet.
func (c *copies) ask(id, path string, want int, copied bool) *httptest.ResponseRecorder {
	c.Helper()
	c.id.Store(id)
	admitted, begun := c.admitted.Load(), c.begun.Load()
	w := httptest.NewRecorder()
	c.h.ServeHTTP(w, httptest.NewRequest("GET", Root+path, nil))
	if w.Code != want || (c.admitted.Load() > admitted) != copied || (c.begun.Load() > begun) != (copied && !c.full.Load()) {
		c.Errorf("GET %s = %d %s, want %d; %d copies were admitted, %d begun", path, w.Code, w.Body, want, c.admitted.Load()-admitted, c.begun.Load()-begun)
	}
	return w
}

// A stream of another node is copied only for a viewer who may watch it:
// not for one without a token or with the name of a viewer session that was made up. Who
// may, and comes when there is no room, has to try again.
func TestCopiesAreAuthorized(t *testing.T) {
	c := startCopies(t)
	madeUp := strings.Repeat("0", 32)
	c.source.Channel.Authorized = true
	c.ask("st-1", name+".m3u8", http.StatusForbidden, false)
	c.ask("st-2", name+"/"+madeUp+"/st-2/source/playlist.m3u8", http.StatusForbidden, false)
	c.ask("st-3", "authorize/"+name+"/"+madeUp+"/st-3/source/0.ts", http.StatusForbidden, false)
	viewer := c.h.names.give(sessionOf(c.source, "st-4"), &access.Grant{})
	c.ask("st-4", name+"/"+viewer+"/st-4/source/playlist.m3u8", http.StatusNotFound, true)

	c.source.Channel.Authorized = false
	c.ask("st-5", name+"/"+madeUp+"/st-5/source/playlist.m3u8", http.StatusNotFound, false)
	c.ask("st-6", name+".m3u8", http.StatusNotFound, true) // its owner has ended it meanwhile
	c.full.Store(true)
	if w := c.ask("st-7", name+".m3u8", http.StatusServiceUnavailable, true); w.Header().Get("Retry-After") == "" {
		t.Error("a viewer is not told when to try again")
	}
	viewer = c.h.names.give(sessionOf(c.source, "st-8"), &access.Grant{})
	c.ask("st-8", name+"/"+viewer+"/st-8/source/playlist.m3u8", http.StatusServiceUnavailable, true)
	c.ask("st-9", "authorize/"+name+"/"+viewer+"/st-9/source/0.ts", http.StatusForbidden, true)

	c.away.Store(true)
	for _, path := range []string{name + ".m3u8", name + "/" + viewer + "/st-10/source/playlist.m3u8"} {
		w := c.ask("st-10", path, http.StatusServiceUnavailable, false)
		if w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "stream_unavailable") {
			t.Errorf("GET %s, of a node that does not answer: %v %s", path, w.Header(), w.Body)
		}
	}
}

// The poster of a stream of another node is the thumbnail that its owner has, for whoever may
// watch, and nothing is copied for it.
func TestPosterOfAnotherNode(t *testing.T) {
	c := startCopies(t)
	image, made := "a JPEG image", time.Date(2026, 11, 28, 5, 0, 0, 0, time.UTC)
	c.source.Thumbnail = func() ([]byte, time.Time) { return []byte(image), made }
	w := c.ask("st-1", name+".jpg", http.StatusOK, false)
	if h := w.Header(); w.Body.String() != image || h.Get("Content-Type") != "image/jpeg" || h.Get("Last-Modified") != made.Format(http.TimeFormat) {
		t.Errorf("the poster is %q %v", w.Body, h)
	}
	image = ""
	c.ask("st-2", name+".jpg", http.StatusNoContent, false)
	image = "a JPEG image"
	c.source.Channel.Authorized = true
	c.ask("st-3", name+".jpg", http.StatusNoContent, false)
	c.source.Channel = ivs.Channel{ARN: c.source.Channel.ARN, PlaybackRestrictionPolicyARN: "arn:aws:ivs:us-west-2:123456789012:playback-restriction-policy/none"}
	c.ask("st-4", name+".jpg", http.StatusServiceUnavailable, false) // there is no such policy to read
	c.source.Channel.PlaybackRestrictionPolicyARN = ""
	c.away.Store(true)
	c.ask("st-5", name+".jpg", http.StatusNoContent, false)
}

// sessionOf is a stream of that source, as the node that has it sees it.
func sessionOf(s *relay.Source, id string) stream {
	return ofSession(&live.Session{Channel: s.Channel, StreamID: id})
}
