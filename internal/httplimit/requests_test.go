package httplimit

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/proxies"
)

// A connection over the limit is closed at once, and a place that is given back
// is given out again.
func TestConnectionLimit(t *testing.T) {
	for name, limit := range map[string]*proxies.Conns{"in all": {Max: 2, PerClient: 3, Yields: yields}, "from one address": {Max: 3, PerClient: 2, Yields: yields}} {
		t.Run(name, func(t *testing.T) { testConnectionLimit(t, limit) })
	}
}

func testConnectionLimit(t *testing.T, limit *proxies.Conns) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") }))
	server.Config.ConnState = watch(limit)
	server.Listener, _ = CountHeaders(server.Config, 1<<20, nil, server.Listener, nil)
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
	for {
		if _, ok := served(); ok { // else its place was not given back yet
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Beyond the limit requests are refused, and those of one address before those of
// others: it may have as many as it leaves room for. A place that is given back is
// given out again.
func TestRequestLimit(t *testing.T) {
	inside, leave := make(chan struct{}), make(chan struct{})
	var held sync.WaitGroup
	l := &Requests{Max: 20, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
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
