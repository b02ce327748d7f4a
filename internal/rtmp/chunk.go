package rtmp

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/millrace/millrace/internal/media"
)

// A message is an RTMP message, which is sent in chunks (RTMP 1.0, 6.1.1).
type message struct {
	kind   byte
	stream uint32 // message stream: 0 for the connection, 1 for what is published
	time   uint32 // milliseconds; wraps
	body   []byte // from a chunkReader: good until the next read
}

const (
	defaultChunkSize = 128       // bytes, until a side announces another (5.4.1)
	maxChunkSize     = 1<<24 - 1 // no message is longer
	noTimestamp      = 1<<24 - 1 // in the place of a timestamp: 32 bits follow the header (5.3.1.3)

	maxChunkStreams = 32 // encoders use three to six
)

var errProtocol = errors.New("RTMP protocol error")

// A chunkReader puts messages together (RTMP 1.0, 5.3).
type chunkReader struct {
	r          *bufio.Reader
	chunkSize  int
	maxMessage int // bytes of one message; twice as much for all that is kept

	streams []*chunkStream
	held    int // bytes of all their buffers
}

// A chunkStream remembers the header that later ones leave out.
type chunkStream struct {
	id       uint32
	kind     byte
	stream   uint32
	length   int
	time     uint32
	delta    uint32 // as it stood on the wire; of a type 0 header it is the timestamp itself
	extended bool   // delta stood in the extended field

	partial bool   // buf holds the beginning of a message
	buf     []byte // reused from message to message
}

// read returns the next message that is complete. The error wraps errProtocol
// or is the underlying reader's.
func (r *chunkReader) read() (message, error) {
	for {
		s, err := r.readChunk()
		if err != nil {
			return message{}, err
		}
		if len(s.buf) == s.length {
			s.partial = false
			return message{s.kind, s.stream, s.time, s.buf}, nil
		}
	}
}

func (r *chunkReader) readChunk() (*chunkStream, error) {
	format, id, err := r.readBasicHeader()
	if err != nil {
		return nil, err
	}
	s, err := r.stream(id, format)
	if err != nil {
		return nil, err
	}
	if s.partial && format != 3 {
		return nil, fmt.Errorf("%w: chunk stream %d: a header of type %d inside a message", errProtocol, id, format)
	}
	if err := r.readMessageHeader(s, format); err != nil {
		return nil, err
	}
	return s, r.readPayload(s)
}

// readBasicHeader reads one to three bytes (5.3.1.1).
func (r *chunkReader) readBasicHeader() (format byte, id uint32, err error) {
	b, err := r.r.ReadByte()
	if err != nil {
		return 0, 0, err
	}
	format, id = b>>6, uint32(b&0x3f)
	if id > 1 {
		return format, id, nil
	}
	more, err := r.take(int(id) + 1)
	if err != nil {
		return 0, 0, err
	}
	if id == 0 {
		return format, 64 + uint32(more[0]), nil
	}
	return format, 64 + uint32(more[0]) + uint32(more[1])<<8, nil
}

// take returns the next n bytes, good until the next read.
func (r *chunkReader) take(n int) ([]byte, error) {
	b, err := r.r.Peek(n)
	if err != nil {
		return nil, media.Truncated(err)
	}
	_, err = r.r.Discard(n)
	return b, err
}

// stream finds the chunk stream or begins one, which only a header of type 0
// can, or of type 1: librtmp answers pings so.
func (r *chunkReader) stream(id uint32, format byte) (*chunkStream, error) {
	for _, s := range r.streams {
		if s.id == id {
			return s, nil
		}
	}
	if format > 1 {
		return nil, fmt.Errorf("%w: chunk stream %d begins with a header of type %d", errProtocol, id, format)
	}
	if len(r.streams) == maxChunkStreams {
		return nil, fmt.Errorf("%w: more than %d chunk streams", errProtocol, maxChunkStreams)
	}
	s := &chunkStream{id: id}
	r.streams = append(r.streams, s)
	return s, nil
}

var messageHeaderSizes = [4]int{11, 7, 3, 0}

// readMessageHeader reads the message header, between basic header and payload (5.3.1.2),
// and begins a message unless one is unfinished.
func (r *chunkReader) readMessageHeader(s *chunkStream, format byte) error {
	if format == 3 {
		if err := r.skipRepeatedTimestamp(s); err != nil {
			return err
		}
	} else if err := r.readHeaderFields(s, format); err != nil {
		return err
	}
	if s.partial {
		return nil
	}
	if s.length > r.maxMessage {
		return fmt.Errorf("%w: message of %d bytes, type %d: at most %d are accepted", errProtocol, s.length, s.kind, r.maxMessage)
	}
	if format == 0 {
		s.time = s.delta
	} else {
		s.time += s.delta
	}
	s.partial, s.buf = true, s.buf[:0]
	return nil
}

