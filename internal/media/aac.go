package media

import (
	"bytes"
	"fmt"
)

// aac implements AAC for the rest of the package. Everything specific to AAC is in this
// file.
var aac = codec{
	name:       "AAC",
	fourCC:     "mp4a",
	flvID:      10,
	configBox:  "esds",
	streamType: 0x0f, // in ADTS
	newTrack:   newAACTrack,
	boxed:      appendESDescriptor,
	audio: &audioCodec{
		maxFrame:     maxADTS - adtsHeader,
		hasHeader:    hasADTS,
		frameSize:    adtsFrame,
		headerConfig: adtsConfig,
		elementary:   appendADTS,
		silentFrame:  aacSilentFrame,
	},
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

// aacSilentFrame is nil for the channel layouts that hardly any encoder sends.
func aacSilentFrame(channels int) []byte {
	switch channels {
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

// samplingFrequency reads an index and, if necessary, the frequency after it. It is 0 for
// those that are reserved.
func samplingFrequency(b *bitReader) int {
	switch index := int(b.bits(4)); {
	case index == 15:
		return int(b.bits(24))
	case index < len(aacSampleRates):
		return aacSampleRates[index]
	}
	return 0
}

// extended reads the SBR extension (ISO 14496-3, 1.6.6.1) that may follow the
// configuration of a core, and returns its object type.
func extended(b *bitReader, object uint8) uint8 {
	if b.flag() { // dependsOnCoreCoder
		b.bits(14)
	}
	b.flag() // extensionFlag: 0 for AAC-LC
	const syncSBR, syncPS = 0x2b7, 0x548
	if object != aacLC || b.bits(11) != syncSBR || objectType(b) != aacHE || !b.flag() || b.err != nil {
		return object
	}
	samplingFrequency(b)
	if b.bits(11) == syncPS && b.flag() {
		return aacPS
	}
	return aacHE
}

// appendADTS appends an ADTS header and the frame (ISO 14496-3, 1.A.2.2.1).
func appendADTS(dst []byte, c *AudioConfig, data []byte) []byte {
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

// newAACTrack makes a track from an AudioSpecificConfig (ISO 14496-3,
// 1.6.2.1), which it copies. The error is an *UnsupportedError for one that is in
// order and that players do not know.
func newAACTrack(config []byte) (*Track, error) {
	if len(config) > maxConfig {
		return nil, fmt.Errorf("AudioSpecificConfig of %d bytes: at most %d are accepted", len(config), maxConfig)
	}
	b := &bitReader{b: config}
	object := objectType(b)
	c := &AudioConfig{SampleRate: samplingFrequency(b)}
	channels := b.bits(4)
	switch {
	case channels >= 1 && channels <= 6:
		c.Channels = int(channels)
	case channels == 7:
		c.Channels = 8
	}
	core := object
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
	if c.FrameSamples = 1024; b.flag() { // frameLengthFlag
		c.FrameSamples = 960
	}
	c.RFC6381 = fmt.Sprintf("mp4a.40.%d", extended(b, object))
	return &Track{Codec: AAC, Config: bytes.Clone(config), Audio: c}, nil
}

// hasADTS reports whether data begins as an ADTS header does, with its syncword and
// layer: no raw frame begins so.
func hasADTS(data []byte) bool { return len(data) >= 2 && data[0] == 0xff && data[1]&0xf6 == 0xf0 }

// adtsFrame returns the size of the ADTS header that data begins with, and that of
// the frame with it; 0 where data is none (ISO 14496-3, 1.A.2.2).
func adtsFrame(data []byte) (header, size int) {
	header = adtsHeader
	if len(data) > 1 && data[1]&1 == 0 {
		header += 2 // checksum
	}
	if len(data) < header || !hasADTS(data) {
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

// appendESDescriptor appends what an esds box holds: version and flags, and the
// descriptors (ISO 14496-14, 5.6, and ISO 14496-1, 7.2.6) around an AudioSpecificConfig.
func appendESDescriptor(dst, config []byte, id uint16) []byte {
	n := len(config)
	const header = 5 // tag and size of a descriptor
	dst = append(dst, 0, 0, 0, 0)
	dst = appendDescriptor(dst, 0x03, 3+header+13+header+n+header+1) // ES_Descriptor
	dst = append(dst, byte(id>>8), byte(id), 0)
	dst = appendDescriptor(dst, 0x04, 13+header+n) // DecoderConfigDescriptor
	dst = append(dst, 0x40, 0x15)                  // MPEG-4 audio, audio stream
	dst = append(dst, 0, 0, 0)                     // decoder buffer: not said
	dst = append(dst, 0, 0, 0, 0, 0, 0, 0, 0)      // bit rates: not said
	dst = appendDescriptor(dst, 0x05, n)           // DecoderSpecificInfo
	dst = append(dst, config...)
	dst = appendDescriptor(dst, 0x06, 1) // SLConfigDescriptor
	return append(dst, 2)
}

// appendDescriptor appends a tag and a size in the four-byte form.
func appendDescriptor(dst []byte, tag byte, size int) []byte {
	return append(dst, tag, 0x80|byte(size>>21), 0x80|byte(size>>14), 0x80|byte(size>>7), byte(size)&0x7f)
}
