package media

import (
	"bytes"
	"fmt"
	"time"
)

// AudioConfig is what an AudioSpecificConfig says.
type AudioConfig struct {
	ObjectType uint8 // MPEG-4 audio object type: 2 is AAC-LC, 5 HE-AAC, 29 HE-AAC v2
	SampleRate int   // samples per second of the AAC-LC core, in which frames are counted
	Channels   int   // of the core, 1 to 8
	Short      bool  // frames of 960 samples instead of 1,024
}

// RFC6381 is the entry in a playlist's CODECS attribute, as "mp4a.40.2".
func (c *AudioConfig) RFC6381() string { return fmt.Sprintf("mp4a.40.%d", c.ObjectType) }

// frameSamples is how many samples of each channel of the core a frame holds.
func (c *AudioConfig) frameSamples() int {
	if c.Short {
		return 960
	}
	return 1024
}

// Audio object types (ISO 14496-3, table 1.17).
const (
	aacLC = 2
	aacHE = 5  // SBR in front of AAC-LC
	aacPS = 29 // SBR and parametric stereo in front of AAC-LC
)

var audioObjectTypes = map[uint8]string{
	1: "AAC Main", 3: "AAC SSR", 4: "AAC LTP", 17: "ER AAC LC", 19: "ER AAC LTP", 20: "ER AAC scalable", 22: "ER BSAC",
	23: "AAC-LD", 32: "MPEG Layer 1", 33: "MPEG Layer 2", 34: "MP3", 39: "AAC-ELD", 42: "xHE-AAC",
}

// An UnsupportedError is a well-formed configuration that no player is sure to
// know.
type UnsupportedError struct{ Codec string }

func (e *UnsupportedError) Error() string { return e.Codec + " is not supported" }

// ISO 14496-3, table 1.18.
var aacSampleRates = [...]int{96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350}

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

// objectType reads GetAudioObjectType (ISO 14496-3, 1.6.2.1).
func objectType(b *bitReader) uint8 {
	if t := b.bits(5); t != 31 {
		return uint8(t)
	}
	return uint8(32 + b.bits(6))
}

// samplingFrequency reads an index and, if need be, the frequency behind it. It is
// 0 for those that are reserved.
func samplingFrequency(b *bitReader) int {
	switch index := int(b.bits(4)); {
	case index == 15:
		return int(b.bits(24))
	case index < len(aacSampleRates):
		return aacSampleRates[index]
	}
	return 0
}

