// Package strictjson decodes JSON from the network. It refuses what encoding/json accepts
// but a database or another decoder would read differently: duplicate members, null items
// in a list or map, and strings with NUL or with half of a surrogate pair. RFC 8259
// (sections 4 and 8.2) leaves the meaning of all of these open.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"unicode/utf16"
	"unicode/utf8"
)

// An Error describes what is wrong with a document.
type Error struct {
	Member string // the path of the member, such as tags.k; "" means the whole document
	Reason string // such as "must not be null"
}

func (e *Error) Error() string {
	if e.Member == "" {
		return "the JSON document " + e.Reason
	}
	return e.Member + " " + e.Reason
}

// Unmarshal decodes data into v, a non-nil pointer, like json.Unmarshal, but strictly.
// Unknown members are ignored, a member that is null counts as absent, and names of
// members match in any case. The error is an *Error if data is not valid.
func Unmarshal(data []byte, v any) error {
	if err := json.Unmarshal(data, v); err != nil {
		return describe(err, reflect.TypeOf(v))
	}
	s := scanner{data: data}
	if err := s.value(reflect.TypeOf(v), true); err != nil {
		return err
	}
	return nil
}

// describe is an error of encoding/json as an Error.
func describe(err error, t reflect.Type) error {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		if wrong.Field == "" {
			return &Error{"", "must be a JSON object, not a JSON " + wrong.Value}
		}
		return &Error{wirePath(t, wrong.Field), "must not be a JSON " + wrong.Value}
	}
	if _, ok := errors.AsType[*json.SyntaxError](err); ok {
		return &Error{"", "is not valid JSON"}
	}
	return &Error{"", "cannot be decoded: " + err.Error()}
}

// wirePath is a path as encoding/json reports it without the embedded structs
// of t, which JSON does not show.
func wirePath(t reflect.Type, path string) string {
	var names []string
	for name := range strings.SplitSeq(path, ".") {
		for t = element(t); t != nil && (t.Kind() == reflect.Slice || t.Kind() == reflect.Map); {
			t = element(t.Elem())
		}
		if t != nil && t.Kind() == reflect.Struct {
			f, ok := t.FieldByName(name)
			if ok && f.Anonymous && f.Tag.Get("json") == "" {
				t = f.Type
				continue
			}
			_, t = member(t, name)
		}
		names = append(names, name)
	}
	return strings.Join(names, ".")
}

// A scanner walks a document that json.Unmarshal has accepted, beside the type
// that it was decoded into. Its methods return the first error, with the path
// from the value that they were called for.
type scanner struct {
	data []byte
	pos  int
}

// value walks the value at pos, which t describes; nil is anything. Where null
// does not mean absent, it is refused.
func (s *scanner) value(t reflect.Type, nullable bool) *Error {
	switch s.skipSpace(); s.data[s.pos] {
	case '{':
		return s.object(element(t))
	case '[':
		return s.array(element(t))
	case '"':
		_, err := s.text()
		return err
	case 'n':
		if s.pos += len("null"); !nullable {
			return &Error{"", "must not have a null item"}
		}
	default: // a number, true or false
		for s.pos < len(s.data) && strings.IndexByte(",]} \t\r\n", s.data[s.pos]) < 0 {
			s.pos++
		}
	}
	return nil
}

func (s *scanner) array(t reflect.Type) *Error {
	var item reflect.Type
	if t != nil && t.Kind() == reflect.Slice {
		item = t.Elem()
	}
	for s.next(']') {
		if err := s.value(item, t == nil); err != nil { // lists of members that are not known may hold anything
			return err
		}
	}
	return nil
}

