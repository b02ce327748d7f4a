// Package media holds the pictures' nouns: a track, a frame of it, and the two
// one-method interfaces that carry frames from an encoder to a player. It does
// no I/O and starts no goroutine.
package media

import (
	"errors"
	"io"
	"time"
)

// Codec names how a track is coded.
type Codec uint8

// The codecs that Millrace carries.
const (
	H264 Codec = iota + 1
	AAC
)

func (c Codec) String() string {
	switch c {
	case H264:
		return "H.264"
	case AAC:
		return "AAC"
	}
	return "unknown codec"
}

// A Track describes one elementary stream. It never changes: an encoder that
// changes its parameter sets starts a new Track, so readers compare pointers.
type Track struct {
	Codec Codec

	// Config is the decoder's configuration exactly as the encoder sent it:
	// an AVCDecoderConfigurationRecord (ISO 14496-15, 5.3.3.1) for H.264, an
	// AudioSpecificConfig (ISO 14496-3, 1.6.2.1) for AAC.
	Config []byte

	Video *VideoConfig // what Config says; nil for audio
	Audio *AudioConfig // what Config says; nil for video
}

// IsVideo tells a video track from an audio track.
func (t *Track) IsVideo() bool { return t.Video != nil }

// RFC6381 is the track's entry in a playlist's CODECS attribute.
func (t *Track) RFC6381() string {
	if t.IsVideo() {
		return t.Video.RFC6381()
	}
	return t.Audio.RFC6381()
}

// A Frame is one access unit: the coded bytes of one picture, or of one AAC
// frame (1,024 samples).
type Frame struct {
	Track *Track

	// DTS is when to decode the frame and PTS when to show it, both on the
	// encoder's clock. PTS may be before DTS: some encoders do that.
	DTS, PTS time.Duration

	// Key is set where a decoder can start: on an IDR picture, and on every
	// audio frame.
	Key bool

	// Data is a run of NAL units, each behind its length in four bytes, for
	// H.264, and a raw frame without ADTS header for AAC. It belongs to the
	// Reader that returned it and is good until the next ReadFrame: a Writer
	// copies what it keeps.
	Data []byte
}

// A Reader yields frames in decoding order. ReadFrame returns io.EOF when the
// broadcaster left in good order.
type Reader interface{ ReadFrame() (Frame, error) }

// A Writer takes frames in decoding order.
type Writer interface{ WriteFrame(Frame) error }

// Copy hands every frame of src to dst until src ends or one of them fails. It
// returns how many frames were written; io.EOF from src is not an error.
func Copy(dst Writer, src Reader) (n int64, err error) {
	for {
		f, err := src.ReadFrame()
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		if err := dst.WriteFrame(f); err != nil {
			return n, err
		}
		n++
	}
}
