package flv

import (
	"errors"
	"fmt"
	"time"

	"github.com/millrace/millrace/internal/media"
)

// A Decoder turns tag bodies into frames: Video and Audio take a body, and Next returns
// the frames that are complete then, usually one. A track stays the same *media.Track as
// long as a decoder need not be configured again. The zero Decoder is ready to use.
type Decoder struct {
	video media.VideoInput
	audio media.AudioInput

	ready    []media.Frame // what Next returns; reused
	returned int           // of them

	videoTags, audioTags int64
	keyed                bool  // a key frame has been returned
	badConfig            error // the newest sequence header of video that was left out
	transport            bool  // a tag held an MPEG transport stream
}

// Next returns the next complete frame; ok is false if there is none. Its Data is valid
// until the next body is taken, which it may alias.
func (d *Decoder) Next() (f media.Frame, ok bool) {
	if d.returned == len(d.ready) {
		return f, false
	}
	f = d.ready[d.returned]
	d.returned++
	d.keyed = d.keyed || f.Key && f.Track.IsVideo()
	return f, true
}

// Flush completes the frame of which a part has come, for Next: the rest will not come.
func (d *Decoder) Flush() { d.begin(); d.ready = d.video.Flush(d.ready) }

// begin drops the frames of the body before.
func (d *Decoder) begin() { d.ready, d.returned = d.ready[:0], 0 }

// AudioTrack returns the track that the last audio sequence header announced, nil before
// the first.
func (d *Decoder) AudioTrack() *media.Track { return d.audio.Track() }

// Stats returns the counts so far, of both tracks.
func (d *Decoder) Stats() media.InputStats { return d.video.Stats.Add(d.audio.Stats) }

// Keyed reports whether a key frame of video has been returned.
func (d *Decoder) Keyed() bool { return d.keyed }

// Problem explains why there is no key frame of video, for the operator of the encoder.
func (d *Decoder) Problem() string {
	stats := d.video.Stats
	switch {
	case d.transport:
		return "The messages hold an MPEG transport stream: send " + media.Carried() + " as FLV does."
	case d.videoTags == 0 && d.audioTags == 0:
		return "The stream has neither video nor audio: send " + media.Carried() + "."
	case d.videoTags == 0:
		return "The stream has no video: send " + media.Carried() + "."
	case !d.video.Configured() && d.badConfig != nil:
		return fmt.Sprintf("The sequence header of the video cannot be used: %v.", d.badConfig)
	case !d.video.Configured() && stats.Early > 0:
		return "The video has no sequence header, and no parameter sets (SPS, PPS) in its key frames."
	case stats.Malformed > 0:
		return "The video messages do not hold NAL units behind their lengths: send " + media.Carried() + "."
	case !d.video.Configured():
		return "The video messages hold neither a sequence header nor frames."
	}
	return "No key frame came: a stream begins with an IDR frame. Set a key frame interval of 2 s, and no intra refresh."
}

// Frame types and packet types of classic tags, E.4.2.1 and E.4.3.1.
const (
	frameTypeKey     = 1
	frameTypeInter   = 2
	frameTypeCommand = 5

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

// carried returns the codec of a classic tag, if it is carried.
func carried(video bool, id byte) (c media.Codec, ok bool) {
	for c := range media.Codecs() {
		if c.IsVideo() == video && c.FLVID() == id && id != 0 {
			return c, true
		}
	}
	return 0, false
}

func unsupported(names *[16]string, id byte, kind string) error {
	if name := names[id]; name != "" {
		return &UnsupportedError{name}
	}
	return &UnsupportedError{fmt.Sprintf("%s codec %d", kind, id)}
}

// Video takes the body of a video tag whose timestamp is dts. Damaged sequence headers
// and undecodable frames are dropped and counted. The error is an *UnsupportedError.
func (d *Decoder) Video(body []byte, dts time.Duration) error {
	d.begin()
	if len(body) == 0 {
		return nil
	}
	if isTransport(body) {
		d.transport = true
		return nil
	}
	d.videoTags++
	if body[0]&0x80 != 0 {
		return d.enhancedVideo(body, dts)
	}
	if body[0]>>4 == frameTypeCommand {
		return nil
	}
	c, ok := carried(true, body[0]&0x0f)
	if !ok {
		return unsupported(&videoCodecs, body[0]&0x0f, "video")
	}
	if len(body) < 5 {
		return nil
	}
	switch body[1] {
	case packetConfig:
		d.videoConfig(c, body[5:])
	case packetFrame:
		d.videoFrame(c, body[5:], dts, compositionTime(body[2:]))
	}
	return nil
}

// Audio takes the body of an audio tag, as Video does that of a video tag.
func (d *Decoder) Audio(body []byte, dts time.Duration) error {
	d.begin()
	if len(body) == 0 {
		return nil
	}
	if isTransport(body) {
		d.transport = true
		return nil
	}
	d.audioTags++
	id := body[0] >> 4
	if id == soundFormatEx {
		return d.enhancedAudio(body, dts)
	}
	c, ok := carried(false, id)
	if !ok {
		return unsupported(&audioCodecs, id, "audio")
	}
	if len(body) < 2 {
		return nil
	}
	switch body[1] {
	case packetConfig:
		return d.audioConfig(c, body[2:])
	case packetFrame:
		d.audioFrame(c, body[2:], dts)
	}
	return nil
}

// isTransport reports whether body is packets of a transport stream, which some
// encoders send where a tag belongs.
func isTransport(body []byte) bool {
	const packet, sync = 188, 0x47
	return len(body) >= 2*packet && body[0] == sync && body[packet] == sync
}

// compositionTime reads a signed 24-bit count of milliseconds.
func compositionTime(b []byte) time.Duration {
	ms := int32(uint32(b[0])<<24|uint32(b[1])<<16|uint32(b[2])<<8) >> 8
	return time.Duration(ms) * time.Millisecond
}

// videoConfig takes a decoder configuration. An empty one, which some encoders send at
// their end, changes nothing, and neither does a damaged one.
func (d *Decoder) videoConfig(c media.Codec, config []byte) {
	if len(config) > 0 {
		d.ready, d.badConfig = d.video.Configure(d.ready, c, config)
	}
}

// audioConfig takes a decoder configuration. One that cannot be carried is an error;
// a damaged one changes nothing.
func (d *Decoder) audioConfig(c media.Codec, config []byte) error {
	if len(config) == 0 {
		return nil
	}
	var unsupported *media.UnsupportedError
	if errors.As(d.audio.Configure(c, config), &unsupported) {
		return &UnsupportedError{unsupported.Codec}
	}
	return nil
}

func (d *Decoder) videoFrame(c media.Codec, data []byte, dts, offset time.Duration) {
	if isTransport(data) {
		d.transport = true
		return
	}
	d.ready = d.video.Push(d.ready, c, data, dts, dts+offset)
}

func (d *Decoder) audioFrame(c media.Codec, data []byte, dts time.Duration) {
	d.ready = d.video.FlushBefore(d.ready, dts)
	d.ready = d.audio.Push(d.ready, c, data, dts)
}
