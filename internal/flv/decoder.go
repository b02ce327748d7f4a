package flv

import (
	"time"

	"github.com/millrace/millrace/internal/media"
)

// A Decoder turns tag bodies into frames. It keeps the current track of each
// kind: a sequence header that repeats the last one keeps the *media.Track, a
// changed one makes a new Track. The zero Decoder is ready.
type Decoder struct {
	Early     int64 // frames dropped because no sequence header had come
	Malformed int64 // frames dropped because their NAL lengths do not add up
}

// Video decodes the body of a video tag whose timestamp is dts. ok is false for
// a tag that holds no frame: a sequence header, an end of sequence, metadata,
// an empty body, or a frame that was dropped and counted. Frame.Data may alias
// body. The error is an *UnsupportedError or wraps ErrMalformed.
func (d *Decoder) Video(body []byte, dts time.Duration) (f media.Frame, ok bool, err error) {
	return f, false, nil
}

// Audio decodes the body of an audio tag as Video does that of a video tag.
func (d *Decoder) Audio(body []byte, dts time.Duration) (f media.Frame, ok bool, err error) {
	return f, false, nil
}
