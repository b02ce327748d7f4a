package flv

import (
	"time"

	"github.com/millrace/millrace/internal/media"
)

// TagType returns the type of the tags that carry t.
func TagType(t *media.Track) byte {
	if t.IsVideo() {
		return TagVideo
	}
	return TagAudio
}

// Milliseconds returns t as the timestamp of a tag or message. It wraps at 32 bits, as on
// the wire.
func Milliseconds(t time.Duration) uint32 { return uint32(t.Milliseconds()) }

// AppendConfig appends the body of the sequence header of t, in the FourCC
// form or the classic one.
func AppendConfig(b []byte, t *media.Track, fourCC bool) []byte {
	switch {
	case t.IsVideo() && fourCC:
		b = append(append(b, 0x80|frameTypeKey<<4|exSequenceStart), t.Codec.FourCC()...)
	case t.IsVideo():
		b = append(b, frameTypeKey<<4|t.Codec.FLVID(), packetConfig, 0, 0, 0)
	case fourCC:
		b = append(append(b, soundFormatEx<<4|exSequenceStart), t.Codec.FourCC()...)
	default:
		b = append(b, audioTag(t), packetConfig)
	}
	return append(b, t.Config...)
}

// audioTag says 44 kHz, 16 bit, stereo, as E.4.2.1 asks for AAC whatever the truth is.
func audioTag(t *media.Track) byte { return t.Codec.FLVID()<<4 | 0x0f }

// AppendFrameHeader appends what precedes f.Data in the body of its tag, in the FourCC
// form or the classic one.
func AppendFrameHeader(b []byte, f media.Frame, fourCC bool) []byte {
	if !f.Track.IsVideo() {
		if fourCC {
			return append(append(b, soundFormatEx<<4|exCodedFrames), f.Track.Codec.FourCC()...)
		}
		return append(b, audioTag(f.Track), packetFrame)
	}
	kind := byte(frameTypeInter << 4)
	if f.Key {
		kind = frameTypeKey << 4
	}
	// Of two rounded times, so that the sum gives back the rounded PTS.
	offset := max(-1<<23, min(f.PTS.Milliseconds()-f.DTS.Milliseconds(), 1<<23-1))
	switch {
	case fourCC && offset == 0:
		return append(append(b, 0x80|kind|exCodedFramesX), f.Track.Codec.FourCC()...)
	case fourCC:
		b = append(append(b, 0x80|kind|exCodedFrames), f.Track.Codec.FourCC()...)
	default:
		b = append(b, kind|f.Track.Codec.FLVID(), packetFrame)
	}
	return append(b, byte(offset>>16), byte(offset>>8), byte(offset))
}
