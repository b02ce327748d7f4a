package media

import (
	"bytes"
	"encoding/binary"
	"time"
)

// A VideoInput turns an encoder's messages of one video track into frames: access units
// of NAL units with four-byte lengths, each with the track that it was coded for.
// Configurations come from sequence headers and from the parameter sets before key frames
// alike. The zero value is ready to use.
type VideoInput struct {
	Stats InputStats

	codec Codec       // of what came last; 0 before
	video *videoCodec // what is special to it

	lengthSize int    // bytes in front of each NAL unit, by the sequence header; 0 before it
	announced  *Track // by the newest sequence header
	sets       parameterSets
	track      *Track // of the newest frame
	resolved   int    // how often sets had changed when it was made
	activeSet  int    // the id that the newest key frame refers to; -1 where that is unclear

	mode     joining
	held     heldUnits     // what waits for the rest of its access unit
	spare    []byte        // memory of the access unit that was returned last
	normal   []byte        // memory of a message that had to be rewritten
	last     time.Duration // DTS of the newest frame
	returned bool          // there was one
}

// joining says whether an encoder sends an access unit in several messages.
type joining uint8

const (
	joinUnknown joining = iota // one unit has come, and may be all
	joinNever
	joinAlways
)

// heldUnits are NAL units whose access unit is not known to be complete.
type heldUnits struct {
	data     []byte
	messages int
	slices   bool // there are some; otherwise the units belong to the next frame
	dts, pts time.Duration
}

// maxHeld bounds, in bytes, an access unit that comes in several messages.
const maxHeld = 8 << 20

// use has what follows read as of that codec, which is one of video. What is held of
// another one is complete.
func (in *VideoInput) use(frames []Frame, c Codec) []Frame {
	if c == in.codec {
		return frames
	}
	frames = in.Flush(frames)
	v := c.info().video
	*in = VideoInput{Stats: in.Stats, codec: c, video: v, sets: v.newSets()}
	return frames
}

// Configure takes the decoder configuration in a sequence header, in the form of
// Track.Config, and appends to frames those that are complete before it. A damaged one is
// an error, and changes nothing.
func (in *VideoInput) Configure(frames []Frame, c Codec, config []byte) ([]Frame, error) {
	track, err := NewTrack(c, config)
	if err != nil {
		in.Stats.BadConfigs++
		return frames, err
	}
	frames = in.use(frames, c)
	frames = in.Flush(frames) // it was coded for the sets that are in force
	in.lengthSize = in.video.lengthSize(config)
	in.announced = track
	for _, nal := range track.Video.Sets {
		in.sets.put(nal)
	}
	return frames, nil
}

// Configured reports whether a configuration has come, in a sequence header or in
// parameter sets.
func (in *VideoInput) Configured() bool { return in.sets != nil && in.sets.complete() }

// Push appends the frames that a message's payload completes to frames. Their Data may
// alias data, and is valid until the next call.
func (in *VideoInput) Push(frames []Frame, c Codec, data []byte, dts, pts time.Duration) []Frame {
	frames = in.use(frames, c)
	data, units := in.normalise(data)
	if units.count == 0 {
		return frames
	}
	if units.sets {
		// They stand in front of an access unit: what is held was coded for the
		// sets before them.
		frames = in.Flush(frames)
		in.takeSets(data)
	}
	if units.slices && !in.resolvable() {
		in.Stats.Early++
		in.held.data = in.held.data[:0]
		return frames
	}
	if in.continues(units, dts) {
		return in.join(frames, data, units.slices)
	}
	if in.held.slices {
		frames = in.Flush(frames)
	}
	switch {
	case !units.slices && !units.prefix: // filler, or an end of sequence: of no use to anybody
		return frames
	case units.slices && !units.first && in.returned && dts == in.last:
		in.mode = joinAlways // its beginning has been returned as a frame
		in.Stats.Malformed++
		return frames
	}
	return in.begin(frames, data, units, dts, pts)
}

// begin takes a message that begins an access unit, or continues one that has no
// slices yet.
func (in *VideoInput) begin(frames []Frame, data []byte, units nalSummary, dts, pts time.Duration) []Frame {
	whole := units.slices && (in.mode == joinNever || in.mode == joinUnknown && units.count > 1)
	if whole {
		in.mode = joinNever
	}
	if whole && len(in.held.data) == 0 {
		return in.frame(frames, data, dts, pts)
	}
	if len(in.held.data)+len(data) > maxHeld {
		in.Stats.Malformed++
		in.held = heldUnits{data: in.held.data[:0]}
		return frames
	}
	in.held.data = append(in.held.data, data...)
	in.held.messages++
	in.held.slices, in.held.dts, in.held.pts = units.slices, dts, pts
	if whole {
		return in.Flush(frames)
	}
	return frames
}

// continues reports whether a message continues the access unit that is held:
// it has the same time, and neither a first slice nor a unit that stands in front of
// slices.
func (in *VideoInput) continues(units nalSummary, dts time.Duration) bool {
	return in.held.slices && dts == in.held.dts && !units.first && !units.prefix
}

