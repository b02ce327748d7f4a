package flv

import (
	"io"

	"github.com/millrace/millrace/internal/media"
)

// A Writer writes an FLV file or pipe, each tag in one Write. It is a
// media.Writer.
type Writer struct {
	// VideoOnly says in the file's header that no audio will come, so that a
	// reader does not wait for some.
	VideoOnly bool

	w io.Writer
}

// NewWriter returns a Writer to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// WriteMetadata writes an onMetaData tag. It is optional and comes first.
func (w *Writer) WriteMetadata(m Metadata) error { return nil }

// WriteFrame writes f, behind a sequence header where f begins a new Track.
func (w *Writer) WriteFrame(f media.Frame) error { return nil }
