package media

import (
	"bytes"
	"slices"
)

// h264Sets are the newest parameter sets of each id.
type h264Sets struct {
	sps, pps []h264Set
	count    int // of changes
}

type h264Set struct {
	id, sps uint32 // sps is the id of the set that a picture parameter set refers to
	nal     []byte
}

// Ids end at 31 and 255 (ITU-T H.264, 7.4.2.1.1 and 7.4.2.2). A configuration counts
// its picture parameter sets in a byte.
const (
	maxSPSID = 31
	maxPPSID = 255
	maxSets  = 255

	setLength   = 2              // bytes in front of a set in a configuration
	maxSetBytes = maxConfig - 32 // leaves room for what else a configuration has
)

// put keeps a parameter set, which it copies. It reports whether it is one.
func (s *h264Sets) put(nal []byte) bool {
	nal = bytes.TrimRight(nal, "\x00")
	if len(nal) < 2 || len(nal) > maxConfig {
		return false
	}
	isSPS := nal[0]&0x1f == H264NALSPS
	sets, maxID := &s.pps, uint32(maxPPSID)
	if isSPS {
		sets, maxID = &s.sps, maxSPSID
	}
	if slices.ContainsFunc(*sets, func(old h264Set) bool { return bytes.Equal(old.nal, nal) }) {
		return true
	}
	set := h264Set{nal: bytes.Clone(nal)}
	r := &bitReader{b: unescape(nal[1:])}
	if isSPS {
		if h264ParseSPS(&VideoConfig{}, nal) != nil {
			return false
		}
		r.bits(24)
	}
	if set.id = r.ue(); !isSPS {
		set.sps = r.ue()
	}
	if r.err != nil || set.id > maxID || set.sps > maxSPSID {
		return false
	}
	i := slices.IndexFunc(*sets, func(old h264Set) bool { return old.id == set.id })
	if i < 0 && len(*sets) == maxSets || s.size()+setLength+len(nal) > maxSetBytes {
		return false
	}
	s.count++
	if i < 0 {
		*sets = append(*sets, set)
	} else {
		(*sets)[i] = set
	}
	return true
}

// size is how many bytes of a configuration the sets take.
func (s *h264Sets) size() (n int) {
	for _, set := range slices.Concat(s.sps, s.pps) {
		n += setLength + len(set.nal)
	}
	return n
}

func find(sets []h264Set, id uint32) *h264Set {
	for i := range sets {
		if sets[i].id == id {
			return &sets[i]
		}
	}
	return nil
}

// changes is how often they have changed.
func (s *h264Sets) changes() int { return s.count }

// complete reports whether there is a picture parameter set and the sequence
// parameter set that it refers to.
func (s *h264Sets) complete() bool { return s.first() != nil }

func (s *h264Sets) first() *h264Set {
	for i := range s.pps {
		if find(s.sps, s.pps[i].sps) != nil {
			return &s.pps[i]
		}
	}
	return nil
}

// active returns the configuration for frames that refer to the picture parameter set with
// that id, or to the first set if there is no such one. The sets must be complete.
func (s *h264Sets) active(pps int) *VideoConfig {
	p := s.first()
	if pps >= 0 {
		if q := find(s.pps, uint32(pps)); q != nil && find(s.sps, q.sps) != nil {
			p = q
		}
	}
	sps := find(s.sps, p.sps).nal
	c := &VideoConfig{Sets: [][]byte{sps}, Sequence: sps}
	for _, q := range s.pps {
		if q.sps == p.sps {
			c.Sets = append(c.Sets, q.nal)
		}
	}
	_ = h264ParseSPS(c, sps) // put has tried
	return c
}

// slicePPS is the id of the picture parameter set that a slice refers to, or -1.
func slicePPS(nal []byte) int {
	var head [24]byte
	r := &bitReader{b: head[:copy(head[:], nal[1:])]}
	r.ue() // first_mb_in_slice
	r.ue() // slice_type
	if id := r.ue(); r.err == nil && id <= maxPPSID {
		return int(id)
	}
	return -1
}