func (in *VideoInput) join(frames []Frame, data []byte, slices bool) []Frame {
	if len(in.held.data)+len(data) > maxHeld {
		in.Stats.Malformed++
		return frames
	}
	if slices {
		in.mode = joinAlways
	}
	in.held.data = append(in.held.data, data...)
	in.held.messages++
	return frames
}

// FlushBefore appends the pending frame to frames if it is the first and a message of
// another track at time t shows that it was complete. Once frames are known to come in
// pieces it does nothing, since tracks need not come in order.
func (in *VideoInput) FlushBefore(frames []Frame, t time.Duration) []Frame {
	if in.mode == joinUnknown && in.held.slices && t > in.held.dts {
		return in.Flush(frames)
	}
	return frames
}

// Flush appends the pending frame to frames: nothing more of it will come.
func (in *VideoInput) Flush(frames []Frame) []Frame {
	if !in.held.slices {
		return frames
	}
	if in.mode == joinUnknown {
		in.mode = joinNever
	}
	if in.held.messages > 1 {
		in.Stats.Joined++
	}
	h := in.held
	in.held, in.spare = heldUnits{data: in.spare[:0]}, h.data
	return in.frame(frames, h.data, h.dts, h.pts)
}

// frame appends an access unit as a frame of the track that it was coded for.
func (in *VideoInput) frame(frames []Frame, data []byte, dts, pts time.Duration) []Frame {
	key := in.resolve(data)
	in.last, in.returned = dts, true
	return append(frames, Frame{Track: in.track, DTS: dts, PTS: pts, Key: key, Data: data})
}

// resolve finds the track of an access unit: at a key frame by the parameter sets
// that its first slice refers to. Other frames continue with the one before.
func (in *VideoInput) resolve(data []byte) (key bool) {
	set, key := in.video.key(data)
	switch {
	case in.track != nil && !key:
	case in.track != nil && in.resolved == in.sets.changes() && in.activeSet == set:
	default:
		in.setTrack(set)
	}
	return key
}

// setTrack sets the track by the parameter set of that id, or by the first there is.
// Where it is still that of the frame before, it stays the same.
func (in *VideoInput) setTrack(set int) {
	in.resolved, in.activeSet = in.sets.changes(), set
	needed := in.sets.active(set)
	switch {
	case in.track != nil && in.track.Video.decodes(needed):
	case in.announced != nil && in.announced.Video.decodes(needed):
		in.track = in.announced
	default:
		in.track = &Track{Codec: in.codec, Config: in.video.record(needed), Video: needed}
	}
}

// resolvable reports whether there are sets for a frame to refer to.
func (in *VideoInput) resolvable() bool {
	return in.track != nil && in.resolved == in.sets.changes() || in.sets.complete()
}

// takeSets keeps the parameter sets of a message. What cannot be one is counted.
func (in *VideoInput) takeSets(data []byte) {
	for nal := range NALs(data) {
		if in.video.kind(nal)&nalSet != 0 && !in.sets.put(nal) {
			in.Stats.BadConfigs++
		}
	}
}

// normalise returns the payload of a message as NAL units that are preceded by four-byte
// lengths and not empty: data itself if it has that form.
func (in *VideoInput) normalise(data []byte) ([]byte, nalSummary) {
	size := in.lengthSize
	if size == 0 {
		size = 4
	}
	units, end, empty := in.video.scan(data, size)
	if end == len(data) && !empty && size == 4 {
		return data, units
	}
	if end != len(data) {
		if other := in.video.guess(data, size, units.slices); other >= 0 {
			in.Stats.Repaired++
			return in.rewrite(data, other)
		}
		in.Stats.Malformed++
	} else if empty {
		in.Stats.Repaired++
	}
	return in.rewrite(data[:end], size)
}

// guess finds the framing of a message that is not what was declared: lengths of
// another size, unless the declared one has led to slices, or 0 for start codes. It
// returns -1 if nothing makes sense of all of it.
func (v *videoCodec) guess(data []byte, declared int, slices bool) int {
	if bytes.HasPrefix(data, []byte{0, 0, 1}) || bytes.HasPrefix(data, []byte{0, 0, 0, 1}) {
		return 0
	}
	for _, size := range [...]int{4, 2, 1, 3} {
		if size == declared || slices {
			continue
		}
		if units, end, _ := v.scan(data, size); end == len(data) && units.slices && !units.odd {
			return size
		}
	}
	return -1
}

// rewrite copies the units of data, each with a four-byte length.
func (in *VideoInput) rewrite(data []byte, size int) ([]byte, nalSummary) {
	in.normal = in.normal[:0]
	var units nalSummary
	next := func(nal []byte) {
		if len(nal) == 0 {
			return
		}
		units.add(in.video.kind(nal))
		in.normal = append(binary.BigEndian.AppendUint32(in.normal, uint32(len(nal))), nal...)
	}
	if size == 0 {
		splitAnnexB(data, next)
		return in.normal, units
	}
	for len(data) > 0 {
		nal, _ := nextNAL(data, size)
		next(nal)
		data = data[size+len(nal):]
	}
	return in.normal, units
}
