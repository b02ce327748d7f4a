package media

import (
	"bytes"
	"fmt"
	"iter"
	"time"
)

// Codec names how a track is coded.
type Codec uint8

// The codecs that Millrace carries.
const (
	H264 Codec = iota + 1
	AAC
)

// Carried says in words what an encoder can send.
const Carried = "H.264 video and AAC audio"

// codecs says how each Codec is named in other formats.
var codecs = [...]struct {
	name       string
	video      bool
	fourCC     string
	flvID      byte
	configBox  string
	streamType byte
}{
	0:    {"unknown codec", false, "", 0, "", 0},
	H264: {"H.264", true, "avc1", 7, "avcC", 0x1b},
	AAC:  {"AAC", false, "mp4a", 10, "esds", 0x0f}, // in ADTS
}

// Codecs yields the codecs that are carried.
func Codecs() iter.Seq[Codec] {
	return func(yield func(Codec) bool) {
		for c := Codec(1); int(c) < len(codecs) && yield(c); c++ {
		}
	}
}

// IsVideo reports whether the codec is one of video.
func (c Codec) IsVideo() bool { return codecs[c.info()].video }

func (c Codec) info() int {
	if int(c) < len(codecs) {
		return int(c)
	}
	return 0
}

func (c Codec) String() string { return codecs[c.info()].name }

// FourCC is the type of the codec's sample entry in MP4 files (the registration
// authority of ISO 14496-12), which is also its name in Enhanced RTMP.
func (c Codec) FourCC() string { return codecs[c.info()].fourCC }

// FLVID is the codec's number in classic FLV tags (Video File Format Specification
// 10.1, E.4.2.1 and E.4.3.1).
func (c Codec) FLVID() byte { return codecs[c.info()].flvID }

// ConfigBox is the type of the box in that sample entry that holds Track.Config,
// for AAC inside descriptors.
func (c Codec) ConfigBox() string { return codecs[c.info()].configBox }

// StreamType is the codec's stream_type in a transport stream (ISO 13818-1, table
// 2-34).
func (c Codec) StreamType() byte { return codecs[c.info()].streamType }

// NewTrack makes a track of that codec from its configuration, as Track.Config has
// it.
func NewTrack(c Codec, config []byte) (*Track, error) {
	switch c {
	case H264:
		return NewH264Track(config)
	case AAC:
		return NewAACTrack(config)
	}
	return nil, fmt.Errorf("codec %d is unknown", c)
}

// RFC6381 is the track's entry in a playlist's CODECS attribute.
func (t *Track) RFC6381() string {
	if t.IsVideo() {
		return t.Video.RFC6381()
	}
	return t.Audio.RFC6381()
}

// Decodes reports whether a decoder that is set up for t can continue with frames of
// o as it is. What Config holds besides does not matter.
func (t *Track) Decodes(o *Track) bool {
	switch {
	case t == o:
		return true
	case t == nil || o == nil || t.Codec != o.Codec:
		return false
	case bytes.Equal(t.Config, o.Config):
		return true
	case t.IsVideo():
		return t.Video.decodes(o.Video)
	}
	return t.Audio.decodes(o.Audio)
}

// WellFormed reports whether data can be a frame of t.
func (t *Track) WellFormed(data []byte) bool {
	if t.IsVideo() {
		return wellFormed(data)
	}
	return len(data) <= maxADTS-adtsHeader
}

// HasCaptions reports whether a frame of t carries CEA-608 or 708 captions.
func (t *Track) HasCaptions(data []byte) bool { return t.IsVideo() && hasCaptions(data) }

// KeyInterval is how many frames of t are from one key frame to the next at most, as
// the encoder says in the data of one; 0 where it does not say.
func (t *Track) KeyInterval(data []byte) int {
	if !t.IsVideo() {
		return 0
	}
	return x264KeyInterval(data)
}

// AppendElementary appends a well-formed frame of t as an elementary stream has it
// in a transport stream: Annex B for H.264, ADTS for AAC. Where config is set, what
// a decoder has to know in order to begin comes ahead of it.
func (t *Track) AppendElementary(dst, data []byte, config bool) []byte {
	if t.IsVideo() {
		return t.Video.appendAnnexB(dst, data, config)
	}
	return t.Audio.appendADTS(dst, data)
}

// FrameSamples is how many samples of each channel a frame of audio holds.
func (t *Track) FrameSamples() int { return t.Audio.frameSamples() }

// FrameDuration is how long a frame of audio lasts, and 0 for video, whose frames
// last until the next one.
func (t *Track) FrameDuration() time.Duration {
	if t.IsVideo() || t.Audio.SampleRate <= 0 {
		return 0
	}
	return time.Second * time.Duration(t.FrameSamples()) / time.Duration(t.Audio.SampleRate)
}

// SilentFrame is a frame of audio that can stand in for a missing one; nil where
// there is none for the track's channels.
func (t *Track) SilentFrame() []byte { return t.Audio.silentFrame() }
