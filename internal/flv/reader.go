package flv

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/millrace/millrace/internal/media"
)

const (
	fileHeaderSize = 9
	tagHeaderSize  = 11
	backSize       = 4 // PreviousTagSize, which follows each tag

	maxTagSize = 8 << 20 // bytes of one tag's body
)

// A Reader reads an FLV file or pipe. It is a media.Reader.
type Reader struct {
	r        *bufio.Reader
	inside   bool // the file header has been read
	buf      []byte
	dec      Decoder
	metadata Metadata
	hasMeta  bool
	err      error // that ReadFrame ends with
}

// NewReader returns a Reader of r, which it reads in pieces of 64 KiB.
func NewReader(r io.Reader) *Reader { return &Reader{r: bufio.NewReaderSize(r, 64<<10)} }

// ReadFrame returns the next frame, or io.EOF if the file ends after a complete tag.
// Frame.Data is valid until the next call. Other errors wrap io.ErrUnexpectedEOF or
// ErrMalformed, or are an *UnsupportedError or the underlying reader's.
func (r *Reader) ReadFrame() (media.Frame, error) {
	for {
		if f, ok := r.dec.Next(); ok {
			return f, nil
		}
		if r.err != nil {
			return media.Frame{}, r.err
		}
		r.err = r.take()
	}
}

// take has the decoder take the next tag.
func (r *Reader) take() error {
	kind, dts, err := r.readTag()
	switch {
	case err != nil:
		r.dec.Flush()
	case kind == TagVideo:
		err = r.dec.Video(r.buf, dts)
	case kind == TagAudio:
		err = r.dec.Audio(r.buf, dts)
	case kind == TagScript:
		r.script()
	}
	return err
}

// Metadata returns the newest onMetaData that ReadFrame has read.
func (r *Reader) Metadata() (Metadata, bool) { return r.metadata, r.hasMeta }

// script takes an onMetaData and passes over every other script tag, damaged or
// not: frames do not depend on them.
func (r *Reader) script() {
	if m, err := ParseMetadata(r.buf); err == nil {
		r.metadata, r.hasMeta = m, true
	}
}

func (r *Reader) readTag() (kind byte, dts time.Duration, err error) {
	if !r.inside {
		if err := r.readFileHeader(); err != nil {
			return 0, 0, err
		}
		r.inside = true
	}
	head, err := r.r.Peek(backSize + tagHeaderSize)
	if errors.Is(err, io.EOF) && len(head) <= backSize {
		return 0, 0, io.EOF
	}
	if err != nil {
		return 0, 0, fmt.Errorf("FLV tag header: %w", media.Truncated(err))
	}
	tag := head[backSize:]
	if tag[0]&0x20 != 0 {
		return 0, 0, &UnsupportedError{"an encrypted FLV tag"}
	}
	kind = tag[0] & 0x1f
	dts = time.Duration(uint24(tag[4:])|uint32(tag[7])<<24) * time.Millisecond
	size := int(uint24(tag[1:]))
	if size > maxTagSize {
		return 0, 0, fmt.Errorf("%w: tag of %d bytes: at most %d are accepted", ErrMalformed, size, maxTagSize)
	}
	if _, err := r.r.Discard(len(head)); err != nil {
		return 0, 0, err
	}
	r.buf = slices.Grow(r.buf[:0], size)[:size]
	if _, err := io.ReadFull(r.r, r.buf); err != nil {
		return 0, 0, fmt.Errorf("FLV tag of %d bytes: %w", size, media.Truncated(err))
	}
	return kind, dts, nil
}

func (r *Reader) readFileHeader() error {
	var head [fileHeaderSize]byte
	if _, err := io.ReadFull(r.r, head[:]); err != nil {
		return fmt.Errorf("FLV file header: %w", media.Truncated(err))
	}
	offset := binary.BigEndian.Uint32(head[5:])
	if string(head[:4]) != "FLV\x01" || offset < fileHeaderSize || offset > 1<<16 {
		return fmt.Errorf("%w: file header % x", ErrMalformed, head)
	}
	if _, err := r.r.Discard(int(offset) - fileHeaderSize); err != nil {
		return fmt.Errorf("FLV file header: %w", media.Truncated(err))
	}
	return nil
}
