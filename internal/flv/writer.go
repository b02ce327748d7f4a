package flv

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/millrace/millrace/internal/media"
)

// A Writer writes an FLV file or pipe, with one Write per frame. It is a media.Writer.
type Writer struct {
	// VideoOnly declares in the file header that there is no audio, so that a reader does
	// not wait for it.
	VideoOnly bool

	w            io.Writer
	buf          []byte // what the next Write takes
	inside       bool   // the file's header is written
	video, audio *media.Track
}

// NewWriter returns a Writer to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// WriteMetadata writes an onMetaData tag. It is optional and comes first.
func (w *Writer) WriteMetadata(m Metadata) error {
	w.begin()
	at := w.beginTag(TagScript, 0)
	w.buf = AppendMetadata(w.buf, m)
	w.endTag(at)
	return w.flush()
}

// WriteFrame writes f, preceded by a sequence header if f begins a new Track.
func (w *Writer) WriteFrame(f media.Frame) error {
	if len(f.Data) > maxTagSize-16 { // the tag has a header of its own inside
		return fmt.Errorf("frame of %d bytes: an FLV tag holds at most %d", len(f.Data), maxTagSize-16)
	}
	w.begin()
	kind, ms := TagType(f.Track), Milliseconds(f.DTS)
	current := &w.audio
	if f.Track.IsVideo() {
		current = &w.video
	}
	if *current != f.Track {
		*current = f.Track
		at := w.beginTag(kind, ms)
		w.buf = AppendConfig(w.buf, f.Track, false)
		w.endTag(at)
	}
	at := w.beginTag(kind, ms)
	w.buf = append(AppendFrameHeader(w.buf, f, false), f.Data...)
	w.endTag(at)
	return w.flush()
}

// begin puts the file's header, and the size of no tag before the first, into
// an empty file (E.2, E.3).
func (w *Writer) begin() {
	if w.inside {
		return
	}
	w.inside = true
	flags := byte(0x05)
	if w.VideoOnly {
		flags = 0x01
	}
	w.buf = append(w.buf, 'F', 'L', 'V', 1, flags, 0, 0, 0, fileHeaderSize, 0, 0, 0, 0)
}

// beginTag appends a tag's header and returns where it is, for endTag.
func (w *Writer) beginTag(kind byte, ms uint32) (at int) {
	at = len(w.buf)
	w.buf = append(w.buf, kind, 0, 0, 0, byte(ms>>16), byte(ms>>8), byte(ms), byte(ms>>24), 0, 0, 0)
	return at
}

func (w *Writer) endTag(at int) {
	size := len(w.buf) - at
	body := size - tagHeaderSize
	w.buf[at+1], w.buf[at+2], w.buf[at+3] = byte(body>>16), byte(body>>8), byte(body)
	w.buf = binary.BigEndian.AppendUint32(w.buf, uint32(size))
}

func (w *Writer) flush() error {
	_, err := w.w.Write(w.buf)
	w.buf = w.buf[:0]
	return err
}
