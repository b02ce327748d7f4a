package playback

import (
	"net"
	"sync"
	"time"
)

// RecordListener returns l with connections that send TLS records of full size
// together. crypto/tls writes each record, at most 16 KB, by a call of its own;
// a part is many of them, and the calls cost more than the encryption. A record
// of full size is nearly always followed by another of the same response: it
// waits for that, and whatever is shorter sends all.
func RecordListener(l net.Listener) net.Listener { return recordListener{l} }

type recordListener struct{ net.Listener }

func (l recordListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &recordConn{Conn: c}, nil
}

const (
	fullRecord = 16 << 10 // bytes of plaintext: with header and tag a record has more (RFC 8446, section 5.2)
	joined     = 64 << 10 // bytes that are sent without waiting for more
	joinBuffer = joined + fullRecord
	// maxRecordWait is how long a record waits when nothing follows: the response
	// ends with it, or the receiver's HTTP/2 window is full, and only what waits
	// here can have it opened again.
	maxRecordWait = 10 * time.Millisecond
)

var joinBuffers = sync.Pool{New: func() any { return new([joinBuffer]byte) }}

// A recordConn is a connection below TLS.
type recordConn struct {
	net.Conn

	mu    sync.Mutex
	held  *[joinBuffer]byte // nil when nothing waits
	n     int               // bytes in held
	timer *time.Timer       // sends held; nil before the first record waited
	err   error             // of a call that sent what had waited
}

// Write may return before b is sent. What fails then is returned by the next
// call.
func (c *recordConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return 0, c.err
	}
	if c.held != nil && c.n+len(b) > joinBuffer {
		if err := c.flush(); err != nil {
			return 0, err
		}
	}
	waits := len(b) > fullRecord && len(b) < joined
	if c.held == nil {
		if !waits {
			return c.Conn.Write(b)
		}
		c.hold()
	}
	c.n += copy(c.held[c.n:], b)
	if waits && c.n < joined {
		return len(b), nil
	}
	return len(b), c.flush()
}

// hold begins to hold records, for as long as the timer allows. Callers hold mu.
func (c *recordConn) hold() {
	c.held = joinBuffers.Get().(*[joinBuffer]byte)
	if c.timer != nil {
		c.timer.Reset(maxRecordWait)
		return
	}
	c.timer = time.AfterFunc(maxRecordWait, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.held != nil {
			_ = c.flush() // the next Write returns what failed
		}
	})
}

// flush sends what waits. Callers hold mu.
func (c *recordConn) flush() error {
	c.timer.Stop()
	_, c.err = c.Conn.Write(c.held[:c.n])
	joinBuffers.Put(c.held)
	c.held, c.n = nil, 0
	return c.err
}
