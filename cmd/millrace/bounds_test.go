package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
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

func TestRequestLimit(t *testing.T) {
	inside, leave := make(chan struct{}), make(chan struct{})
	h := limited(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inside <- struct{}{}
		<-leave
	}), 1)
	get := func(ctx context.Context) int {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "GET", "/", nil))
		return w.Code
	}
	first := make(chan int)
	go func() { first <- get(t.Context()) }()
	<-inside
	if got := get(t.Context()); got != http.StatusServiceUnavailable {
		t.Errorf("second request = %d, want 503", got)
	}
	close(leave)
	if got := <-first; got != http.StatusOK {
		t.Errorf("first request = %d", got)
	}
	go func() { <-inside }()
	if got := get(t.Context()); got != http.StatusOK {
		t.Errorf("request after the first = %d", got)
	}
}
