package main

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/proxies"
)

// What of the headers of a request is not counted while it is received, in bytes: of
// most requests all, with TLS after its handshake.
const (
	freeHeader    = 1 << 10
	freeTLSHeader = 4 << 10
)

// headerCost is how many bytes of memory net/http takes for a byte of headers that
// consist of names of two letters.
const headerCost = 40

// A headerLimit bounds the bytes of headers that are being received over HTTP/1.1:
// net/http keeps what has come before any handler is asked, for as long as the end is
// not there. The connection that exceeds the limit is closed.
type headerLimit struct {
	max     int // bytes, a quarter of them from one address
	proxies proxies.Trusted

	mu    sync.Mutex
	total int                // guarded by mu
	from  map[netip.Addr]int // guarded by mu
}

// listen returns l with connections that are counted, nil for nil.
func (h *headerLimit) listen(l net.Listener, free int) net.Listener {
	if l == nil {
		return nil
	}
	return headerListener{l, h, free}
}

type headerListener struct {
	net.Listener
	limit *headerLimit
	free  int
}

func (l headerListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &headerConn{Conn: c, limit: l.limit, free: l.free}, nil
}

// A headerConn is a connection below HTTP and TLS.
type headerConn struct {
	net.Conn
	limit *headerLimit
	free  int
	start int // bytes of http2Start that have come, -1 when it is decided; of Read, which one goroutine calls at a time

	unsent atomic.Int32 // answers over HTTP/2 that may be not sent yet: see awaitSent
	unread backpressure

	// Guarded by limit.mu:
	done    bool // nothing is counted now: a request is in progress, or HTTP/2 is spoken
	http2   bool
	read    int // bytes since the last request
	counted int // of them, those that count
}

var errHeaders = errors.New("too many headers are being received")

func (c *headerConn) Read(b []byte) (int, error) {
	c.unread.wait()
	n, err := c.Conn.Read(b)
	c.unread.add(n)
	isHTTP2 := c.startsHTTP2(b[:n])
	if isHTTP2 {
		c.unread.set(!c.ofProxy())
	}
	if !c.limit.take(c, n, isHTTP2) {
		c.Conn.Close()
		return 0, errHeaders
	}
	return n, err
}

// ofProxy reports whether c is of a trusted proxy, which passes on what many clients send.
func (c *headerConn) ofProxy() bool { return c.limit.proxies.HasHost(c.RemoteAddr().String()) }

// startsHTTP2 reports whether http2Start ends in b, which has been read. It may come in any
// number of pieces.
func (c *headerConn) startsHTTP2(b []byte) bool {
	if c.start < 0 {
		return false
	}
	rest := http2Start[c.start:]
	if len(b) < len(rest) && strings.HasPrefix(rest, string(b)) {
		c.start += len(b)
		return false
	}
	c.start = -1
	return string(b[:min(len(b), len(rest))]) == rest
}

func (c *headerConn) Write(b []byte) (n int, err error) {
	c.unread.begin()
	defer func() { c.unread.end(n) }()
	return c.Conn.Write(b)
}

// maxUnread is how much is read from a client over HTTP/2 while it does not take what is
// written to it, in bytes. Each PING or SETTINGS of 17 or 9 of them has an answer of some 70
// bytes in memory.
const maxUnread = 16 << 10

// nothingToWrite is how long no write begins if there is nothing to be written.
const nothingToWrite = 10 * time.Millisecond

// backpressure makes a client of HTTP/2 wait that sends more than it reads.
type backpressure struct {
	mu      sync.Mutex
	on      bool       // guarded by mu; HTTP/2 is spoken, by a client that is not trusted
	writing bool       // guarded by mu
	writes  int        // guarded by mu; that have begun
	came    int        // guarded by mu; bytes that may have answers that are not written yet
	changed *sync.Cond // guarded by mu; nil before the first wait
}

// set turns it on or off.
func (p *backpressure) set(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.on = on
	p.wakeLocked()
}

// wait waits until enough is written, if too much has come that may have answers: unless no
// write begins, then it was a body. A connection that is closed, and the server's limits on
// time, end each write.
func (p *backpressure) wait() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.on && p.came >= maxUnread {
		if p.changed == nil {
			p.changed = sync.NewCond(&p.mu)
		}
		if writes := p.writes; !p.writing {
			time.AfterFunc(nothingToWrite, func() { p.forget(writes) })
		}
		p.changed.Wait()
	}
}

// forget is that there are no answers to what has come, if no write has begun since.
func (p *backpressure) forget(writes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.writes == writes {
		p.came = 0
		p.wakeLocked()
	}
}

func (p *backpressure) add(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.came += n
}

func (p *backpressure) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.writing = true
	p.writes++
}

// end takes what was written off what has come, but for a third: the answer to a frame of 9
// bytes may have 13 (RST_STREAM).
func (p *backpressure) end(written int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.writing = false
	p.came = max(p.came-written*2/3, 0)
	p.wakeLocked()
}

func (p *backpressure) wakeLocked() {
	if p.changed != nil {
		p.changed.Broadcast()
	}
}

// http2Start begins a connection of HTTP/2 (RFC 9113, section 3.4).
const http2Start = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// ReadFrom is for sendfile(2).
func (c *headerConn) ReadFrom(src io.Reader) (int64, error) {
	if to, ok := c.Conn.(io.ReaderFrom); ok {
		return to.ReadFrom(src)
	}
	return io.Copy(struct{ io.Writer }{c.Conn}, src)
}

// CloseWrite lets the client read a refusal to its end.
func (c *headerConn) CloseWrite() error {
	if under, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return under.CloseWrite()
	}
	return nil
}

// take counts n bytes that c has read, if there is room for them.
func (h *headerLimit) take(c *headerConn, n int, isHTTP2 bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	c.http2 = c.http2 || isHTTP2
	if c.done || c.http2 {
		return true
	}
	c.read += n
	more := c.read - c.free - c.counted
	if more <= 0 {
		return true
	}
	source := proxies.ClientOf(c.RemoteAddr().String())
	if h.total+more > h.max || h.from[source]+more > h.max/4 && !c.ofProxy() {
		return false
	}
	if h.from == nil {
		h.from = map[netip.Addr]int{}
	}
	c.counted += more
	h.total += more
	h.from[source] += more
	return true
}

// watch is an http.Server's ConnState. A connection is active when the headers of a
// request have been received.
func (h *headerLimit) watch(nc net.Conn, state http.ConnState) {
	speaksHTTP2 := false
	if secure, ok := nc.(*tls.Conn); ok {
		nc = secure.NetConn()
		speaksHTTP2 = state == http.StateActive && secure.ConnectionState().NegotiatedProtocol == "h2"
	}
	c, ok := nc.(*headerConn)
	if !ok || state == http.StateNew {
		return
	}
	if state == http.StateIdle {
		c.unsent.Store(0)
	}
	if speaksHTTP2 {
		c.unread.set(!c.ofProxy())
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	c.done, c.http2 = state != http.StateIdle, c.http2 || speaksHTTP2
	c.read = 0
	if c.counted == 0 {
		return
	}
	source := proxies.ClientOf(c.RemoteAddr().String())
	h.total -= c.counted
	if h.from[source] -= c.counted; h.from[source] == 0 {
		delete(h.from, source)
	}
	c.counted = 0
}
