package media

import "errors"

var errShort = errors.New("ends too early")

// A bitReader reads big-endian bit fields. Its error is sticky: after the end
// it returns zeros.
type bitReader struct {
	b   []byte
	pos int // in bits
	err error
}

func (r *bitReader) bits(n int) (v uint32) {
	if r.pos+n > 8*len(r.b) {
		r.err, r.pos = errShort, 8*len(r.b)
		return 0
	}
	for range n {
		v = v<<1 | uint32(r.b[r.pos>>3]>>(7-r.pos&7)&1)
		r.pos++
	}
	return v
}

func (r *bitReader) flag() bool { return r.bits(1) == 1 }

// ue reads an unsigned Exp-Golomb code (ITU-T H.264, 9.1).
func (r *bitReader) ue() uint32 {
	zeros := 0
	for r.err == nil && !r.flag() {
		if zeros++; zeros > 31 {
			r.err = errors.New("Exp-Golomb code of more than 32 bits")
		}
	}
	if r.err != nil {
		return 0
	}
	return 1<<zeros - 1 + r.bits(zeros)
}

// se reads a signed Exp-Golomb code (ITU-T H.264, 9.1.1).
func (r *bitReader) se() int32 {
	k := r.ue()
	if k&1 == 1 {
		return int32(k/2 + 1)
	}
	return -int32(k / 2)
}
