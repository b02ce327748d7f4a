package mpegts

import (
	"encoding/binary"

	"github.com/millrace/millrace/internal/media"
)

// appendAnnexB writes an access unit of NAL units behind four-byte lengths as a
// byte stream (ITU-T H.264, annex B): a delimiter first, then, if asked for, the
// parameter sets, unless the access unit brings its own. Where a length points
// behind the end of data, the rest is left out.
func appendAnnexB(dst, data []byte, c *media.VideoConfig, sets bool) []byte {
	dst = append(dst, 0, 0, 0, 1, media.NALAUD, 0xf0) // primary_pic_type 7: any slices
	if sets && !hasSPS(data) {
		for _, nal := range c.SPS {
			dst = appendNAL(dst, nal)
		}
		for _, nal := range c.PPS {
			dst = appendNAL(dst, nal)
		}
	}
	for nal := range nals(data) {
		if nal[0]&0x1f != media.NALAUD {
			dst = appendNAL(dst, nal)
		}
	}
	return dst
}

func appendNAL(dst, nal []byte) []byte {
	return append(append(dst, 0, 0, 0, 1), nal...)
}

func hasSPS(data []byte) bool {
	for nal := range nals(data) {
		if nal[0]&0x1f == media.NALSPS {
			return true
		}
	}
	return false
}

// nals yields the NAL units of data that are not empty.
func nals(data []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(data) >= 4 {
			n := binary.BigEndian.Uint32(data)
			if uint64(n) > uint64(len(data)-4) {
				return
			}
			if n > 0 && !yield(data[4:4+n]) {
				return
			}
			data = data[4+n:]
		}
	}
}

// appendADTS writes the header of an ADTS frame with size bytes of AAC
// (ISO 14496-3, 1.A.2.2.1).
func appendADTS(dst []byte, c *media.AudioConfig, size int) []byte {
	profile := byte(1) // AAC LC, also as the core of HE-AAC
	if c.ObjectType >= 1 && c.ObjectType <= 4 {
		profile = byte(c.ObjectType - 1)
	}
	channels := byte(c.Channels)
	if c.Channels == 8 {
		channels = 7
	}
	n := adtsHeader + size
	return append(dst, 0xff, 0xf1,
		profile<<6|frequencyIndex(c.SampleRate)<<2|channels>>2,
		channels<<6|byte(n>>11), byte(n>>3), byte(n<<5)|0x1f, 0xfc)
}

// frequencyIndex is the sampling_frequency_index (ISO 14496-3, table 1.18) at
// or below rate: ADTS has no room for another one.
func frequencyIndex(rate int) byte {
	for i, r := range [...]int{96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350} {
		if rate >= r {
			return byte(i)
		}
	}
	return 12
}
