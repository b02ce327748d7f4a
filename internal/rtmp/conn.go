package rtmp

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Message types (RTMP 1.0, 5.4, 6.2, 7.1).
const (
	kindSetChunkSize  = 1
	kindAbort         = 2
	kindAck           = 3
	kindUserControl   = 4
	kindWindowSize    = 5
	kindPeerBandwidth = 6
	kindAudio         = 8
	kindVideo         = 9
	kindDataAMF3      = 15
	kindCommandAMF3   = 17
	kindData          = 18
	kindCommand       = 20
	kindAggregate     = 22
)

// User control events (7.1.7).
const (
	eventStreamBegin  = 0
	eventPingRequest  = 6
	eventPingResponse = 7
)

// Chunk streams that we write on.
const (
	chunkControl = 2
	chunkCommand = 3
	chunkAudio   = 4
	chunkData    = 5
	chunkVideo   = 6
)

const (
	readBuffer    = 8 << 10
	defaultWindow = 2_500_000 // bytes between acknowledgements, until the peer says
	minWindow     = 16 << 10  // a peer that asks for more frequent ones does not get them

	// maxCommand bounds messages until an encoder is accepted, maxMessage after.
	maxCommand = 64 << 10
	maxMessage = 8 << 20

	maxPending = 16 << 10 // bytes of answers that wait for a flush
)

// ErrSilent is wrapped by ReadFrame's error when the encoder sent no frame for
// Server.ReadTimeout.
var ErrSilent = errors.New("no frame was received")

var errTooLate = fmt.Errorf("handshake and commands took too long: %w", os.ErrDeadlineExceeded)

// A conn is the part of the protocol that both sides share: messages in and
// out, acknowledgements, pings, and time. One goroutine reads.
type conn struct {
	nc net.Conn
	in chunkReader

	connected bool // connect has been answered: the peer understands a status
	handed    bool // to Server.Handle
	ended     bool // the close message was sent, and the peer is disconnected

	received int64  // bytes
	acked    int64  // of them acknowledged
	window   int64  // bytes that the peer sends before it wants an acknowledgement
	batch    []byte // what is left of an aggregate message
	shift    uint32 // its time less that of its first part

	// While silence is not 0, so long a time without a frame ends the connection: a
	// peer that sends a byte a second, or messages with nothing in them, is silent.
	// The deadline is not moved at each frame, which costs, but looked at when it
	// has passed.
	silence   time.Duration
	lastFrame time.Time

	cause atomic.Pointer[error] // why the connection was cut

	mu           sync.Mutex // guards what follows
	out          chunkWriter
	writeTimeout time.Duration
	writeBy      time.Time // the deadline that is set
	writeErr     error     // the first; nothing is written after it
}

func newConn(nc net.Conn, writeTimeout time.Duration) *conn {
	c := &conn{nc: nc, window: defaultWindow, writeTimeout: writeTimeout}
	c.in = chunkReader{r: bufio.NewReaderSize(c, readBuffer), chunkSize: defaultChunkSize, maxMessage: maxCommand}
	c.out.chunkSize = defaultChunkSize
	return c
}

// Read is where the connection waits, so queued answers are sent first. A peer that cannot
// be written to may still send something.
func (c *conn) Read(p []byte) (int, error) {
	_ = c.flush() // writeErr keeps it
	for {
		n, err := c.nc.Read(p)
		if n > 0 {
			c.received += int64(n)
			return n, nil
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = c.deadlinePassed()
		} else if cause := c.cause.Load(); cause != nil {
			err = *cause
		}
		if err != nil {
			return 0, err
		}
	}
}

// deadlinePassed returns nil, and sets a new deadline, if the silence has not
// yet been long enough.
func (c *conn) deadlinePassed() error {
	if cause := c.cause.Load(); cause != nil {
		return *cause
	}
	if c.silence == 0 {
		return errTooLate
	}
	left := c.silence - time.Since(c.lastFrame)
	if left <= 0 {
		return fmt.Errorf("%w for %v: %w", ErrSilent, c.silence, os.ErrDeadlineExceeded)
	}
	if err := c.nc.SetReadDeadline(time.Now().Add(left)); err != nil {
		return err
	}
	if cause := c.cause.Load(); cause != nil { // cut meanwhile: its deadline is overwritten
		return *cause
	}
	return nil
}

// watch begins to watch for silence.
func (c *conn) watch(silence time.Duration) error {
	c.silence, c.lastFrame = silence, time.Now()
	if err := c.nc.SetReadDeadline(c.lastFrame.Add(silence)); err != nil {
		return err
	}
	if cause := c.cause.Load(); cause != nil {
		return *cause
	}
	return nil
}

// cut makes the reading goroutine fail with cause, while writing still works.
// Any goroutine may call it; the first cause stays.
func (c *conn) cut(cause error) {
	if c.cause.CompareAndSwap(nil, &cause) {
		c.nc.SetReadDeadline(time.Unix(1, 0)) // a connection that is closed needs none
	}
}

