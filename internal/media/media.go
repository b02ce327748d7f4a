// Package media has what all media packages speak of: a track, a frame of it, and
// the two one-method interfaces that carry frames from an encoder to a player. It
// is also the only package that knows codecs: each has a file, or some of its name,
// and codec.go has what is asked about them. It does no I/O and starts no goroutine.
package media

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
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

// VideoConfig is what the decoder configuration of a video track says.
type VideoConfig struct {
	// Sets are parameter sets, as whole NAL units without start code or length, each
	// behind those that it refers to.
	Sets [][]byte

	Sequence []byte // the one of Sets that says what follows: the sequence parameter set that frames refer to

	RFC6381 string // the entry in a playlist's CODECS attribute, as "avc1.64001F"
	Profile string // in words, as "High"
	Level   string // as people write it, as "3.1"

	ChromaFormat uint8 // chroma_format_idc: 1 is 4:2:0, which all decoders know
	BitDepth     uint8 // the larger of luma and chroma

	Width, Height int     // of the image to show, in pixels as coded
	FrameRate     float64 // frames per second; 0 where the configuration does not say
}

// Limits says in words why few players decode such video; "" where all do. It is
// beyond 4:2:0 in 8 bits.
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

// AudioConfig is what the decoder configuration of an audio track says.
type AudioConfig struct {
	RFC6381      string // the entry in a playlist's CODECS attribute, as "mp4a.40.2"
	SampleRate   int    // samples per second, in which frames are counted
	Channels     int    // 1 to 8
	FrameSamples int    // of each channel in a frame
}

// A Frame is one access unit: the coded bytes of one video frame, or of one frame of
// audio, as the 1,024 samples of AAC.
type Frame struct {
	Track *Track

	// DTS is when to decode the frame and PTS when to show it, both on the
	// encoder's clock. PTS may be before DTS: some encoders do that.
	DTS, PTS time.Duration

	// Key is set where a decoder can start: on a key frame of video, which is an IDR
	// frame in H.264, and on every audio frame.
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
