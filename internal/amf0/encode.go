package amf0

import (
	"encoding/binary"
	"math"
)

// Type markers, section 2.1.
const (
	markNumber      = 0x00
	markBool        = 0x01
	markString      = 0x02
	markObject      = 0x03
	markNull        = 0x05
	markUndefined   = 0x06
	markECMAArray   = 0x08
	markObjectEnd   = 0x09
	markStrictArray = 0x0a
	markDate        = 0x0b
	markLongString  = 0x0c
	markUnsupported = 0x0d
	markXML         = 0x0f
	markTypedObject = 0x10
	markAMF3        = 0x11
)

// Append appends the encoding of every value to b. A nil Value is written as
// null.
func Append(b []byte, values ...Value) []byte {
	for _, v := range values {
		if v == nil {
			v = Null{}
		}
		b = v.append(b)
	}
	return b
}

func (v Number) append(b []byte) []byte {
	return binary.BigEndian.AppendUint64(append(b, markNumber), math.Float64bits(float64(v)))
}

func (v Bool) append(b []byte) []byte {
	if v {
		return append(b, markBool, 1)
	}
	return append(b, markBool, 0)
}

func (v String) append(b []byte) []byte {
	if len(v) > math.MaxUint16 {
		b = binary.BigEndian.AppendUint32(append(b, markLongString), uint32(len(v)))
		return append(b, v...)
	}
	return appendShort(append(b, markString), string(v))
}

func (Null) append(b []byte) []byte { return append(b, markNull) }

func (Undefined) append(b []byte) []byte { return append(b, markUndefined) }

func (v Date) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(append(b, markDate), math.Float64bits(float64(v)))
	return append(b, 0, 0)
}

func (v Object) append(b []byte) []byte {
	return appendProperties(append(b, markObject), v)
}

func (v ECMAArray) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(append(b, markECMAArray), uint32(len(v)))
	return appendProperties(b, v)
}

func (v StrictArray) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(append(b, markStrictArray), uint32(len(v)))
	return Append(b, v...)
}

func appendProperties(b []byte, props []Property) []byte {
	for _, p := range props {
		b = Append(appendShort(b, p.Key), p.Value)
	}
	return append(b, 0, 0, markObjectEnd)
}

// appendShort cuts s where its 16-bit length ends, which only a key can exceed.
func appendShort(b []byte, s string) []byte {
	s = s[:min(len(s), math.MaxUint16)]
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}
