package media

import "time"

// An AudioInput turns an encoder's messages of one audio track into frames. The zero
// value is ready to use.
type AudioInput struct {
	Stats InputStats

	track *Track
}

// Configure takes the decoder configuration in a sequence header, in the form of
// Track.Config. A damaged one changes nothing.
func (in *AudioInput) Configure(c Codec, config []byte) error {
	track, err := NewTrack(c, config)
	if err != nil {
		in.Stats.BadConfigs++
		return err
	}
	if !in.track.Decodes(track) {
		in.track = track
	}
	return nil
}

// Track returns the track of the newest configuration; nil before the first.
func (in *AudioInput) Track() *Track { return in.track }

// Push appends the frames in a message's payload to frames: one raw frame, or frames with
// headers, which also serve as a configuration if none has come. Their Data aliases data.
func (in *AudioInput) Push(frames []Frame, c Codec, data []byte, dts time.Duration) []Frame {
	if len(data) == 0 {
		return frames
	}
	if in.track != nil && in.track.Codec != c {
		in.track = nil // until its configuration comes
	}
	audio := c.info().audio
	if !audio.hasHeader(data) {
		return in.frame(frames, data, dts)
	}
	in.Stats.Repaired++
	for len(data) > 0 {
		header, size := audio.frameSize(data)
		if size == 0 {
			in.Stats.Malformed++
			return frames
		}
		if in.track == nil {
			_ = in.Configure(c, audio.headerConfig(data)) // counted: the frame is early then
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
