// Package amf0 turns AMF0, the value encoding of RTMP commands and of FLV
// script tags, into Go values and back ("Action Message Format -- AMF 0",
// Adobe, 2007). It does no I/O. Everything it decodes is bounded, because the
// bytes come from the network.
package amf0

import "errors"

// Bounds on what Decode accepts. Real encoders send about 30 values, three deep.
const (
	MaxDepth  = 8         // objects and arrays inside one another
	MaxValues = 1024      // values in one message, at all depths together
	MaxItems  = 256       // of a strict array that are kept; an index of key frames in onMetaData has thousands
	MaxString = 64 * 1024 // bytes of one string; keys are at most 65,535 by their encoding
)

// What Decode refuses. Errors that it returns wrap one of these.
var (
	ErrTruncated = errors.New("amf0: value is cut short")
	ErrTooLarge  = errors.New("amf0: value is too large")
	ErrAMF3      = errors.New("amf0: AMF3 values are not supported")
	ErrType      = errors.New("amf0: unknown type marker")
)

// A Value is one of the types of this package.
type Value interface{ append(b []byte) []byte }

// The scalar values. A String longer than 65,535 bytes is written as an AMF0
// long string; both kinds are read as String, and so are XML documents.
type (
	Number    float64
	Bool      bool
	String    string
	Null      struct{}
	Undefined struct{} // also read for the "unsupported" marker
	Date      float64  // milliseconds since 1970, UTC: the time zone is reserved and always 0 (section 2.13)
)

// The composite values keep the order of the wire. An Object and an ECMAArray
// differ only in their marker: encoders send onMetaData as either. A typed
// object is read as an Object without its class name.
type (
	Object      []Property
	ECMAArray   []Property
	StrictArray []Value
)

// A Property is a named value of an Object or an ECMAArray.
type Property struct {
	Key   string
	Value Value
}

// Properties returns the properties of an Object or an ECMAArray, and nil of
// any other value.
func Properties(v Value) []Property {
	switch v := v.(type) {
	case Object:
		return v
	case ECMAArray:
		return v
	}
	return nil
}

// Get returns the first property of v, an Object or an ECMAArray, that is
// called key, or nil.
func Get(v Value, key string) Value {
	for _, p := range Properties(v) {
		if p.Key == key {
			return p.Value
		}
	}
	return nil
}
