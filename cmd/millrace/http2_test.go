package main

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"github.com/millrace/millrace/internal/cluster"
	"github.com/millrace/millrace/internal/playback"
	"github.com/millrace/millrace/internal/record"
)

// Requests of one address over HTTP/2 that are not answered yet leave those of playback, of
// recordings and of other nodes alone, however many they are; without a node's signature,
// one to a path of nodes is among them.
func TestLimitOfHTTP2(t *testing.T) {
	inside, leave := make(chan struct{}), make(chan struct{})
	var held sync.WaitGroup
	next := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		inside <- struct{}{}
		<-leave
	})
	signed := func(r *http.Request) bool { return r.Header.Get("Signed") != "" }
	limited := config{}.limitHTTP2(next, 20, signed)
	redirecting := config{}
	redirecting.RedirectHTTP = true
	limitedRedirects := redirecting.limitHTTP2(next, 1, signed)
	hold := func(handler http.Handler, path, signature string) int {
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(t.Context(), "GET", path, nil)
		r.Header.Set("Signed", signature)
		served := make(chan struct{})
		held.Go(func() { defer close(served); handler.ServeHTTP(w, r) })
		select {
		case <-inside:
			return http.StatusOK
		case <-served:
			return w.Code
		}
	}
	n := 0
	for hold(limited, "/nothing", "") == http.StatusOK {
		n++
	}
	if n != 9 {
		t.Errorf("one address has %d of 20 requests, want 9", n)
	}
	node := cluster.Root + "relay"
	for _, c := range []struct {
		path, signature string
		want            int
	}{
		{node, "", 503}, {"/nothing", "yes", 503}, {cluster.Root + "../nothing", "yes", 503}, {playback.Root + "../nothing", "", 503},
		{node, "yes", 200}, {playback.Root + "v1/x.m3u8", "", 200}, {record.Root + "x", "", 200},
	} {
		for range 25 {
			if got := hold(limited, c.path, c.signature); got != c.want {
				t.Fatalf("%s with signature %q: %d, want %d", c.path, c.signature, got, c.want)
			}
		}
	}
	if got := []int{hold(limitedRedirects, playback.Root+"v1/x.m3u8", ""), hold(limitedRedirects, playback.Root+"v1/x.m3u8", ""), hold(limitedRedirects, node, "yes")}; !slices.Equal(got, []int{200, 503, 200}) {
		t.Errorf("two of playback that are redirected, and one of a node: %d, want 200, 503, 200", got)
	}
	close(leave)
	held.Wait()
}
