// Package media holds what all media packages share: a track, a frame of it, and the two
// one-method interfaces that carry frames from an encoder to a player. It is also the
// only package that knows codecs: each has files of its own, and codec.go has the methods
// common to all. It does no I/O and starts no goroutine.
package media

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// A Track describes one elementary stream. It is immutable: an encoder that changes its
// parameter sets starts a new Track, so readers compare pointers.
type Track struct {
	// ID distinguishes the tracks of one kind if an encoder sends several; the first is
	// 0.
	ID uint8

	Codec Codec

	// Config is the decoder's configuration as the encoder sent it: an
	// AVCDecoderConfigurationRecord (ISO 14496-15, 5.3.3.1) for H.264, an
	// AudioSpecificConfig (ISO 14496-3, 1.6.2.1) for AAC.
	Config []byte

	Video *VideoConfig // parsed from Config; nil for audio
	Audio *AudioConfig // parsed from Config; nil for video
}

// IsVideo reports whether t is a video track; otherwise it is audio.
func (t *Track) IsVideo() bool { return t.Video != nil }

// VideoConfig is the decoder configuration of a video track, parsed.
type VideoConfig struct {
	// Sets are parameter sets, as whole NAL units without start code or length, each
	// after those that it refers to.
	Sets [][]byte

	Sequence []byte // the one of Sets that frames refer to: the sequence parameter set from which the fields below come

	RFC6381 string // the entry in a playlist's CODECS attribute, such as "avc1.64001F"
	Profile string // name, such as "High"
	Level   string // in the usual notation, such as "3.1"

	ChromaFormat uint8 // chroma_format_idc: 1 is 4:2:0, which all decoders support
	BitDepth     uint8 // the larger of luma and chroma

	Width, Height int     // of the displayed image, in pixels as coded
	FrameRate     float64 // frames per second; 0 if the configuration does not specify it
}

// Limits explains why few players can decode the video, which goes beyond 4:2:0 in 8
// bits; "" if all can.
func (c *VideoConfig) Limits() string {
	chroma := [...]string{"4:0:0", "4:2:0", "4:2:2", "4:4:4"}[c.ChromaFormat&3]
	if c.BitDepth <= 8 && c.ChromaFormat <= 1 {
		return ""
	}
	return fmt.Sprintf("Few players decode video of %s in %d bits: send 4:2:0 in 8 bits.", chroma, max(8, c.BitDepth))
}

// decodes reports whether a decoder that has the parameter sets of c needs none
// of o.
func (c *VideoConfig) decodes(o *VideoConfig) bool {
	return c.Sequence != nil && bytes.Equal(c.Sequence, o.Sequence) && containsAll(c.Sets, o.Sets)
}

func containsAll(have, want [][]byte) bool {
	for _, w := range want {
		if !slices.ContainsFunc(have, func(h []byte) bool { return bytes.Equal(h, w) }) {
			return false
		}
	}
	return true
}

// AudioConfig is the decoder configuration of an audio track, parsed.
type AudioConfig struct {
	RFC6381      string // the entry in a playlist's CODECS attribute, such as "mp4a.40.2"
	SampleRate   int    // samples per second, in which frames are counted
	Channels     int    // 1 to 8
	FrameSamples int    // of each channel in a frame
}

// A Frame is one access unit: the coded bytes of one video frame, or of one audio frame,
// such as 1,024 samples of AAC.
type Frame struct {
	Track *Track

	// DTS is when to decode the frame and PTS when to show it, both on the encoder's
	// clock. PTS may be before DTS: some encoders do that.
	DTS, PTS time.Duration

	// Key is set if a decoder can start with the frame: on a key frame of video, which is
	// an IDR frame in H.264, and on every audio frame.
	Key bool

	// Data is a run of NAL units, each preceded by its length in four bytes, for H.264,
	// and a raw frame without ADTS header for AAC. It belongs to the Reader that returned
	// it and is valid until the next ReadFrame: a Writer copies what it keeps.
	Data []byte
}

// A Reader returns frames in decoding order. ReadFrame returns io.EOF when the encoder
// ended its stream.
type Reader interface{ ReadFrame() (Frame, error) }

// Truncated returns err, or io.ErrUnexpectedEOF for an io.EOF inside something: an encoder
// that ended its stream ended it between frames.
func Truncated(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// A Writer takes frames in decoding order.
type Writer interface{ WriteFrame(Frame) error }

// Copy writes every frame of src to dst until src ends or one of them fails. It returns
// how many frames were written; io.EOF from src is not an error.
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
