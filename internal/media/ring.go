package media

import (
	"io"
	"sync"
	"time"
)

const (
	ringBytes  = 8 << 20 // some 8 s of the highest bit rate that is accepted
	ringFrames = 4096
)

// A Ring keeps the newest frames of a broadcast for readers that may be slower than the
// encoder: it has one writer, which never waits, and any number of cursors. Old frames
// are overwritten. The zero Ring is ready to use, and allocates its 8 MiB with the first
// frame.
type Ring struct {
	mu     sync.Mutex
	cond   sync.Cond // on mu; signalled at each frame and each Close
	buf    []byte    // guarded by mu
	slots  []slot    // guarded by mu; frame n is in slots[n%ringFrames]
	head   int64     // guarded by mu; number of the oldest frame
	tail   int64     // guarded by mu; number of the next frame
	end    int64     // guarded by mu; where the next frame's bytes go, modulo ringBytes
	newest time.Duration
	closed bool          // guarded by mu
	done   chan struct{} // guarded by mu; closed with the ring; nil without a waiter
}

// A slot is a frame without its bytes, and where they begin.
type slot struct {
	frame Frame
	start int64
	size  int
}

// WriteFrame copies f into the ring. A frame larger than the ring is dropped. It returns
// io.ErrClosedPipe after Close.
func (r *Ring) WriteFrame(f Frame) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.initLocked()
	if r.closed {
		return io.ErrClosedPipe
	}
	if len(f.Data) > ringBytes {
		return nil
	}
	start := r.end
	if at := start % ringBytes; at+int64(len(f.Data)) > ringBytes {
		start += ringBytes - at // a frame lies in one piece
	}
	r.end = start + int64(len(f.Data))
	for r.head < r.tail && (r.tail-r.head == ringFrames || r.slots[r.head%ringFrames].start < r.end-ringBytes) {
		r.head++
	}
	copy(r.buf[start%ringBytes:], f.Data)
	size := len(f.Data)
	f.Data = nil
	r.slots[r.tail%ringFrames] = slot{f, start, size}
	r.tail++
	r.newest = max(r.newest, f.DTS)
	r.cond.Broadcast()
	return nil
}

func (r *Ring) initLocked() {
	if r.cond.L == nil {
		r.cond.L = &r.mu
		r.buf, r.slots = make([]byte, ringBytes), make([]slot, ringFrames)
	}
}

// Close makes cursors return io.EOF after the remaining frames.
func (r *Ring) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.initLocked()
	r.closeLocked()
}

func (r *Ring) closeLocked() {
	r.closed = true
	if r.done != nil {
		close(r.done)
		r.done = nil
	}
	r.cond.Broadcast()
}

// Done returns a channel that is closed when the ring is closed: nothing more will be
// written to it.
func (r *Ring) Done() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done == nil {
		r.done = make(chan struct{})
	}
	done := r.done
	if r.closed {
		r.closeLocked()
	}
	return done
}

// Discard closes the ring and frees its memory. Cursors have nothing left to read.
func (r *Ring) Discard() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cond.L = &r.mu
	r.head, r.buf, r.slots = r.tail, nil, nil
	r.closeLocked()
}

// A Cursor reads a Ring from one goroutine. It is a Reader.
type Cursor struct {
	MaxLag time.Duration // maximum distance behind the newest frame, beyond which it skips; 0 means the size of the ring

	ring    *Ring
	next    int64
	seek    bool   // nothing is read before a key frame
	buf     []byte // the frame that was read last
	skipped int64  // guarded by ring.mu; frames
	jumps   int64  // guarded by ring.mu
	closed  bool   // guarded by ring.mu
}

// Cursor returns a reader that begins with the newest key frame of video, or with the
// oldest remaining frame.
func (r *Ring) Cursor(newest bool) *Cursor {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.initLocked()
	c := &Cursor{ring: r, next: r.head, seek: true}
	if newest {
		c.toKeyLocked()
	}
	return c
}

// ReadFrame waits for the next frame. A cursor that has fallen too far behind continues
// at the newest key frame. Frame.Data is valid until the next call. It returns io.EOF at
// the end of a closed Ring, and io.ErrClosedPipe after Close.
func (c *Cursor) ReadFrame() (Frame, error) {
	r := c.ring
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		switch {
		case c.closed:
			return Frame{}, io.ErrClosedPipe
		case c.next == r.tail && r.closed:
			return Frame{}, io.EOF
		case c.next == r.tail:
			r.cond.Wait()
			continue
		case c.lateLocked():
			c.jumps++
			c.toKeyLocked()
			continue
		}
		s := &r.slots[c.next%ringFrames]
		c.next++
		if c.seek && !(s.frame.Key && s.frame.Track.IsVideo()) {
			continue
		}
		c.seek = false
		f := s.frame
		at := s.start % ringBytes
		c.buf = append(c.buf[:0], r.buf[at:at+int64(s.size)]...)
		f.Data = c.buf
		return f, nil
	}
}

func (c *Cursor) lateLocked() bool {
	r := c.ring
	if c.next < r.head {
		return true
	}
	return !c.seek && c.MaxLag > 0 && r.newest-r.slots[c.next%ringFrames].frame.DTS > c.MaxLag
}

// toKeyLocked moves on to the newest key frame that was not read. Without one
// it waits for the next.
func (c *Cursor) toKeyLocked() {
	r, from := c.ring, c.next
	c.next, c.seek = r.tail, true
	for n := r.tail - 1; n >= max(from, r.head); n-- {
		if f := r.slots[n%ringFrames].frame; f.Key && f.Track.IsVideo() {
			c.next = n
			break
		}
	}
	c.skipped += c.next - from
}

// Skipped returns how many frames were skipped, and on how many occasions. It may be
// called from any goroutine.
func (c *Cursor) Skipped() (frames, jumps int64) {
	c.ring.mu.Lock()
	defer c.ring.mu.Unlock()
	return c.skipped, c.jumps
}

// Lag returns how far the next frame to be read is behind the newest one. It may be
// called from any goroutine.
func (c *Cursor) Lag() time.Duration {
	r := c.ring
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.next == r.tail || c.next < r.head {
		return 0
	}
	return r.newest - r.slots[c.next%ringFrames].frame.DTS
}

// Close ends reading, including a ReadFrame that is waiting. It may be called from any
// goroutine.
func (c *Cursor) Close() {
	c.ring.mu.Lock()
	defer c.ring.mu.Unlock()
	c.closed = true
	c.ring.cond.Broadcast()
}
