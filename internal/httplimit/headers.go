package httplimit

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

// HeaderCost is how many bytes of memory net/http takes for a byte of headers that
// consist of names of two letters.
const HeaderCost = 40

// A headerLimit bounds the bytes of headers that are being received over HTTP/1.1:
// net/http keeps what has come before any handler is asked, for as long as the end is
// not there. The connection that exceeds the limit is closed.
type headerLimit struct {
	max     int // bytes, a quarter of them from one address
	trusted proxies.Trusted

	mu      sync.Mutex
	counted proxies.Count // guarded by mu; bytes
}

// CountHeaders has server bound the headers that are being received on the listeners
// that it returns: most bytes at a time, a quarter of them from one client.
func CountHeaders(server *http.Server, most int, trusted proxies.Trusted, plain, secure net.Listener) (net.Listener, net.Listener) {
	headers, others := &headerLimit{max: most, trusted: trusted}, server.ConnState
	server.ConnState = func(c net.Conn, state http.ConnState) {
		headers.watch(c, state)
		others(c, state)
	}
	return headers.listen(plain, freeHeader), headers.listen(secure, freeTLSHeader)
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
	place *proxies.Place // of the server's ConnState; nil without one
	start int            // bytes of http2Start that have come, -1 when it is decided; of Read, which one goroutine calls at a time

	unsent atomic.Int32                 // answers over HTTP/2 that may be not sent yet: see awaitSent
	unread atomic.Pointer[backpressure] // nil over HTTP/1.1, and for clients that are trusted

	mu      sync.Mutex
	done    bool // guarded by mu; nothing is counted now: a request is in progress, or HTTP/2 is spoken
	http2   bool // guarded by mu
	read    int  // guarded by mu; bytes since the last request
	counted int  // guarded by mu; of them, those that count
}

var errHeaders = errors.New("too many headers are being received")

func (c *headerConn) Read(b []byte) (int, error) {
	unread := c.unread.Load()
	if unread != nil {
		unread.wait()
	}
	n, err := c.Conn.Read(b)
	if unread != nil {
		unread.add(n)
	}
	if c.startsHTTP2(b[:n]) {
		c.speakHTTP2()
	}
	if !c.take(n) {
		c.Conn.Close()
		return 0, errHeaders
	}
	return n, err
}

// speakHTTP2 is called when the connection speaks HTTP/2.
func (c *headerConn) speakHTTP2() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.http2 && !c.ofProxy() {
		c.unread.Store(&backpressure{})
	}
	c.http2 = true
}

// Trust is called for a request of another node, which forwards encoders: its connection
// is read from however much it has not taken of what was written.
func Trust(r *http.Request) {
	c := connOf(r)
	if c == nil {
		return
	}
	if unread := c.unread.Swap(nil); unread != nil {
		unread.forget()
	}
}

// ofProxy reports whether c is of a trusted proxy, which passes on what many clients send.
func (c *headerConn) ofProxy() bool { return c.limit.trusted.HasHost(c.RemoteAddr().String()) }

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

func (c *headerConn) Write(b []byte) (int, error) {
	unread := c.unread.Load()
	if unread == nil {
		return c.Conn.Write(b)
	}
	unread.begin()
	n, err := c.Conn.Write(b)
	unread.end(n)
	return n, err
}

// maxUnread is how much is read from a client over HTTP/2 while it does not take what is
// written to it, in bytes. Each PING or SETTINGS of 17 or 9 of them has an answer of some 70
// bytes in memory.
const maxUnread = 16 << 10

// nothingToWrite is after how long without a write there is nothing to be written, also on
// a busy machine. A body of the API of 256 KiB takes less than a second with it.
const nothingToWrite = 50 * time.Millisecond

// backpressure makes a client of HTTP/2 wait that sends more than it reads.
type backpressure struct {
	mu      sync.Mutex
	writing bool       // guarded by mu
	writes  int        // guarded by mu; that have begun
	came    int        // guarded by mu; bytes that may have answers that are not written yet
	changed *sync.Cond // guarded by mu; nil before the first wait
}

// wait waits until enough is written, if too much has come that may have answers: unless no
// write begins, then it was a body. A connection that is closed, and the server's limits on
// time, end each write.
func (p *backpressure) wait() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.came >= maxUnread {
		if p.changed == nil {
			p.changed = sync.NewCond(&p.mu)
		}
		if writes := p.writes; !p.writing {
			time.AfterFunc(nothingToWrite, func() { p.unlessWritten(writes) })
		}
		p.changed.Wait()
	}
}

// forget is called when there will be no answers to what has come.
func (p *backpressure) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forgetLocked()
}

func (p *backpressure) forgetLocked() {
	p.came = 0
	p.wakeLocked()
}

// unlessWritten forgets what has come, if no write has begun since.
func (p *backpressure) unlessWritten(writes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.writes == writes {
		p.forgetLocked()
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
func (c *headerConn) take(n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done || c.http2 {
		return true
	}
	c.read += n
	more := c.read - c.free - c.counted
	if more <= 0 {
		return true
	}
	if !c.limit.take(proxies.ClientOf(c.RemoteAddr().String()), more, c.ofProxy()) {
		return false
	}
	c.counted += more
	return true
}

// request is called when the headers of a request have been received, and when it is
// answered.
func (c *headerConn) request(done bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done, c.read = done, 0
	if c.counted > 0 {
		c.limit.release(proxies.ClientOf(c.RemoteAddr().String()), c.counted)
		c.counted = 0
	}
}

// take counts n bytes from one address, if there is room for them.
func (h *headerLimit) take(source netip.Addr, n int, isProxy bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.counted.Total()+n > h.max || h.counted.Of(source)+n > h.max/4 && !isProxy {
		return false
	}
	h.counted.Add(source, n)
	return true
}

// release takes off n bytes from one address.
func (h *headerLimit) release(source netip.Addr, n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counted.Add(source, -n)
}

// watch is an http.Server's ConnState. A connection is active when the headers of a
// request have been received.
func (h *headerLimit) watch(nc net.Conn, state http.ConnState) {
	secure, isTLS := nc.(*tls.Conn)
	if isTLS {
		nc = secure.NetConn()
	}
	c, ok := nc.(*headerConn)
	if !ok || state == http.StateNew {
		return
	}
	if state == http.StateIdle {
		c.unsent.Store(0)
	}
	if isTLS && state == http.StateActive && secure.ConnectionState().NegotiatedProtocol == "h2" {
		c.speakHTTP2()
	}
	c.request(state != http.StateIdle)
}
