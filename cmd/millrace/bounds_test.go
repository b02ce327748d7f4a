package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"github.com/millrace/millrace/internal/cluster"
	"github.com/millrace/millrace/internal/playback"
	"github.com/millrace/millrace/internal/record"
)

// A connection over the limit is closed at once, and a place that is given back
// is given out again.
func TestConnectionLimit(t *testing.T) {
	for name, limit := range map[string]*connLimit{"in all": {max: 2, perAddr: 3}, "from one address": {max: 3, perAddr: 2}} {
		t.Run(name, func(t *testing.T) { testConnectionLimit(t, limit) })
	}
}

func testConnectionLimit(t *testing.T, limit *connLimit) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") }))
	server.Config.ConnState = limit.watch
	server.Start()
	defer server.Close()
	served := func() (nc net.Conn, ok bool) {
		nc, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
		io.WriteString(nc, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		_, err = nc.Read(make([]byte, 1))
		return nc, err == nil
	}
	first, ok1 := served()
	_, ok2 := served()
	_, ok3 := served()
	if !ok1 || !ok2 || ok3 {
		t.Fatalf("of three connections, served %v %v %v; want two", ok1, ok2, ok3)
	}
	first.Close()
	wait(t, "the place to be given back", func() bool { _, ok := served(); return ok })
}

// Beyond the limit requests are refused, and those of one address before those of
// others: it may have as many as it leaves room for. A place that is given back is
// given out again.
func TestRequestLimit(t *testing.T) {
	inside, leave := make(chan struct{}), make(chan struct{})
	var held sync.WaitGroup
	l := &requestLimit{max: 20, handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inside <- struct{}{}
		<-leave
	})}
	hold := func(address string) int {
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
		r.RemoteAddr = address
		served := make(chan struct{})
		held.Go(func() { defer close(served); l.ServeHTTP(w, r) })
		select {
		case <-inside:
			return http.StatusOK
		case <-served:
			return w.Code
		}
	}
	flood := func(address func(n int) string) (n int) {
		for hold(address(n)) == http.StatusOK {
			n++
		}
		return n
	}
	if n := flood(func(n int) string { return fmt.Sprintf("[2001:db8::%x]:%d", n, n+1) }); n != 9 {
		t.Errorf("one address has %d of 20 requests, want 9: half of what is not kept for others", n)
	}
	if got := hold("192.0.2.1:1"); got != http.StatusOK {
		t.Errorf("a request of another address = %d", got)
	}
	if n := flood(func(n int) string { return fmt.Sprintf("192.0.2.%d:1", n+2) }); n != 10 {
		t.Errorf("%d requests of other addresses are served, want 10", n)
	}
	close(leave)
	held.Wait()
	leave = make(chan struct{})
	if got := hold("[2001:db8::1]:1"); got != http.StatusOK {
		t.Errorf("a request when the others have gone = %d", got)
	}
	close(leave)
	held.Wait()
}

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
