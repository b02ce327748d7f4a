package main

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/proxies"
)

// What the ports take at a time, where the process has the descriptors and the
// machine the memory for it: see divide. docs/limits.md has all bounds.
const (
	maxRTMPConns  = 8_192   // on RTMP, and as many on RTMPS
	maxHTTPConns  = 16_384  // half of them from one address: a proxy in front is one
	maxViews      = 20_000  // playback requests, most of which wait
	maxRecordings = 1_024   // requests for recordings, each of which has something open
	maxOthers     = 4_096   // requests over HTTP/2 for anything else
	maxCalls      = 1_024   // API calls, each of which may have a body in memory
	maxHeaders    = 8 << 20 // bytes of headers that are being received
)

// fewConns bounds what counts as few: on a full port, an address with fewer connections
// gets another one, in the place of one of an address that has more.
const fewConns = 8

// A connLimit closes connections over a limit as soon as they are accepted.
// What is open may keep its place only as long as the server's timeouts allow, and
// where the limit is reached, as long as addresses with few need none: so probes
// and operators get through to a port that a few addresses have filled.
type connLimit struct {
	max     int
	perAddr int             // of them from one address
	proxies proxies.Trusted // without such a share: they are many clients

	mu   sync.Mutex
	open map[net.Conn]*place     // guarded by mu
	from map[netip.Addr]*peer    // guarded by mu
	many map[netip.Addr]struct{} // guarded by mu; those with more than fewConns
}

// A peer is an address with its connections.
type peer struct {
	addr  netip.Addr
	conns map[net.Conn]*place
	busy  int // of them, those with a request in progress
}

// A place is that of a connection.
type place struct {
	of   *peer
	busy bool
}

// count is how many connections it has; of nil, none.
func (p *peer) count() int {
	if p == nil {
		return 0
	}
	return len(p.conns)
}

// idle is how many of them have no request in progress; of nil, none.
func (p *peer) idle() int {
	if p == nil {
		return 0
	}
	return len(p.conns) - p.busy
}

// watch is an http.Server's ConnState.
func (l *connLimit) watch(c net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		if refused := l.enter(c); refused != nil {
			cut(refused)
		}
	case http.StateActive, http.StateIdle:
		l.mark(c, state == http.StateActive)
	case http.StateClosed, http.StateHijacked:
		l.mu.Lock()
		defer l.mu.Unlock()
		l.leaveLocked(c)
	}
}

// mark notes whether a request is in progress on c.
func (l *connLimit) mark(c net.Conn, busy bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.open[c]
	switch {
	case at == nil: // it was over a limit
	case busy && !at.busy:
		at.busy, at.of.busy = true, at.of.busy+1
	case !busy && at.busy:
		at.busy, at.of.busy = false, at.of.busy-1
	}
}

// cut closes a connection without sending a TLS close_notify, which could block. The
// goroutine of the connection gets an error from its next read.
func cut(c net.Conn) {
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	c.Close()
}

// enter counts c, and returns the connection that is to be closed: c itself, or
// the one that gives up its place.
func (l *connLimit) enter(c net.Conn) (refused net.Conn) {
	source, isProxy := proxies.ClientOf(c.RemoteAddr().String()), l.proxies.HasHost(c.RemoteAddr().String())
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.from[source].count() >= l.perAddr && !isProxy {
		return c
	}
	if len(l.open) >= l.max {
		if refused = l.displacedLocked(source); refused == nil {
			return c
		}
		l.leaveLocked(refused)
	}
	if l.open == nil {
		l.open, l.from, l.many = map[net.Conn]*place{}, map[netip.Addr]*peer{}, map[netip.Addr]struct{}{}
	}
	p := l.from[source]
	if p == nil {
		p = &peer{addr: source, conns: map[net.Conn]*place{}}
		l.from[source] = p
	}
	at := &place{of: p}
	l.open[c], p.conns[c] = at, at
	if p.count() > fewConns && !isProxy {
		l.many[source] = struct{}{}
	}
	return refused
}

// displacedLocked returns the connection that gives its place to one of source, an
// address with fewer than fewConns; nil if there is none. It belongs to the address that
// has the most, more than fewConns, and has no request in progress if possible.
func (l *connLimit) displacedLocked(source netip.Addr) (c net.Conn) {
	if l.from[source].count() >= fewConns {
		return nil
	}
	var of *peer
	for address := range l.many {
		p := l.from[address]
		idle, found := p.idle() > 0, of.idle() > 0
		if of == nil || idle && !found || idle == found && p.count() > of.count() {
			of = p
		}
	}
	if of == nil {
		return nil
	}
	for conn, at := range of.conns {
		if c = conn; !at.busy || of.idle() == 0 {
			break
		}
	}
	return c
}

