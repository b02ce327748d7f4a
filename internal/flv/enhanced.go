package flv

import (
	"fmt"
	"time"

	"github.com/millrace/millrace/internal/media"
)

// Enhanced RTMP v2: ExAudioTagHeader and ExVideoTagHeader.
const (
	soundFormatEx = 9 // in the place of a classic tag's audio codec

	exSequenceStart = 0
	exCodedFrames   = 1
	exSequenceEnd   = 2
	exCodedFramesX  = 3 // video only: coded frames whose composition time is 0
	exMetadata      = 4 // audio: multichannel configuration
	exMultitrack    = 5 // audio
	exMultitrackV   = 6 // video
	exModEx         = 7

	modExTimestampNano = 0
)

var fourCCs = map[string]string{
	"hvc1": "HEVC video", "hev1": "HEVC video", "av01": "AV1 video", "vp09": "VP9 video", "vp08": "VP8 video", "vvc1": "VVC video",
	"Opus": "Opus audio", "fLaC": "FLAC audio", "ac-3": "AC-3 audio", "ec-3": "E-AC-3 audio", ".mp3": "MP3 audio",
}

// carriedFourCC returns the codec of an enhanced tag, if it is carried.
func carriedFourCC(video bool, fourCC []byte) (c media.Codec, ok bool) {
	for c := range media.Codecs() {
		if c.IsVideo() == video && c.FourCC() == string(fourCC) {
			return c, true
		}
	}
	return 0, false
}

func unsupportedFourCC(fourCC []byte) error {
	if name := fourCCs[string(fourCC)]; name != "" {
		return &UnsupportedError{name}
	}
	return &UnsupportedError{fmt.Sprintf("codec %q", fourCC)}
}

// modEx reads the ModEx packets before the real packet type. b begins after the byte that
// announced the first one. The nanoseconds are to be added to the tag's timestamp. ok is
// false where the tag ends inside them.
func modEx(packet byte, b []byte) (realPacket byte, nano time.Duration, rest []byte, ok bool) {
	for packet == exModEx {
		if len(b) < 1 {
			return 0, 0, nil, false
		}
		size, used := int(b[0])+1, 1
		if size == 256 {
			if len(b) < 3 {
				return 0, 0, nil, false
			}
			size, used = int(b[1])<<8+int(b[2])+1, 3
		}
		if len(b) < used+size+1 {
			return 0, 0, nil, false
		}
		data, next := b[used:used+size], b[used+size]
		if next>>4 == modExTimestampNano && size >= 3 {
			nano = time.Duration(min(uint24(data), 999_999))
		}
		packet, b = next&0x0f, b[used+size+1:]
	}
	return packet, nano, b, true
}

func uint24(b []byte) uint32 { return uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]) }

func (d *Decoder) enhancedVideo(body []byte, dts time.Duration) error {
	packet, nano, b, ok := modEx(body[0]&0x0f, body[1:])
	switch {
	case !ok:
		d.video.Stats.Malformed++
		return nil
	case packet == exMetadata, body[0]>>4&7 == frameTypeCommand: // a seek command of one byte, and no FourCC
		return nil
	case packet == exMultitrackV:
		return &UnsupportedError{multitrackVideo}
	case len(b) < 4:
		d.video.Stats.Malformed++
		return nil
	}
	c, ok := carriedFourCC(true, b[:4])
	if !ok {
		return unsupportedFourCC(b[:4])
	}
	dts, b = dts+nano, b[4:]
	switch {
	case packet == exSequenceStart:
		d.videoConfig(c, b)
	case packet == exCodedFrames && len(b) >= 3:
		d.videoFrame(c, b[3:], dts, compositionTime(b))
	case packet == exCodedFrames:
		d.video.Stats.Malformed++
	case packet == exCodedFramesX:
		d.videoFrame(c, b, dts, 0)
	}
	return nil
}

func (d *Decoder) enhancedAudio(body []byte, dts time.Duration) error {
	packet, nano, b, ok := modEx(body[0]&0x0f, body[1:])
	switch {
	case !ok:
		d.audio.Stats.Malformed++
		return nil
	case packet == exMultitrack:
		return &UnsupportedError{multitrackAudio}
	case len(b) < 4:
		d.audio.Stats.Malformed++
		return nil
	}
	c, ok := carriedFourCC(false, b[:4])
	if !ok {
		return unsupportedFourCC(b[:4])
	}
	switch b = b[4:]; packet {
	case exSequenceStart:
		return d.audioConfig(c, b)
	case exCodedFrames:
		d.audioFrame(c, b, dts+nano)
	}
	return nil
}
