package media

import (
	"bytes"
	"fmt"
	"iter"
	"strings"
	"time"
)

// Codec is a coding format.
type Codec uint8

// The codecs that Millrace carries.
const (
	H264 Codec = iota + 1
	AAC
)

// codecs are the codecs that are carried, each from files of its own. To add one, add its
// files and a line here: no other code is specific to a codec.
var codecs = [...]*codec{H264: &h264, AAC: &aac}

// A codec implements what is specific to a coding format.
type codec struct {
	name       string
	fourCC     string
	flvID      byte // 0 where there is none
	configBox  string
	brand      string // of MP4 files; "" where there is none
	streamType byte

	// newTrack makes a track from a decoder configuration, which it copies.
	newTrack func(config []byte) (*Track, error)

	// boxed appends what the configBox holds, for the elementary stream of that id;
	// nil where that is the configuration itself.
	boxed func(dst, config []byte, id uint16) []byte

	video *videoCodec // nil for audio
	audio *audioCodec // nil for video
}

// A videoCodec implements what is specific to a codec whose access units consist of NAL
// units.
type videoCodec struct {
	// lengthSize returns the size of the length in front of each NAL unit, as a valid
	// decoder configuration declares it.
	lengthSize func(config []byte) int

	// kind returns the role of a NAL unit, which is not empty, in its access unit.
	kind func(nal []byte) nalKind

	// key reports whether an access unit is a key frame. If it is, it also returns the id
	// of the parameter set of the first slice; otherwise, or if that is unclear, -1.
	key func(data []byte) (set int, key bool)

	newSets func() parameterSets

	// record is the decoder configuration of the sets that c has.
	record func(c *VideoConfig) []byte

	// hasSets reports whether an access unit brings all the parameter sets it needs.
	hasSets func(data []byte) bool

	// delimiter is the NAL unit that begins any access unit of a byte stream.
	delimiter []byte

	// seiHeader begins an SEI NAL unit that stands in front of slices.
	seiHeader []byte

	// recoveryPoint is an SEI NAL unit that says that a decoder can start with the
	// access unit.
	recoveryPoint []byte

	// keyInterval is Track.KeyInterval.
	keyInterval func(data []byte) int
}

// parameterSets are the newest of each id, of all kinds that the codec has.
type parameterSets interface {
	// put keeps a parameter set, which it copies. It reports whether it is one.
	put(nal []byte) bool

	// changes is how often the sets have changed.
	changes() int

	// complete reports whether there are sets that a frame can refer to.
	complete() bool

	// active returns the configuration for frames that refer to the set with that id, or
	// to the first set if there is no such one. The sets must be complete.
	active(id int) *VideoConfig
}

// An audioCodec implements what is specific to an audio codec.
type audioCodec struct {
	maxFrame int // bytes

	// hasHeader reports whether a message begins with a header that some encoders put
	// ahead of each frame. frameSize is then the size of that header, and of the frame
	// with it, which is 0 where it makes no sense; headerConfig is the decoder
	// configuration that it stands for.
	hasHeader    func(data []byte) bool
	frameSize    func(data []byte) (header, size int)
	headerConfig func(data []byte) []byte

	// elementary appends a frame as an elementary stream has it.
	elementary func(dst []byte, c *AudioConfig, data []byte) []byte

	// silentFrame is Track.SilentFrame.
	silentFrame func(channels int) []byte
}

// Codecs yields the codecs that are carried.
func Codecs() iter.Seq[Codec] {
	return func(yield func(Codec) bool) {
		for c := Codec(1); int(c) < len(codecs) && yield(c); c++ {
		}
	}
}

// Carried describes what an encoder can send, as "H.264 video and AAC audio".
func Carried() string {
	var video, audio []string
	for c := range Codecs() {
		if c.IsVideo() {
			video = append(video, c.String())
		} else {
			audio = append(audio, c.String())
		}
	}
	return strings.Join(video, " or ") + " video and " + strings.Join(audio, " or ") + " audio"
}

// IsVideo reports whether the codec is a video codec.
func (c Codec) IsVideo() bool { return c.info().video != nil }

var unknown = codec{name: "unknown codec"}

func (c Codec) info() *codec {
	if c == 0 || int(c) >= len(codecs) {
		return &unknown
	}
	return codecs[c]
}

func (c Codec) String() string { return c.info().name }

