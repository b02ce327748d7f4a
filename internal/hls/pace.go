package hls

import (
	"context"
	"io"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// StallTime is how long a client may take for each piece of media.
	StallTime = 15 * time.Second

	// piece is how many bytes a client of HTTP/1.1 must receive in that time. A slower one
	// does not reach the bit rate of any rendition.
	piece = 256 << 10

	// dataFrame is the size of one Write over HTTP/2. Each that is not larger than a frame
	// becomes one: 9 bytes of header (RFC 9113, section 4.1) and the data. So the frame
	// fills a TLS record of full size, instead of one and the beginning of another; and a
	// reader that takes nothing holds a buffer of one frame.
	dataFrame = 16<<10 - 9
)

var copyBuffers = sync.Pool{New: func() any { return new([dataFrame]byte) }}

// A Paced is a response with media whose client is disconnected unless it takes a piece
// of it every StallTime, and all of it within a limit. So no response holds what it reads
// from for longer.
type Paced struct {
	http.ResponseWriter
	control *http.ResponseController
	http2   bool
	ctx     context.Context // the request's
	left    atomic.Bool     // no more is to be sent
	cutting sync.WaitGroup  // what calls cut meanwhile
	end     time.Time
	moved   time.Time // when the deadline was set last
}

// NewPaced returns a Paced for the response w to r, with a limit for all of it.
func NewPaced(w http.ResponseWriter, r *http.Request, within time.Duration) *Paced {
	return &Paced{
		ResponseWriter: w, control: http.NewResponseController(w), http2: r.ProtoMajor >= 2,
		ctx: r.Context(), end: time.Now().Add(within),
	}
}

// Unwrap is for http.ResponseController.
func (p *Paced) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// move allows for the next piece. It fails where the request has ended or was cut
// off meanwhile, which is then not undone.
func (p *Paced) move() error {
	if now := time.Now(); now.Sub(p.moved) >= time.Second {
		p.moved = now
		by := now.Add(StallTime)
		if by.After(p.end) {
			by = p.end
		}
		_ = p.control.SetWriteDeadline(by) // where that cannot be set, the server's own holds
	}
	if p.left.Load() {
		return os.ErrDeadlineExceeded
	}
	return p.ctx.Err()
}

// cut ends the answer. Any goroutine may call it, before the handler has returned.
func (p *Paced) cut() {
	p.left.Store(true)
	_ = p.control.SetWriteDeadline(time.Now()) // where that cannot be set, the server's own holds
}

// Write sends b, which must not be larger than a piece.
func (p *Paced) Write(b []byte) (int, error) {
	if err := p.move(); err != nil {
		return 0, err
	}
	return p.ResponseWriter.Write(b)
}

// writeFrames sends media over HTTP/2, which has copied each frame when Write returns.
func (p *Paced) writeFrames(media []byte) {
	for frame := range slices.Chunk(media, dataFrame) {
		if _, err := p.Write(frame); err != nil {
			return // the player has left, or is cut off
		}
	}
}

// ReadFrom sends the rest of src: over HTTP/1.1 by sendfile, if the connection supports
// it and src is a section of a file.
func (p *Paced) ReadFrom(src io.Reader) (n int64, err error) {
	if section, ok := src.(*io.SectionReader); ok && !p.http2 {
		return p.sendSection(section)
	}
	buf := copyBuffers.Get().(*[dataFrame]byte)
	defer copyBuffers.Put(buf)
	return io.CopyBuffer(onlyWriter{p}, onlyReader{src}, buf[:])
}

// onlyWriter and onlyReader hide ReadFrom and WriteTo, so that io.CopyBuffer uses its
// buffer.
type (
	onlyWriter struct{ io.Writer }
	onlyReader struct{ io.Reader }
)

func (p *Paced) sendSection(section *io.SectionReader) (sent int64, err error) {
	at, err := section.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, err
	}
	whole, offset, size := section.Outer()
	for at < size {
		if err := p.move(); err != nil {
			return sent, err
		}
		n, err := io.Copy(p.ResponseWriter, io.NewSectionReader(whole, offset+at, min(piece, size-at)))
		at += n
		sent += n
		if err != nil || n == 0 {
			return sent, err
		}
	}
	return sent, nil
}
