package flv

import (
	"io"

	"github.com/millrace/millrace/internal/media"
)

// A Reader reads an FLV file or pipe. It is a media.Reader.
type Reader struct {
	r io.Reader
}

// NewReader returns a Reader of r, from which it reads in large pieces.
func NewReader(r io.Reader) *Reader { return &Reader{r: r} }

// ReadFrame returns the next frame, and io.EOF where the file ends behind a
// whole tag. Frame.Data is good until the next call.
func (r *Reader) ReadFrame() (media.Frame, error) { return media.Frame{}, io.EOF }

// Metadata returns the newest onMetaData that ReadFrame has come by.
func (r *Reader) Metadata() (Metadata, bool) { return Metadata{}, false }
