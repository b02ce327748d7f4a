package media

import (
	"bytes"
	"encoding/binary"
)

// Access units of NAL units, as H.264 and later codecs of video have them.

// nalKind is the role of a NAL unit in its access unit, as flags.
type nalKind uint8

const (
	nalSlice     nalKind = 1 << iota // of coded video
	nalFirst                         // the first slice of its frame
	nalPrefix                        // stands only in front of slices
	nalSet                           // a parameter set
	nalSEI                           // supplemental enhancement information
	nalDelimiter                     // says that an access unit begins
	nalOdd                           // cannot be a NAL unit, or is of a type that is not specified
)

// A nalSummary describes the NAL units of a message together.
type nalSummary struct {
	count  int
	slices bool // some are slices
	first  bool // one of them is the first of its frame
	prefix bool // some stand only in front of slices
	sets   bool // some are parameter sets
	odd    bool // some cannot be NAL units, or are of types that are not specified
}

func (s *nalSummary) add(k nalKind) {
	s.count++
	s.slices = s.slices || k&nalSlice != 0
	s.first = s.first || k&nalFirst != 0
	s.prefix = s.prefix || k&nalPrefix != 0
	s.sets = s.sets || k&nalSet != 0
	s.odd = s.odd || k&nalOdd != 0
}

// NALs iterates over the NAL units of a frame's Data. It stops at the first length that
// does not fit, so that damaged frames are truncated and never misread.
func NALs(data []byte) func(yield func(nal []byte) bool) {
	return func(yield func([]byte) bool) {
		for len(data) > 4 {
			size := uint64(binary.BigEndian.Uint32(data))
			if size > uint64(len(data)-4) {
				return
			}
			if size > 0 && !yield(data[4:4+size:4+size]) {
				return
			}
			data = data[4+size:]
		}
	}
}

// wellFormedNALs reports whether data consists of NAL units, each preceded by a four-byte
// length, as decoders expect.
func wellFormedNALs(data []byte) bool {
	for len(data) >= 4 {
		n := binary.BigEndian.Uint32(data)
		if uint64(n) > uint64(len(data)-4) {
			return false
		}
		data = data[4+n:]
	}
	return len(data) == 0
}

// scan parses data as NAL units that are preceded by lengths of size bytes. It returns
// where the last whole unit ends, a summary of the units, and whether some are empty.
func (v *videoCodec) scan(data []byte, size int) (units nalSummary, end int, empty bool) {
	for {
		nal, ok := nextNAL(data[end:], size)
		if !ok {
			return units, end, empty
		}
		if len(nal) == 0 {
			empty = true
		} else {
			units.add(v.kind(nal))
		}
		end += size + len(nal)
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

// appendRecoveryPoint is Track.AppendRecoveryPoint. The message stands right in front of
// the slices: ffmpeg goes by the last one of its kind, and there may be others.
func (v *videoCodec) appendRecoveryPoint(dst, data []byte) []byte {
	at := 0
	for nal, ok := nextNAL(data, 4); ok && (len(nal) == 0 || v.kind(nal)&nalSlice == 0); nal, ok = nextNAL(data[at:], 4) {
		at += 4 + len(nal)
	}
	dst = append(dst, data[:at]...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(v.recoveryPoint)))
	return append(append(dst, v.recoveryPoint...), data[at:]...)
}

// splitAnnexB calls next with each unit of a byte stream (ITU-T H.264 and H.265, B.1).
func splitAnnexB(data []byte, next func(nal []byte)) {
	startCode := []byte{0, 0, 1}
	i := bytes.Index(data, startCode)
	for i >= 0 {
		data = data[i+len(startCode):]
		i = bytes.Index(data, startCode)
		nal := data
		if i >= 0 {
			nal = data[:i]
		}
		if nal = bytes.TrimRight(nal, "\x00"); len(nal) > 0 && nal[0]&0x80 == 0 {
			next(nal)
		}
	}
}

// appendAnnexB appends an access unit as a byte stream (ITU-T H.264, annex B): a
// delimiter first, then, if asked for, the parameter sets, unless the access unit
// brings its own.
func (v *videoCodec) appendAnnexB(dst []byte, c *VideoConfig, data []byte, sets bool) []byte {
	dst = appendStartCode(dst, v.delimiter)
	if sets && !v.hasSets(data) {
		for _, nal := range c.Sets {
			dst = appendStartCode(dst, nal)
		}
	}
	for nal := range NALs(data) {
		if v.kind(nal)&nalDelimiter == 0 {
			dst = appendStartCode(dst, nal)
		}
	}
	return dst
}

func appendStartCode(dst, nal []byte) []byte {
	return append(append(dst, 0, 0, 0, 1), nal...)
}

// unescape takes the emulation prevention bytes out of a NAL unit
// (ITU-T H.264, 7.4.1, and H.265, 7.4.2).
func unescape(nal []byte) []byte {
	out := make([]byte, 0, len(nal))
	zeros := 0
	for _, b := range nal {
		if zeros >= 2 && b == 3 {
			zeros = 0
			continue
		}
		if out = append(out, b); b == 0 {
			zeros++
		} else {
			zeros = 0
		}
	}
	return out
}

// captionData begins user data with CEA-608 or 708 captions in an SEI message:
// the country and provider of ATSC, its identifier and the type of cc_data
// (ITU-T T.35; ATSC A/53 part 4, 6.2.3).
var captionData = []byte{0xb5, 0x00, 0x31, 'G', 'A', '9', '4', 3}

// hasCaptions reports whether an access unit carries captions. They stand before
// its slices.
func (v *videoCodec) hasCaptions(data []byte) bool {
	for nal := range NALs(data) {
		switch kind := v.kind(nal); {
		case kind&nalSEI != 0 && bytes.Contains(nal, captionData):
			return true
		case kind&nalSlice != 0:
			return false
		}
	}
	return false
}
