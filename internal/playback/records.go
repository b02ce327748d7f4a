package playback

import (
	"errors"
	"net"
	"sync"
	"time"
)

// RecordListener returns l with connections that send several TLS records in one
// system call. crypto/tls writes each record, at most 16 KB, with a call of its own;
// a part has many of them, and the calls cost more than the encryption. A record of
// full size is nearly always followed by another of the same response: it is held
// until that comes. A shorter record is sent at once, with all that is held.
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
	// maxRecordWait is how long a record is held when none follows: the response has
	// ended, or the HTTP/2 window is full, which the receiver opens only when it has
	// received what is held here.
	maxRecordWait = 10 * time.Millisecond
)

var joinBuffers = sync.Pool{New: func() any { return new([joinBuffer]byte) }}

// A recordConn is a connection below TLS.
type recordConn struct {
	net.Conn

	mu    sync.Mutex
	held  *[joinBuffer]byte // nil if nothing is held
	n     int               // bytes in held
	timer *time.Timer       // sends held; nil before the first record is held
	err   error             // of a call that sent held

	// net/http sets and clears the deadline for each frame of HTTP/2, and a frame is
	// mostly held: only a call that sends needs it. Locked after mu.
	deadline struct {
		sync.Mutex
		wanted, set time.Time // guarded by the Mutex; set is the one of Conn
		sending     bool      // guarded by the Mutex
	}
}

// SetWriteDeadline is for calls that send: one that sends now, and those to come.
func (c *recordConn) SetWriteDeadline(t time.Time) error {
	c.deadline.Lock()
	defer c.deadline.Unlock()
	c.deadline.wanted = t
	if c.deadline.sending {
		return c.applyDeadline()
	}
	return nil
}

// SetDeadline sets both deadlines.
func (c *recordConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// applyDeadline is called with the deadline's lock held.
func (c *recordConn) applyDeadline() error {
	if c.deadline.wanted.Equal(c.deadline.set) {
		return nil
	}
	c.deadline.set = c.deadline.wanted
	return c.Conn.SetWriteDeadline(c.deadline.wanted)
}

// send sends b. Callers hold mu.
func (c *recordConn) send(b []byte) (int, error) {
	defer c.endSending()
	if err := c.beginSending(); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

func (c *recordConn) beginSending() error {
	c.deadline.Lock()
	defer c.deadline.Unlock()
	c.deadline.sending = true
	return c.applyDeadline()
}

func (c *recordConn) endSending() {
	c.deadline.Lock()
	defer c.deadline.Unlock()
	c.deadline.sending = false
}

// Write may return before b is sent. If that fails, the next call returns the error.
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
			return c.send(b)
		}
		c.hold()
	}
	c.n += copy(c.held[c.n:], b)
	if waits && c.n < joined {
		return len(b), nil
	}
	return len(b), c.flush()
}

// hold starts to hold records, until the timer expires. Callers hold mu.
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
			_ = c.flush() // the next Write returns the error
		}
	})
}

// flush sends what is held. Callers hold mu.
func (c *recordConn) flush() error {
	c.timer.Stop()
	_, c.err = c.send(c.held[:c.n])
	joinBuffers.Put(c.held)
	c.held, c.n = nil, 0
	return c.err
}
