package hlscheck

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"path"
	"slices"
)

// A summary describes the content of a part or a segment.
type summary struct {
	frames   int
	keys     int     // IDR frames
	keyFirst bool    // the first frame is one
	first    float64 // decoding time of the first frame, seconds
}

func (s *summary) frame(key bool, dts float64) {
	if s.frames == 0 {
		s.keyFirst, s.first = key, dts
	}
	s.frames++
	if key {
		s.keys++
	}
}

func probe(name string, b []byte) (summary, error) {
	if path.Ext(name) == ".ts" {
		return probeTS(b)
	}
	return probeMP4(b)
}

// probeTS looks into the PES packets of stream id 0xe0, on any PID.
func probeTS(b []byte) (s summary, err error) {
	if len(b) == 0 || len(b)%188 != 0 {
		return s, fmt.Errorf("%d bytes are not whole transport packets", len(b))
	}
	if b[1]&0x1f != 0 || b[2] != 0 {
		return s, errors.New("the first packet is not a PAT")
	}
	pid, pes := -1, []byte(nil)
	flush := func() {
		if pes != nil {
			s.frame(annexBHasIDR(pes), pesDTS(pes))
		}
		pes = nil
	}
	for ; len(b) > 0; b = b[188:] {
		p := b[:188]
		if p[0] != 0x47 {
			return s, errors.New("sync byte is missing")
		}
		payload := p[4:]
		if p[3]&0x20 != 0 {
			n := 1 + int(payload[0])
			if n > len(payload) {
				return s, errors.New("adaptation field is too long")
			}
			payload = payload[n:]
		}
		this := int(p[1]&0x1f)<<8 | int(p[2])
		start := p[1]&0x40 != 0
		if start && len(payload) >= 19 && bytes.HasPrefix(payload, []byte{0, 0, 1, 0xe0}) {
			flush()
			pid, pes = this, []byte{}
		}
		if this == pid && pes != nil {
			pes = append(pes, payload...)
		}
	}
	flush()
	return s, nil
}

// pesDTS is the DTS, or the PTS where they are the same.
func pesDTS(pes []byte) float64 {
	at := pes[9:]
	if pes[7]&0x40 != 0 {
		at = pes[14:]
	}
	t := int64(at[0]>>1&7)<<30 | int64(at[1])<<22 | int64(at[2]>>1)<<15 | int64(at[3])<<7 | int64(at[4]>>1)
	return float64(t) / 90_000
}

func annexBHasIDR(b []byte) bool {
	for {
		i := bytes.Index(b, []byte{0, 0, 1})
		if i < 0 || i+3 >= len(b) {
			return false
		}
		if b = b[i+3:]; b[0]&0x1f == 5 {
			return true
		}
	}
}

// A box is a piece of an MP4 file.
type box struct {
	typ  string
	body []byte
}

func boxes(b []byte) (all []box, err error) {
	for len(b) > 0 {
		if len(b) < 8 {
			return nil, errors.New("box header is cut off")
		}
		n := int(binary.BigEndian.Uint32(b))
		if n < 8 || n > len(b) {
			return nil, fmt.Errorf("box of %d bytes in %d", n, len(b))
		}
		all = append(all, box{string(b[4:8]), b[8:n]})
		b = b[n:]
	}
	return all, nil
}

// probeMP4 looks into track 1 of pairs of moof and mdat, whose video time scale
// is 90 kHz.
func probeMP4(b []byte) (s summary, err error) {
	top, err := boxes(b)
	if err != nil {
		return s, err
	}
	top = slices.DeleteFunc(top, func(b box) bool { return b.typ == "emsg" }) // events may stand before a fragment
	if len(top)%2 != 0 || len(top) == 0 {
		return s, fmt.Errorf("%d boxes are not pairs of moof and mdat", len(top))
	}
	for i := 0; i < len(top); i += 2 {
		if top[i].typ != "moof" || top[i+1].typ != "mdat" {
			return s, fmt.Errorf("%s and %s where moof and mdat belong", top[i].typ, top[i+1].typ)
		}
		if err := s.fragment(top[i].body, top[i+1].body); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (s *summary) fragment(moof, mdat []byte) error {
	children, err := boxes(moof)
	if err != nil {
		return err
	}
	for _, traf := range children {
		if traf.typ != "traf" {
			continue
		}
		fields, err := boxes(traf.body)
		if err != nil || len(fields) != 3 || len(fields[0].body) < 8 || len(fields[1].body) < 12 || len(fields[2].body) < 12 {
			return fmt.Errorf("traf without tfhd, tfdt and trun: %v", err)
		}
		if binary.BigEndian.Uint32(fields[0].body[4:]) != 1 {
			continue
		}
		tfdt := binary.BigEndian.Uint64(fields[1].body[4:])
		offset := int(int32(binary.BigEndian.Uint32(fields[2].body[8:]))) - len(moof) - 16
		if err := s.samples(tfdt, fields[2].body[12:], mdat, offset); err != nil {
			return err
		}
	}
	return nil
}

// samples reads the entries of a trun: duration, size, flags, offset.
func (s *summary) samples(tfdt uint64, entries, mdat []byte, offset int) error {
	for ; len(entries) >= 16; entries = entries[16:] {
		size := int(binary.BigEndian.Uint32(entries[4:]))
		if offset < 0 || offset+size > len(mdat) {
			return errors.New("sample lies outside of mdat")
		}
		key := avccHasIDR(mdat[offset : offset+size])
		if sync := binary.BigEndian.Uint32(entries[8:])&0x10000 == 0; sync != key {
			return fmt.Errorf("sample flags say sync %v, its bytes say %v", sync, key)
		}
		s.frame(key, float64(tfdt)/90_000)
		tfdt += uint64(binary.BigEndian.Uint32(entries))
		offset += size
	}
	return nil
}

func avccHasIDR(b []byte) bool {
	for len(b) > 4 {
		n := int(binary.BigEndian.Uint32(b))
		if n > len(b)-4 {
			return false
		}
		if b[4]&0x1f == 5 {
			return true
		}
		b = b[4+n:]
	}
	return false
}
