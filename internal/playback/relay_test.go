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

// A stream of another node is copied only for a viewer who may watch it:
// not for one without a token or with the name of a viewer session that was made up. Who
// may, and comes when there is no room, has to try again.
func TestCopiesAreAuthorized(t *testing.T) {
	arn, _ := channelARN(name)
	source := &relay.Source{Channel: ivs.Channel{ARN: arn}, Stream: &hls.Stream{}, Viewers: &audience.Viewers{}}
	owner := (&relay.Owner{Source: func(string) *relay.Source { return source }}).Endpoints()
	mux := http.NewServeMux()
	mux.Handle("GET /streams/{stream}/channel", owner["GET streams/{stream}/channel"])
	var copies, admitted atomic.Int64
	mux.HandleFunc("GET /streams/{stream}", func(w http.ResponseWriter, _ *http.Request) {
		copies.Add(1)
		http.Error(w, "it has just ended", http.StatusNotFound)
	})
	var stream atomic.Value // the id
	var away atomic.Bool    // its owner does not answer
	place := func(string) (relay.Place, bool) {
		return relay.Place{Node: "a", StreamID: stream.Load().(string), Do: func(r *http.Request) (*http.Response, error) {
			if away.Load() {
				return nil, errors.New("connection refused")
			}
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, r)
			return w.Result(), nil
		}}, true
	}
	var full atomic.Bool
	copier := &relay.Relay{Locate: place, Log: slog.New(slog.DiscardHandler), Shares: func(string) *audience.Shares { return nil },
		Admit: func(ivs.Channel, string) (hls.Share, func(), error) {
			admitted.Add(1)
			if full.Load() {
				return nil, nil, errors.New("the machine is full")
			}
			return nil, func() {}, nil
		}}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- copier.Run(ctx) }()
	t.Cleanup(func() { stop(); <-ended })
	db := storetest.Open(t, storetest.SQLite(t))
	h := New(Config{Hub: &live.Hub{}, Relay: copier, Keys: oneKey, Log: slog.New(slog.DiscardHandler), Access: &access.Control{Store: db, Log: slog.New(slog.DiscardHandler)}})
	stream.Store("st-0")
	for by := time.Now().Add(90 * time.Second); ; time.Sleep(time.Millisecond) { // Run has to have begun
		if _, err := copier.Live(t.Context(), arn); err == nil {
			break
		} else if time.Now().After(by) {
			t.Fatal(err)
		}
	}
	ask := func(id, path string, want int, copied bool) *httptest.ResponseRecorder {
		t.Helper()
		stream.Store(id) // none of it is known yet
		before, begun := admitted.Load(), copies.Load()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", Root+path, nil))
		if w.Code != want || (admitted.Load() > before) != copied || (copies.Load() > begun) != (copied && !full.Load()) {
			t.Errorf("GET %s = %d %s, want %d; %d copies were admitted, %d begun", path, w.Code, w.Body, want, admitted.Load()-before, copies.Load()-begun)
		}
		return w
	}
	madeUp := strings.Repeat("0", 32)
	source.Channel.Authorized = true
	ask("st-1", name+".m3u8", http.StatusForbidden, false)
	ask("st-2", name+"/"+madeUp+"/st-2/source/playlist.m3u8", http.StatusForbidden, false)
	ask("st-3", "authorize/"+name+"/"+madeUp+"/st-3/source/0.ts", http.StatusForbidden, false)
	viewer := h.names.give(sessionOf(source, "st-4"), &access.Grant{})
	ask("st-4", name+"/"+viewer+"/st-4/source/playlist.m3u8", http.StatusNotFound, true)

	source.Channel.Authorized = false
	ask("st-5", name+"/"+madeUp+"/st-5/source/playlist.m3u8", http.StatusNotFound, false)
	ask("st-6", name+".m3u8", http.StatusNotFound, true) // its owner has ended it meanwhile
	full.Store(true)
	if w := ask("st-7", name+".m3u8", http.StatusServiceUnavailable, true); w.Header().Get("Retry-After") == "" {
		t.Error("a viewer is not told when to try again")
	}
	viewer = h.names.give(sessionOf(source, "st-8"), &access.Grant{})
	ask("st-8", name+"/"+viewer+"/st-8/source/playlist.m3u8", http.StatusServiceUnavailable, true)
	ask("st-9", "authorize/"+name+"/"+viewer+"/st-9/source/0.ts", http.StatusForbidden, true)

	away.Store(true)
	for _, path := range []string{name + ".m3u8", name + "/" + viewer + "/st-10/source/playlist.m3u8"} {
		w := ask("st-10", path, http.StatusServiceUnavailable, false)
		if w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "stream_unavailable") {
			t.Errorf("GET %s, of a node that does not answer: %v %s", path, w.Header(), w.Body)
		}
	}
}

// sessionOf is a stream of that source, as the node that has it sees it.
func sessionOf(s *relay.Source, id string) stream {
	return ofSession(&live.Session{Channel: s.Channel, StreamID: id})
}