// extend reads what stands behind the configuration of a core for decoders that
// know SBR (ISO 14496-3, 1.6.6.1): there is none in most streams.
func (c *AudioConfig) extend(b *bitReader) {
	if b.flag() { // dependsOnCoreCoder
		b.bits(14)
	}
	b.flag() // extensionFlag: 0 for AAC-LC
	const syncSBR, syncPS = 0x2b7, 0x548
	if c.ObjectType != aacLC || b.bits(11) != syncSBR || objectType(b) != aacHE || !b.flag() || b.err != nil {
		return
	}
	c.ObjectType = aacHE
	samplingFrequency(b)
	if b.bits(11) == syncPS && b.flag() {
		c.ObjectType = aacPS
	}
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
// 1.6.2.1), which it copies. The error is an *UnsupportedError for one that is in
// order and that players do not know.
func NewAACTrack(config []byte) (*Track, error) {
	if len(config) > maxConfig {
		return nil, fmt.Errorf("AudioSpecificConfig of %d bytes: at most %d are accepted", len(config), maxConfig)
	}
	b := &bitReader{b: config}
	c := &AudioConfig{ObjectType: objectType(b), SampleRate: samplingFrequency(b)}
	channels := b.bits(4)
	switch {
	case channels >= 1 && channels <= 6:
		c.Channels = int(channels)
	case channels == 7:
		c.Channels = 8
	}
	core := c.ObjectType
	if core == aacHE || core == aacPS {
		samplingFrequency(b) // of the extension
		core = objectType(b)
	}
	switch {
	case b.err != nil:
		return nil, fmt.Errorf("AudioSpecificConfig % x: %w", config, b.err)
	case c.SampleRate < 7350 || c.SampleRate > 96000:
		return nil, fmt.Errorf("AudioSpecificConfig % x: no valid sample rate", config)
	case core != aacLC:
		name := audioObjectTypes[core]
		if name == "" {
			name = "audio"
		}
		return nil, fmt.Errorf("AudioSpecificConfig % x: %w", config, &UnsupportedError{fmt.Sprintf("%s (MPEG-4 audio object type %d)", name, core)})
	case c.Channels == 0:
		return nil, fmt.Errorf("AudioSpecificConfig % x: no valid channel configuration", config)
	}
	c.Short = b.flag()
	c.extend(b)
	return &Track{Codec: AAC, Config: bytes.Clone(config), Audio: c}, nil
}

// An AudioInput turns what an encoder sends of one audio track into frames. The zero
// value is ready.
type AudioInput struct {
	Stats InputStats

	track *Track
}

// Configure takes the AudioSpecificConfig of a sequence header. A damaged one
// changes nothing.
func (in *AudioInput) Configure(config []byte) error {
	track, err := NewAACTrack(config)
	if err != nil {
		in.Stats.BadConfigs++
		return err
	}
	if !in.track.Decodes(track) {
		in.track = track
	}
	return nil
}

// Track is what the newest configuration says; nil before the first.
func (in *AudioInput) Track() *Track { return in.track }

// Push appends to frames what the payload of a message holds: one raw frame, or
// frames behind ADTS headers, which also stand in for a configuration that has not
// come. Their Data aliases data.
func (in *AudioInput) Push(frames []Frame, data []byte, dts time.Duration) []Frame {
	if len(data) == 0 {
		return frames
	}
	if len(data) < 2 || data[0] != 0xff || data[1]&0xf6 != 0xf0 { // syncword and layer: no raw frame begins so
		return in.frame(frames, data, dts)
	}
	in.Stats.Repaired++
	for len(data) > 0 {
		header, size := adtsFrame(data)
		if size == 0 {
			in.Stats.Malformed++
			return frames
		}
		if in.track == nil {
			_ = in.Configure(adtsConfig(data)) // counted: the frame is early then
		}
		frames = in.frame(frames, data[header:size], dts)
		if in.track != nil {
			dts += in.track.FrameDuration()
		}
		data = data[size:]
	}
	return frames
}

func (in *AudioInput) frame(frames []Frame, data []byte, dts time.Duration) []Frame {
	switch {
	case in.track == nil:
		in.Stats.Early++
	case len(data) == 0 || !in.track.WellFormed(data):
		in.Stats.Malformed++
	default:
		frames = append(frames, Frame{Track: in.track, DTS: dts, PTS: dts, Key: true, Data: data})
	}
	return frames
}

// adtsFrame returns the size of the ADTS header that data begins with, and that of
// the frame with it; 0 where data is none (ISO 14496-3, 1.A.2.2).
func adtsFrame(data []byte) (header, size int) {
	header = adtsHeader
	if len(data) > 1 && data[1]&1 == 0 {
		header += 2 // checksum
	}
	if len(data) < header || data[0] != 0xff || data[1]&0xf6 != 0xf0 {
		return header, 0
	}
	size = int(data[3]&3)<<11 | int(data[4])<<3 | int(data[5])>>5
	if size <= header || size > len(data) {
		return header, 0
	}
	return header, size
}

// adtsConfig is the AudioSpecificConfig that an ADTS header stands for.
func adtsConfig(header []byte) []byte {
	object, rate, channels := header[2]>>6+1, header[2]>>2&0xf, header[2]&1<<2|header[3]>>6
	return []byte{object<<3 | rate>>1, rate<<7 | channels<<3}
}