// FourCC returns the type of the codec's sample entry in MP4 files (the registration
// authority of ISO 14496-12), which is also its name in Enhanced RTMP.
func (c Codec) FourCC() string { return c.info().fourCC }

// FLVID returns the codec's number in classic FLV tags (Video File Format Specification
// 10.1, E.4.2.1 and E.4.3.1).
func (c Codec) FLVID() byte { return c.info().flvID }

// ConfigBox returns the type of the box in that sample entry that holds the decoder
// configuration; see Track.AppendConfigBox.
func (c Codec) ConfigBox() string { return c.info().configBox }

// Brand returns the brand of MP4 files that the codec requires; "" if it requires none.
func (c Codec) Brand() string { return c.info().brand }

// StreamType returns the codec's stream_type in a transport stream (ISO 13818-1, table
// 2-34).
func (c Codec) StreamType() byte { return c.info().streamType }

// NewTrack makes a track of that codec from its configuration, in the form of
// Track.Config.
func NewTrack(c Codec, config []byte) (*Track, error) {
	if c.info() == &unknown {
		return nil, fmt.Errorf("codec %d is unknown", c)
	}
	return c.info().newTrack(config)
}

// maxConfig bounds a decoder configuration. Real ones have 2 to 200 bytes.
const maxConfig = 4096

// An UnsupportedError is a well-formed configuration that players may not support.
type UnsupportedError struct{ Codec string }

func (e *UnsupportedError) Error() string { return e.Codec + " is not supported" }

// RFC6381 returns the track's entry in a playlist's CODECS attribute.
func (t *Track) RFC6381() string {
	if t.IsVideo() {
		return t.Video.RFC6381
	}
	return t.Audio.RFC6381
}

// AppendConfigBox appends the content of the box of Codec.ConfigBox, for a track of that
// number.
func (t *Track) AppendConfigBox(dst []byte, id uint16) []byte {
	if boxed := t.Codec.info().boxed; boxed != nil {
		return boxed(dst, t.Config, id)
	}
	return append(dst, t.Config...)
}

// Decodes reports whether a decoder configured for t can decode frames of o. Other
// differences of Config do not matter.
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
	return *t.Audio == *o.Audio
}

// WellFormed reports whether data can be a frame of t.
func (t *Track) WellFormed(data []byte) bool {
	if t.IsVideo() {
		return wellFormedNALs(data)
	}
	return len(data) <= t.Codec.info().audio.maxFrame
}

// HasCaptions reports whether a frame of t carries CEA-608 or 708 captions.
func (t *Track) HasCaptions(data []byte) bool {
	return t.IsVideo() && t.Codec.info().video.hasCaptions(data)
}

// KeyInterval returns the maximum number of frames of t from one key frame to the next,
// as the encoder declares it in the data of one; 0 if it does not.
func (t *Track) KeyInterval(data []byte) int {
	if !t.IsVideo() {
		return 0
	}
	return t.Codec.info().video.keyInterval(data)
}

// AppendRecoveryPoint appends the data of a video frame of t together with a message that
// a decoder can start with it. ffmpeg takes such a frame for a key frame; players must
// not get it, since decoders cannot really start there.
func (t *Track) AppendRecoveryPoint(dst, data []byte) []byte {
	return t.Codec.info().video.appendRecoveryPoint(dst, data)
}

// AppendElementary appends a well-formed frame of t in the form of an elementary stream
// in a transport stream, such as Annex B for H.264 or ADTS for AAC. With config, it is
// preceded by what a decoder needs to start.
func (t *Track) AppendElementary(dst, data []byte, config bool) []byte {
	if t.IsVideo() {
		return t.Codec.info().video.appendAnnexB(dst, t.Video, data, config)
	}
	return t.Codec.info().audio.elementary(dst, t.Audio, data)
}

// FrameSamples returns how many samples of each channel an audio frame has.
func (t *Track) FrameSamples() int { return t.Audio.FrameSamples }

// FrameDuration returns the duration of an audio frame, and 0 for video, whose frames
// last until the next one.
func (t *Track) FrameDuration() time.Duration {
	if t.IsVideo() || t.Audio.SampleRate <= 0 {
		return 0
	}
	return time.Second * time.Duration(t.FrameSamples()) / time.Duration(t.Audio.SampleRate)
}

// SilentFrame returns an audio frame that can replace a missing one; nil if there is none
// for the track's channels.
func (t *Track) SilentFrame() []byte {
	return t.Codec.info().audio.silentFrame(t.Audio.Channels)
}
