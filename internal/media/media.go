// Package media has what all media packages speak of: a track, a frame of it, and
// the two one-method interfaces that carry frames from an encoder to a player. It
// is also the only package that knows codecs: a file for each, and codec.go for
// what the others ask. It does no I/O and starts no goroutine.
package media

import (
	"errors"
	"io"
	"time"
)

// A Track describes one elementary stream. It never changes: an encoder that
// changes its parameter sets starts a new Track, so readers compare pointers.
type Track struct {
	// ID tells the tracks of one kind apart, where an encoder sends several; 0 is
	// the first one.
	ID uint8

	Codec Codec

	// Config is the decoder's configuration as the encoder sent it: an
	// AVCDecoderConfigurationRecord (ISO 14496-15, 5.3.3.1) for H.264, an
	// AudioSpecificConfig (ISO 14496-3, 1.6.2.1) for AAC.
	Config []byte

	Video *VideoConfig // what Config says; nil for audio
	Audio *AudioConfig // what Config says; nil for video
}

// IsVideo reports whether t is a video track; otherwise it is audio.
func (t *Track) IsVideo() bool { return t.Video != nil }

// A Frame is one access unit: the coded bytes of one video frame, or of one AAC
// frame (1,024 samples).
type Frame struct {
	Track *Track

	// DTS is when to decode the frame and PTS when to show it, both on the
	// encoder's clock. PTS may be before DTS: some encoders do that.
	DTS, PTS time.Duration

	// Key is set where a decoder can start: on an IDR frame of video, and on
	// every audio frame.
	Key bool

	// Data is a run of NAL units, each behind its length in four bytes, for
	// H.264, and a raw frame without ADTS header for AAC. It belongs to the
	// Reader that returned it and is good until the next ReadFrame: a Writer
	// copies what it keeps.
	Data []byte
}

// A Reader yields frames in decoding order. ReadFrame returns io.EOF when the
// encoder ended its stream.
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
