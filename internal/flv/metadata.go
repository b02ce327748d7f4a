package flv

import "errors"

// ErrNotMetadata says that a script tag is well-formed but not an onMetaData.
var ErrNotMetadata = errors.New("script tag is not an onMetaData")

// Metadata is what an encoder says about its stream in onMetaData. Nothing in it
// can be relied on; a field is zero where the encoder said nothing or nonsense.
// The text is hostile until escaped.
type Metadata struct {
	Encoder         string  // at most 256 bytes of UTF-8
	VideoDataRate   float64 // bits a second
	AudioDataRate   float64 // bits a second
	FrameRate       float64 // frames a second
	Width, Height   int     // pixels
	AudioSampleRate int     // Hz
	AudioChannels   int
}

// ParseMetadata reads the body of a script tag or of an RTMP data message.
func ParseMetadata(body []byte) (Metadata, error) { return Metadata{}, ErrNotMetadata }
