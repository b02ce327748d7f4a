package main

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/millrace/millrace/internal/proxies"
	"github.com/millrace/millrace/internal/rtmp"
)

// What the ports take at a time. docs/limits.md has all bounds.
const (
	maxRTMPConns = 8_192  // on RTMP, and as many on RTMPS
	maxHTTPConns = 16_384 // half of them from one address: a proxy in front is one
	maxViews     = 20_000 // playback requests, most of which wait
	maxCalls     = 1_024  // API calls, each of which may have a body in memory
)

// A connLimit closes connections over a limit as soon as they are accepted.
// What is open may keep its place only as long as the server's timeouts allow.
type connLimit struct {
	max     int
	perAddr int             // of them from one address
	proxies proxies.Trusted // have no such share: they are many clients

	mu   sync.Mutex
	open map[net.Conn]netip.Addr // guarded by mu
	from map[netip.Addr]int      // guarded by mu; how many of them
}

// watch is an http.Server's ConnState.
func (l *connLimit) watch(c net.Conn, state http.ConnState) {
	if state != http.StateNew && state != http.StateClosed && state != http.StateHijacked {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if state != http.StateNew {
		l.leaveLocked(c)
		return
	}
	source := rtmp.Source(c.RemoteAddr())
	if len(l.open) >= l.max || l.from[source] >= l.perAddr && !l.proxies.Has(source) {
		c.Close() // its goroutine sees that at its first read
		return
	}
	if l.open == nil {
		l.open, l.from = map[net.Conn]netip.Addr{}, map[netip.Addr]int{}
	}
	l.open[c] = source
	l.from[source]++
}

func (l *connLimit) leaveLocked(c net.Conn) {
	source, ok := l.open[c]
	if !ok {
		return // it was over a limit
	}
	delete(l.open, c)
	if l.from[source]--; l.from[source] == 0 {
		delete(l.from, source)
	}
}

// limited answers 503 where h serves max requests already.
func limited(h http.Handler, max int64) http.Handler {
	var serving atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer serving.Add(-1)
		if serving.Add(1) > max {
			w.Header().Set("Access-Control-Allow-Origin", "*")
			w.Header().Set("Cache-Control", "no-store")
			w.Header().Set("Retry-After", "1")
			http.Error(w, "the server is busy", http.StatusServiceUnavailable)
			return
		}
		h.ServeHTTP(w, r)
	})
}