func (s *scanner) object(t reflect.Type) *Error {
	isMap := t != nil && t.Kind() == reflect.Map
	seen := map[string]bool{}
	for s.next('}') {
		s.skipSpace()
		name, err := s.name()
		if err != nil {
			return err
		}
		s.skipSpace()
		s.pos++ // the colon
		key, of := name, reflect.Type(nil)
		switch {
		case isMap:
			of = t.Elem()
		case t != nil && t.Kind() == reflect.Struct:
			key, of = member(t, name)
		}
		if seen[key] {
			return &Error{"", fmt.Sprintf("has the member %.80q twice", name)}
		}
		seen[key] = true
		if err := s.value(of, !isMap); err != nil {
			if !isMap { // keys are data: they are not part of the path
				err.Member = strings.TrimSuffix(name+"."+err.Member, ".")
			}
			return err
		}
	}
	return nil
}

// next goes to the next item of a list or object, and reports whether there is
// one. It also steps over its opening and closing brackets.
func (s *scanner) next(closing byte) bool {
	s.skipSpace()
	c := s.data[s.pos]
	if c == closing {
		s.pos++
		return false
	}
	if c == '[' && closing == ']' || c == '{' && closing == '}' || c == ',' {
		s.pos++
		s.skipSpace()
		if s.data[s.pos] == closing { // an empty list
			s.pos++
			return false
		}
	}
	return true
}

func (s *scanner) skipSpace() {
	for s.pos < len(s.data) && strings.IndexByte(" \t\r\n", s.data[s.pos]) >= 0 {
		s.pos++
	}
}

// text walks the string at pos and returns what stands between its quotes.
func (s *scanner) text() ([]byte, *Error) {
	s.pos++
	begin := s.pos
	for ; s.data[s.pos] != '"'; s.pos++ {
		if s.data[s.pos] == '\\' {
			s.pos++
		}
	}
	raw := s.data[begin:s.pos]
	s.pos++
	if !wellFormed(raw) {
		return nil, &Error{"", "has a string that is not Unicode text, or has a NUL"}
	}
	return raw, nil
}

// name reads the name of a member at pos.
func (s *scanner) name() (string, *Error) {
	begin := s.pos
	raw, err := s.text()
	if err != nil || bytes.IndexByte(raw, '\\') < 0 {
		return string(raw), err
	}
	var name string
	_ = json.Unmarshal(s.data[begin:s.pos], &name) // it has been decoded before
	return name, nil
}

// wellFormed reports whether what stands between the quotes of a valid JSON
// string is Unicode text without NUL.
func wellFormed(raw []byte) bool {
	if !utf8.Valid(raw) {
		return false
	}
	var high rune // the first half of a pair, waiting for the second
	for i := 0; i < len(raw); i++ {
		var half rune
		if raw[i] == '\\' {
			i++
			if raw[i] == 'u' {
				n, _ := strconv.ParseUint(string(raw[i+1:i+5]), 16, 16)
				if i += 4; n == 0 {
					return false
				}
				if utf16.IsSurrogate(rune(n)) {
					half = rune(n)
				}
			}
		}
		switch {
		case high != 0:
			if utf16.DecodeRune(high, half) == utf8.RuneError {
				return false
			}
			high = 0
		case half >= 0xdc00: // a second half alone
			return false
		default:
			high = half
		}
	}
	return high == 0
}

// element is t without pointers.
func element(t reflect.Type) reflect.Type {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// A field is a member of a struct, as encoding/json names it.
type field struct {
	name string
	of   reflect.Type
}

// fields has the []field of each struct by reflect.Type: there are only as many
// as this program declares.
var fields sync.Map

func fieldsOf(t reflect.Type) []field {
	if known, ok := fields.Load(t); ok {
		return known.([]field)
	}
	var list []field
	for _, f := range reflect.VisibleFields(t) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); f.IsExported() && name != "" && name != "-" {
			list = append(list, field{name, f.Type})
		}
	}
	fields.Store(t, list)
	return list
}

// member finds a struct's member as encoding/json does, in any case. It returns
// the name that the struct has for it, and its type, nil if there is none.
func member(t reflect.Type, name string) (string, reflect.Type) {
	for _, f := range fieldsOf(t) {
		if strings.EqualFold(f.name, name) {
			return f.name, f.of
		}
	}
	return strings.ToLower(name), nil
}