func (l *connLimit) leaveLocked(c net.Conn) {
	at := l.open[c]
	if at == nil {
		return // it was over a limit
	}
	delete(l.open, c)
	p := at.of
	delete(p.conns, c)
	if at.busy {
		p.busy--
	}
	switch n := p.count(); {
	case n == 0:
		delete(l.from, p.addr)
	case n <= fewConns:
		delete(l.many, p.addr)
	}
}

// A requestLimit responds with 503 if its handler already serves max requests, or if the
// client would not leave as many as it has, and a tenth of max, to others.
type requestLimit struct {
	handler http.Handler
	max     int
	sent    bool // a request of HTTP/2 counts until its answer is sent

	mu      sync.Mutex
	serving proxies.Count // guarded by mu
}

// ServeHTTP calls the handler if there is room.
func (l *requestLimit) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	source := proxies.ClientOf(r.RemoteAddr) // behind a trusted proxy, the address in its header
	if !l.enter(source) {
		refuseBusy(w, r)
		return
	}
	defer l.leave(source)
	l.handler.ServeHTTP(w, r)
	if l.sent && r.ProtoMajor == 2 {
		awaitSent(w, r)
	}
}

// maxUnsent is the number of unsent answers of an HTTP/2 connection that do not count.
const maxUnsent = 2

// awaitSent waits until the client has taken an answer, or is cut off. An answer, or its
// end, of less than 4 KiB would be sent after its handler has returned; a client that takes
// nothing (its windows are 0) keeps it in memory, with all that belongs to its request, for
// as long as it may take. Most connections have no request in progress every now and then:
// so their answers need not be waited for.
func awaitSent(w http.ResponseWriter, r *http.Request) {
	if c := connOf(r); c != nil {
		if c.unsent.Add(1) <= maxUnsent {
			return
		}
		c.unsent.Add(-1)
	}
	_ = http.NewResponseController(w).Flush() // the client may have left
}

// connOf is the connection of a request; nil outside of countHeaders.
func connOf(r *http.Request) *headerConn {
	of, ok := r.Context().Value(resetsKey{}).(*resets)
	if !ok {
		return nil
	}
	nc := of.conn
	if secure, ok := nc.(*tls.Conn); ok {
		nc = secure.NetConn()
	}
	c, _ := nc.(*headerConn)
	return c
}

// refuseBusy answers with 503. Over HTTP/2 that has no body, which would have to wait for
// the client.
func refuseBusy(w http.ResponseWriter, r *http.Request) {
	hls.AllowAnyOrigin(w.Header(), "Retry-After")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Retry-After", "1")
	if r.ProtoMajor == 2 {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	http.Error(w, "the server is busy", http.StatusServiceUnavailable)
}

func (l *requestLimit) enter(source netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.serving.Share(source, l.max) {
		return false
	}
	l.serving.Add(source, 1)
	return true
}

func (l *requestLimit) leave(source netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.serving.Add(source, -1)
}

// gauge is the number of requests in progress.
func (l *requestLimit) gauge(name, help string) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
		l.mu.Lock()
		defer l.mu.Unlock()
		return float64(l.serving.Total())
	})
}

// How many requests the client of an HTTP/2 connection may abandon: in a burst, and per
// second. Reset streams do not count against the limit of concurrent streams, but each has
// the cost of a request (CVE-2023-44487).
const (
	resetBurst = 500
	resetRate  = 50
)

// resets counts the requests that a client has abandoned on one connection.
type resets struct {
	conn net.Conn

	mu    sync.Mutex
	count float64   // guarded by mu; falls by resetRate a second
	at    time.Time // guarded by mu; when count was that
}

type resetsKey struct{}

// withResets is an http.Server's ConnContext.
func withResets(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, resetsKey{}, &resets{conn: c})
}

// limitResets is for HTTP/2: it closes connections whose client abandons too many
// requests, except those of trusted proxies, which forward the requests of many clients.
func limitResets(handler http.Handler, trusted proxies.Trusted) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(w, r)
		if r.Context().Err() != nil && !trusted.HasHost(r.RemoteAddr) {
			countReset(r)
		}
	})
}

func countReset(r *http.Request) {
	if c, ok := r.Context().Value(resetsKey{}).(*resets); ok && c.tooMany(time.Now()) {
		c.conn.Close()
	}
}

// tooMany counts an abandoned request, and reports whether it is one too many.
func (c *resets) tooMany(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count = max(c.count-resetRate*now.Sub(c.at).Seconds(), 0) + 1
	c.at = now
	return c.count > resetBurst
}