func (r *chunkReader) readHeaderFields(s *chunkStream, format byte) error {
	h, err := r.take(messageHeaderSizes[format])
	if err != nil {
		return err
	}
	s.delta = uint24(h)
	if format < 2 {
		s.length, s.kind = int(uint24(h[3:])), h[6]
	}
	if format == 0 {
		s.stream = binary.LittleEndian.Uint32(h[7:])
	}
	s.extended = s.delta == noTimestamp
	if !s.extended {
		return nil
	}
	if h, err = r.take(4); err == nil {
		s.delta = binary.BigEndian.Uint32(h)
	}
	return err
}

// skipRepeatedTimestamp passes over the extended timestamp that a type 3 header
// repeats (5.3.1.3) and that some encoders leave out: what follows is one only
// if it says the same again.
func (r *chunkReader) skipRepeatedTimestamp(s *chunkStream) error {
	if !s.extended {
		return nil
	}
	h, err := r.r.Peek(4)
	if err != nil {
		return media.Truncated(err)
	}
	if v := binary.BigEndian.Uint32(h); v == s.delta || v == s.time {
		_, err = r.r.Discard(4)
	}
	return err
}

func (r *chunkReader) readPayload(s *chunkStream) error {
	have := len(s.buf)
	n := min(r.chunkSize, s.length-have)
	// A chunk may be as long as a message, so memory grows with the bytes that
	// have come, not with those that are announced.
	for n > 0 {
		if have == cap(s.buf) {
			if err := r.grow(s); err != nil {
				return err
			}
		}
		step := min(n, cap(s.buf)-have)
		s.buf = s.buf[:have+step]
		if _, err := io.ReadFull(r.r, s.buf[have:]); err != nil {
			return media.Truncated(err)
		}
		have, n = have+step, n-step
	}
	return nil
}

const minBuffer = 512 // bytes: a frame of AAC and most commands

func (r *chunkReader) grow(s *chunkStream) error {
	size := min(max(2*cap(s.buf), minBuffer), max(s.length, minBuffer))
	more := size - cap(s.buf)
	if r.held+more > 2*r.maxMessage {
		r.release()
	}
	if r.held+more > 2*r.maxMessage {
		return fmt.Errorf("%w: unfinished messages of %d bytes", errProtocol, r.held)
	}
	r.held += more
	buf := make([]byte, len(s.buf), size)
	copy(buf, s.buf)
	s.buf = buf
	return nil
}

// release frees the buffers in which no message is unfinished.
func (r *chunkReader) release() {
	for _, s := range r.streams {
		if !s.partial {
			r.held -= cap(s.buf)
			s.buf = nil
		}
	}
}

// abort drops what has come of a message (5.4.2).
func (r *chunkReader) abort(id uint32) {
	for _, s := range r.streams {
		if s.id == id {
			s.partial = false
		}
	}
}

// A chunkWriter collects messages, as chunks, for one Write.
type chunkWriter struct {
	chunkSize int
	buf       []byte
}

// append writes m on chunk stream id, 2 to 63, with a full header. Its payload
// is m.body and then more.
func (w *chunkWriter) append(id byte, m message, more []byte) {
	length := uint32(len(m.body) + len(more))
	field := min(m.time, noTimestamp)
	w.buf = append(w.buf, id, byte(field>>16), byte(field>>8), byte(field), byte(length>>16), byte(length>>8), byte(length), m.kind)
	w.buf = binary.LittleEndian.AppendUint32(w.buf, m.stream)
	if field == noTimestamp {
		w.buf = binary.BigEndian.AppendUint32(w.buf, m.time)
	}
	room := w.appendPayload(id, m, m.body, w.chunkSize)
	w.appendPayload(id, m, more, room)
}

// appendPayload returns how many bytes the last chunk has room for.
func (w *chunkWriter) appendPayload(id byte, m message, b []byte, room int) int {
	for len(b) > 0 {
		if room == 0 {
			w.buf = append(w.buf, 3<<6|id)
			if m.time >= noTimestamp {
				w.buf = binary.BigEndian.AppendUint32(w.buf, m.time)
			}
			room = w.chunkSize
		}
		n := min(room, len(b))
		w.buf = append(w.buf, b[:n]...)
		b, room = b[n:], room-n
	}
	return room
}

func uint24(b []byte) uint32 { return uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]) }
