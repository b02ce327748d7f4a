package media

import (
	"bytes"
	"errors"
	"fmt"
)

// AudioConfig is what an AudioSpecificConfig says.
type AudioConfig struct {
	ObjectType uint8 // MPEG-4 audio object type; always 2, AAC-LC
	SampleRate int   // samples per second of the coded stream
	Channels   int   // 1 to 8
}

// RFC6381 is the entry in a playlist's CODECS attribute, as "mp4a.40.2".
func (c *AudioConfig) RFC6381() string { return fmt.Sprintf("mp4a.40.%d", c.ObjectType) }

// ISO 14496-3, table 1.18.
var aacSampleRates = [...]int{96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350}

// AACFrameSamples is how many samples one AAC frame holds.
const AACFrameSamples = 1024

// maxConfig bounds a decoder configuration. Real ones have 2 to 200 bytes.
const maxConfig = 4096

// NewAACTrack makes a track from an AudioSpecificConfig (ISO 14496-3,
// 1.6.2.1), which it copies.
func NewAACTrack(config []byte) (*Track, error) {
	if len(config) > maxConfig {
		return nil, fmt.Errorf("AudioSpecificConfig of %d bytes: at most %d are accepted", len(config), maxConfig)
	}
	b := &bitReader{b: config}
	c := &AudioConfig{ObjectType: uint8(b.bits(5))}
	if c.ObjectType == 31 {
		c.ObjectType = uint8(32 + b.bits(6))
	}
	index := b.bits(4)
	switch {
	case index == 15:
		c.SampleRate = int(b.bits(24))
	case int(index) < len(aacSampleRates):
		c.SampleRate = aacSampleRates[index]
	}
	channels := b.bits(4)
	switch {
	case channels >= 1 && channels <= 6:
		c.Channels = int(channels)
	case channels == 7:
		c.Channels = 8
	}
	switch {
	case b.err != nil:
		return nil, fmt.Errorf("AudioSpecificConfig % x: %w", config, b.err)
	case c.SampleRate < 7350 || c.SampleRate > 96000:
		return nil, fmt.Errorf("AudioSpecificConfig % x: no valid sample rate", config)
	case c.Channels == 0:
		return nil, fmt.Errorf("AudioSpecificConfig % x: no valid channel configuration", config)
	case c.ObjectType != 2:
		return nil, fmt.Errorf("AudioSpecificConfig % x: audio object type %d: only AAC-LC is accepted", config, c.ObjectType)
	}
	return &Track{Codec: AAC, Config: bytes.Clone(config), Audio: c}, nil
}

var errShort = errors.New("ends too early")

// A bitReader reads big-endian bit fields. Its error is sticky: after the end
// it returns zeros.
type bitReader struct {
	b   []byte
	pos int // in bits
	err error
}

func (r *bitReader) bits(n int) (v uint32) {
	if r.pos+n > 8*len(r.b) {
		r.err, r.pos = errShort, 8*len(r.b)
		return 0
	}
	for range n {
		v = v<<1 | uint32(r.b[r.pos>>3]>>(7-r.pos&7)&1)
		r.pos++
	}
	return v
}

func (r *bitReader) flag() bool { return r.bits(1) == 1 }

// ue reads an unsigned Exp-Golomb code (ITU-T H.264, 9.1).
func (r *bitReader) ue() uint32 {
	zeros := 0
	for r.err == nil && !r.flag() {
		if zeros++; zeros > 31 {
			r.err = errors.New("Exp-Golomb code of more than 32 bits")
		}
	}
	if r.err != nil {
		return 0
	}
	return 1<<zeros - 1 + r.bits(zeros)
}

// se reads a signed Exp-Golomb code (ITU-T H.264, 9.1.1).
func (r *bitReader) se() int32 {
	k := r.ue()
	if k&1 == 1 {
		return int32(k/2 + 1)
	}
	return -int32(k / 2)
}
