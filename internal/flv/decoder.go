package flv

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/millrace/millrace/internal/media"
)

// A Decoder turns tag bodies into frames. It keeps the current track of each
// kind: a sequence header that repeats the last one keeps the *media.Track, a
// changed one makes a new Track. The zero Decoder is ready.
type Decoder struct {
	Early     int64 // frames dropped because no sequence header had come
	Malformed int64 // video frames whose NAL lengths do not add up: cut where they stop, or dropped

	video, audio *media.Track
	lengthSize   int    // bytes before each NAL unit, as the encoder sends them
	buf          []byte // the frame with four-byte lengths, where lengthSize is not 4
}

// AudioTrack is the track that the last audio sequence header announced, nil
// before the first.
func (d *Decoder) AudioTrack() *media.Track { return d.audio }

// Frame types and packet types of classic tags, E.4.2.1 and E.4.3.1.
const (
	frameTypeKey     = 1
	frameTypeInter   = 2
	frameTypeCommand = 5

	codecAVC = 7
	codecAAC = 10

	packetConfig = 0
	packetFrame  = 1
)

var (
	videoCodecs = [16]string{
		2: "Sorenson H.263 video", 3: "screen video", 4: "VP6 video", 5: "VP6 video", 6: "screen video",
		8: "H.263 video", 9: "MPEG-4 part 2 video", 12: "HEVC video", 13: "AV1 video",
	}
	audioCodecs = [16]string{
		0: "PCM audio", 1: "ADPCM audio", 2: "MP3 audio", 3: "PCM audio", 4: "Nellymoser audio", 5: "Nellymoser audio",
		6: "Nellymoser audio", 7: "G.711 audio", 8: "G.711 audio", 11: "Speex audio", 13: "Opus audio", 14: "MP3 audio",
	}
)

func unsupported(names *[16]string, id byte, kind string) error {
	if name := names[id]; name != "" {
		return &UnsupportedError{name}
	}
	return &UnsupportedError{fmt.Sprintf("%s codec %d", kind, id)}
}

// Video decodes the body of a video tag whose timestamp is dts. ok is false for
// a tag that holds no frame: a sequence header, an end of sequence, metadata,
// an empty body, or a frame that was dropped and counted. Frame.Data may alias
// body. The error is an *UnsupportedError or wraps ErrMalformed.
func (d *Decoder) Video(body []byte, dts time.Duration) (f media.Frame, ok bool, err error) {
	if len(body) == 0 {
		return f, false, nil
	}
	if body[0]&0x80 != 0 {
		return d.enhancedVideo(body, dts)
	}
	if body[0]>>4 == frameTypeCommand {
		return f, false, nil
	}
	if id := body[0] & 0x0f; id != codecAVC {
		return f, false, unsupported(&videoCodecs, id, "video")
	}
	if len(body) < 5 {
		return f, false, nil
	}
	switch body[1] {
	case packetConfig:
		return f, false, d.videoConfig(body[5:])
	case packetFrame:
		f, ok = d.videoFrame(body[5:], dts, compositionTime(body[2:]))
	}
	return f, ok, nil
}

// Audio decodes the body of an audio tag as Video does that of a video tag.
func (d *Decoder) Audio(body []byte, dts time.Duration) (f media.Frame, ok bool, err error) {
	if len(body) == 0 {
		return f, false, nil
	}
	id := body[0] >> 4
	if id == soundFormatEx {
		return d.enhancedAudio(body, dts)
	}
	if id != codecAAC {
		return f, false, unsupported(&audioCodecs, id, "audio")
	}
	if len(body) < 2 {
		return f, false, nil
	}
	switch body[1] {
	case packetConfig:
		return f, false, d.audioConfig(body[2:])
	case packetFrame:
		f, ok = d.audioFrame(body[2:], dts)
	}
	return f, ok, nil
}

// compositionTime reads a signed 24-bit count of milliseconds.
func compositionTime(b []byte) time.Duration {
	ms := int32(uint32(b[0])<<24|uint32(b[1])<<16|uint32(b[2])<<8) >> 8
	return time.Duration(ms) * time.Millisecond
}

// videoConfig takes an AVCDecoderConfigurationRecord. An empty one, which some
// encoders send at their end, changes nothing.
func (d *Decoder) videoConfig(config []byte) error {
	if len(config) == 0 {
		return nil
	}
	size := 4
	if len(config) > 4 {
		size = int(config[4]&3) + 1
	}
	track, err := media.NewH264Track(config)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if !d.video.Decodes(track) {
		d.video = track
	}
	d.lengthSize = size
	return nil
}

func (d *Decoder) audioConfig(config []byte) error {
	if len(config) == 0 {
		return nil
	}
	track, err := media.NewAACTrack(config)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if !d.audio.Decodes(track) {
		d.audio = track
	}
	return nil
}

func (d *Decoder) videoFrame(data []byte, dts, offset time.Duration) (f media.Frame, ok bool) {
	if len(data) == 0 {
		return f, false
	}
	if d.video == nil {
		d.Early++
		return f, false
	}
	n, key := scanNALs(data, d.lengthSize)
	if n < len(data) {
		d.Malformed++
	}
	if n == 0 {
		return f, false
	}
	data = data[:n]
	if d.lengthSize != 4 {
		data = d.widenLengths(data)
	}
	return media.Frame{Track: d.video, DTS: dts, PTS: dts + offset, Key: key, Data: data}, true
}

func (d *Decoder) audioFrame(data []byte, dts time.Duration) (f media.Frame, ok bool) {
	if len(data) == 0 {
		return f, false
	}
	if d.audio == nil {
		d.Early++
		return f, false
	}
	return media.Frame{Track: d.audio, DTS: dts, PTS: dts, Key: true, Data: data}, true
}

// scanNALs returns how many bytes of data are whole NAL units behind lengths of
// size bytes, and whether one of them is part of an IDR picture. The frame type
// of the tag is not asked: encoders call an open GOP's start a key frame.
func scanNALs(data []byte, size int) (n int, key bool) {
	for {
		nal, ok := nextNAL(data[n:], size)
		if !ok {
			return n, key
		}
		if len(nal) > 0 && nal[0]&0x1f == media.NALIDR {
			key = true
		}
		n += size + len(nal)
	}
}

// nextNAL returns the first NAL unit of data, which may be empty.
func nextNAL(data []byte, size int) (nal []byte, ok bool) {
	if len(data) < size {
		return nil, false
	}
	length := uint64(0)
	for _, b := range data[:size] {
		length = length<<8 | uint64(b)
	}
	if length > uint64(len(data)-size) {
		return nil, false
	}
	return data[size : size+int(length)], true
}

func (d *Decoder) widenLengths(data []byte) []byte {
	d.buf = d.buf[:0]
	for len(data) > 0 {
		nal, ok := nextNAL(data, d.lengthSize)
		if !ok {
			break
		}
		d.buf = binary.BigEndian.AppendUint32(d.buf, uint32(len(nal)))
		d.buf = append(d.buf, nal...)
		data = data[d.lengthSize+len(nal):]
	}
	return d.buf
}