// readMessage returns the next message that is not about the connection itself.
func (c *conn) readMessage() (message, error) {
	for {
		if len(c.batch) > 0 {
			return c.nextOfBatch()
		}
		m, err := c.in.read()
		if err != nil {
			return m, err
		}
		c.acknowledge()
		switch m.kind {
		case kindSetChunkSize, kindAbort, kindAck, kindWindowSize, kindPeerBandwidth:
			err = c.control(m)
		case kindUserControl:
			err = c.userControl(m.body)
		case kindAggregate:
			err = c.beginBatch(m)
		default:
			return m, nil
		}
		if err != nil {
			return message{}, err
		}
	}
}

// control obeys the messages that begin with a 32-bit number (5.4).
func (c *conn) control(m message) error {
	if len(m.body) < 4 {
		return fmt.Errorf("%w: control message of type %d with %d bytes", errProtocol, m.kind, len(m.body))
	}
	v := binary.BigEndian.Uint32(m.body)
	switch m.kind {
	case kindSetChunkSize:
		if v == 0 || v > 1<<31-1 {
			return fmt.Errorf("%w: chunk size %d", errProtocol, v)
		}
		c.in.chunkSize = int(min(v, maxChunkSize))
	case kindAbort:
		c.in.abort(v)
	case kindWindowSize:
		c.window = max(int64(v), minWindow)
	}
	// Ack: what we send is too little to be throttled by it. Peer bandwidth: our
	// window is announced at connect and stays.
	return nil
}

func (c *conn) userControl(body []byte) error {
	if len(body) < 2 {
		return fmt.Errorf("%w: user control message of %d bytes", errProtocol, len(body))
	}
	if binary.BigEndian.Uint16(body) != eventPingRequest || len(body) < 6 {
		return nil
	}
	pong := [6]byte{1: eventPingResponse}
	copy(pong[2:], body[2:6])
	c.send(chunkControl, message{kind: kindUserControl, body: pong[:]})
	return nil
}

// acknowledge reports the bytes received once a window of them has come (5.4.3).
func (c *conn) acknowledge() {
	if c.received-c.acked < c.window {
		return
	}
	c.acked = c.received
	var body [4]byte
	binary.BigEndian.PutUint32(body[:], uint32(c.received))
	c.send(chunkControl, message{kind: kindAck, body: body[:]})
}

// beginBatch takes an aggregate message apart (7.1.6). Its time is that of its
// first part, whatever that part says itself.
func (c *conn) beginBatch(m message) error {
	if len(m.body) < 11 {
		return fmt.Errorf("%w: aggregate message of %d bytes", errProtocol, len(m.body))
	}
	c.batch, c.shift = m.body, m.time-tagTime(m.body)
	return nil
}

func tagTime(tag []byte) uint32 { return uint24(tag[4:]) | uint32(tag[7])<<24 }

func (c *conn) nextOfBatch() (message, error) {
	const head, back = 11, 4
	b := c.batch
	if len(b) < head {
		return message{}, fmt.Errorf("%w: aggregate message ends in a header", errProtocol)
	}
	size := int(uint24(b[1:]))
	if len(b) < head+size {
		return message{}, fmt.Errorf("%w: aggregate message ends in a part of %d bytes", errProtocol, size)
	}
	c.batch = b[min(head+size+back, len(b)):]
	return message{kind: b[0], stream: 1, time: tagTime(b) + c.shift, body: b[head : head+size]}, nil
}

// send queues m until the connection is next read or flushed, which is also
// where an error shows. After an error nothing is kept: it would not be read.
func (c *conn) send(id byte, m message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.writeErr != nil {
		return
	}
	c.out.append(id, m, nil)
	if len(c.out.buf) > maxPending {
		_ = c.flushLocked() // writeErr keeps it
	}
}

func (c *conn) sendUint32(kind byte, v uint32, more ...byte) {
	c.send(chunkControl, message{kind: kind, body: append(binary.BigEndian.AppendUint32(nil, v), more...)})
}

// setChunkSize announces the size of our chunks and uses it from then on.
func (c *conn) setChunkSize(size int) {
	c.sendUint32(kindSetChunkSize, uint32(size))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out.chunkSize = size
}

func (c *conn) flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.flushLocked()
}

func (c *conn) flushLocked() error {
	if len(c.out.buf) == 0 || c.writeErr != nil {
		return c.writeErr
	}
	// At least half of writeTimeout is left to each write, for one call in many.
	if now := time.Now(); c.writeBy.Sub(now) < c.writeTimeout/2 {
		c.writeBy = now.Add(c.writeTimeout)
		if c.writeErr = c.nc.SetWriteDeadline(c.writeBy); c.writeErr != nil {
			c.out.buf = nil
			return c.writeErr
		}
	}
	_, c.writeErr = c.nc.Write(c.out.buf)
	if c.out.buf = c.out.buf[:0]; c.writeErr != nil {
		c.out.buf = nil
	}
	return c.writeErr
}

// linger makes sure that the last message arrives: closing a connection with unread bytes
// resets it, and a reset overtakes what was sent before. So close the write side and read
// until the peer has closed, for a limited time.
func (c *conn) linger(d time.Duration) {
	if c.flush() != nil {
		return
	}
	if half, ok := c.nc.(interface{ CloseWrite() error }); ok && half.CloseWrite() != nil {
		return
	}
	if c.nc.SetReadDeadline(time.Now().Add(d)) == nil {
		io.Copy(io.Discard, c.nc) // its end is all that matters
	}
}
