package media

import (
	"bytes"
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

// aacFrameSamples is how many samples of each channel one AAC frame holds.
const aacFrameSamples = 1024

const (
	adtsHeader = 7         // bytes, without checksum
	maxADTS    = 1<<13 - 1 // aac_frame_length has 13 bits
)

// AAC-LC frames with nothing in them (ISO 14496-3, 4.4.2), good for any sample
// rate.
var (
	silentMono   = []byte{0x01, 0x18, 0x20, 0x07}
	silentStereo = []byte{0x21, 0x10, 0x04, 0x60, 0x8c, 0x1c}
)

// silentFrame is nil for the channel layouts that hardly any encoder sends.
func (c *AudioConfig) silentFrame() []byte {
	switch c.Channels {
	case 1:
		return silentMono
	case 2:
		return silentStereo
	}
	return nil
}

// decodes reports whether a decoder for c is one for o.
func (c *AudioConfig) decodes(o *AudioConfig) bool { return *c == *o }

// appendADTS appends a frame behind its ADTS header (ISO 14496-3, 1.A.2.2.1).
func (c *AudioConfig) appendADTS(dst, data []byte) []byte {
	channels := byte(c.Channels)
	if c.Channels == 8 {
		channels = 7
	}
	n := adtsHeader + len(data)
	const profile = 1 // AAC-LC, also as the core of HE-AAC
	dst = append(dst, 0xff, 0xf1,
		profile<<6|frequencyIndex(c.SampleRate)<<2|channels>>2,
		channels<<6|byte(n>>11), byte(n>>3), byte(n<<5)|0x1f, 0xfc)
	return append(dst, data...)
}

// frequencyIndex is the sampling_frequency_index at or below rate: ADTS has no
// room for another one.
func frequencyIndex(rate int) byte {
	for i, r := range aacSampleRates {
		if rate >= r {
			return byte(i)
		}
	}
	return byte(len(aacSampleRates) - 1)
}

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
