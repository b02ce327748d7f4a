// Package flv turns FLV tags into frames and frames into FLV tags, in the
// classic form (Adobe Flash Video File Format Specification 10.1, annex E) and
// in the FourCC form of Enhanced RTMP v2. The body of an RTMP audio, video or
// data message is the body of an FLV tag, so the same code reads a live stream,
// a file and the pipes of ffmpeg.
//
// Times are milliseconds on the wire and are passed on as they come: this
// package does not unwrap or repair them.
package flv

import (
	"errors"
	"fmt"

	"github.com/millrace/millrace/internal/media"
)

// Tag types, which are also the types of RTMP messages.
const (
	TagAudio  = 8
	TagVideo  = 9
	TagScript = 18
)

// ErrMalformed is wrapped by the error for a malformed tag after which reading cannot
// continue.
var ErrMalformed = errors.New("malformed FLV")

// An UnsupportedError is a well-formed tag of a kind that Millrace does not
// carry. Its text is meant for the encoder's operator.
type UnsupportedError struct {
	Codec string // "HEVC video", "MP3 audio", "multitrack video" ...
}

// Multitrack reports whether the encoder sent more than one track of a kind.
func (e *UnsupportedError) Multitrack() bool {
	return e.Codec == multitrackVideo || e.Codec == multitrackAudio
}

const (
	multitrackVideo = "multitrack video"
	multitrackAudio = "multitrack audio"
)

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("%s is not supported: send %s, one track of each", e.Codec, media.Carried())
}
