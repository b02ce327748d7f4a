package amf0

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Decode reads all the values in b. On an error it also returns what came before:
// whole values, as some encoders add bytes of their own behind a complete command,
// and the members of an object or array up to the one that failed.
func Decode(b []byte) ([]Value, error) {
	d := decoder{b: b}
	var values []Value
	for len(d.b) > 0 {
		v := d.value(0)
		if d.err == nil || hasMembers(v) {
			values = append(values, v)
		}
		if d.err != nil {
			return values, d.err
		}
	}
	return values, nil
}

// hasMembers reports whether v is an object or an array with something in it.
func hasMembers(v Value) bool {
	a, _ := v.(StrictArray)
	return len(a) > 0 || len(Properties(v)) > 0
}

// A decoder's err is sticky: after the first one every read yields zeros.
type decoder struct {
	b   []byte
	n   int // values so far
	err error
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.b = nil
}

func (d *decoder) take(n int) []byte {
	if d.err != nil || len(d.b) < n {
		d.fail(ErrTruncated)
		return nil
	}
	p := d.b[:n]
	d.b = d.b[n:]
	return p
}

func (d *decoder) u8() byte {
	if p := d.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (d *decoder) u16() int {
	if p := d.take(2); p != nil {
		return int(binary.BigEndian.Uint16(p))
	}
	return 0
}

func (d *decoder) u32() uint32 {
	if p := d.take(4); p != nil {
		return binary.BigEndian.Uint32(p)
	}
	return 0
}

func (d *decoder) f64() float64 {
	if p := d.take(8); p != nil {
		return math.Float64frombits(binary.BigEndian.Uint64(p))
	}
	return 0
}

func (d *decoder) longString() String {
	n := d.u32()
	if n > MaxString {
		d.fail(fmt.Errorf("%w: string of %d bytes", ErrTooLarge, n))
		return ""
	}
	return String(d.take(int(n)))
}

func (d *decoder) value(depth int) Value {
	if d.n++; d.n > MaxValues {
		d.fail(fmt.Errorf("%w: more than %d values", ErrTooLarge, MaxValues))
	}
	if depth > MaxDepth {
		d.fail(fmt.Errorf("%w: more than %d levels", ErrTooLarge, MaxDepth))
	}
	switch mark := d.u8(); mark {
	case markNumber:
		return Number(d.f64())
	case markBool:
		return Bool(d.u8() != 0)
	case markString:
		return String(d.take(d.u16()))
	case markLongString, markXML:
		return d.longString()
	case markNull:
		return Null{}
	case markUndefined, markUnsupported:
		return Undefined{}
	case markDate:
		v := Date(d.f64())
		d.take(2)
		return v
	case markObject:
		return Object(d.properties(depth))
	case markTypedObject:
		d.take(d.u16())
		return Object(d.properties(depth))
	case markECMAArray:
		d.u32() // the count is a hint that encoders get wrong: the end marker decides
		return ECMAArray(d.properties(depth))
	case markStrictArray:
		return d.strictArray(depth)
	case markAMF3:
		d.fail(ErrAMF3)
	default:
		d.fail(fmt.Errorf("%w 0x%02x", ErrType, mark))
	}
	return Null{}
}

func (d *decoder) properties(depth int) []Property {
	var props []Property
	for d.err == nil {
		key := string(d.take(d.u16()))
		if key == "" && len(d.b) > 0 && d.b[0] == markObjectEnd {
			d.take(1)
			return props
		}
		if v := d.value(depth + 1); d.err == nil || hasMembers(v) {
			props = append(props, Property{key, v})
		}
	}
	return props
}

// strictArray grows with the bytes that are there, not with the count. What is
// beyond MaxItems is read and left out.
func (d *decoder) strictArray(depth int) StrictArray {
	var a StrictArray
	for n := d.u32(); n > 0 && d.err == nil; n-- {
		before := d.n
		v := d.value(depth + 1)
		switch {
		case len(a) == MaxItems:
			d.n = before
		case d.err == nil || hasMembers(v):
			a = append(a, v)
		}
	}
	return a
}
