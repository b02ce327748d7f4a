// Package strictjson decodes JSON that comes from the network. It refuses what
// encoding/json lets pass and a database or another decoder would not read in
// the same way: a member that is given twice, a null item of a list or map, and
// strings with NUL or with half of a surrogate pair. RFC 8259 (sections 4 and
// 8.2) leaves the meaning of all of these open.
package strictjson

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// An Error says what is wrong with a document.
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

// Unmarshal decodes data into v, a non-nil pointer, as json.Unmarshal does, but
// strictly. Members that v does not have are ignored, null means absent where a
// member of an object is null, and names of members match in any case. What is
// wrong with data is an *Error.
func Unmarshal(data []byte, v any) error {
	if err := json.Unmarshal(data, v); err != nil {
		return describe(err, reflect.TypeOf(v))
	}
	s := scanner{data: data}
	s.value(reflect.TypeOf(v), "", true)
	if s.err != nil {
		return s.err
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
			t = member(t, name)
		}
		names = append(names, name)
	}
	return strings.Join(names, ".")
}

// A scanner walks a document that json.Unmarshal has accepted, beside the type
// that it was decoded into.
type scanner struct {
	data []byte
	pos  int
	err  *Error // the first
}

func (s *scanner) fail(path, format string, args ...any) {
	if s.err == nil {
		s.err = &Error{path, fmt.Sprintf(format, args...)}
	}
}

// value walks the value at pos, which t describes; nil is anything. Where null
// does not mean absent, it is refused.
func (s *scanner) value(t reflect.Type, path string, nullable bool) {
	switch s.skipSpace(); s.data[s.pos] {
	case '{':
		s.object(element(t), path)
	case '[':
		s.array(element(t), path)
	case '"':
		s.text(path)
	case 'n':
		if s.pos += len("null"); !nullable {
			s.fail(path, "must not have a null item")
		}
	default: // a number, true or false
		for s.pos < len(s.data) && strings.IndexByte(",]} \t\r\n", s.data[s.pos]) < 0 {
			s.pos++
		}
	}
}

func (s *scanner) array(t reflect.Type, path string) {
	var item reflect.Type
	if t != nil && t.Kind() == reflect.Slice {
		item = t.Elem()
	}
	for s.next(']') {
		s.value(item, path, t == nil) // lists of members that are not known may hold anything
	}
}

func (s *scanner) object(t reflect.Type, path string) {
	isMap := t != nil && t.Kind() == reflect.Map
	seen := map[string]bool{}
	for s.next('}') {
		s.skipSpace()
		name := s.text(path)
		s.skipSpace()
		s.pos++ // the colon
		inside := strings.TrimPrefix(path+"."+name, ".")
		key, of := name, reflect.Type(nil)
		switch {
		case isMap:
			of, inside = t.Elem(), path // keys are data: they are not part of the path
		case t != nil && t.Kind() == reflect.Struct:
			key, of = strings.ToLower(name), member(t, name)
		}
		if seen[key] {
			s.fail(path, "has the member %.80q twice", name)
		}
		seen[key] = true
		s.value(of, inside, !isMap)
	}
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

// text reads the string at pos.
func (s *scanner) text(path string) string {
	begin := s.pos
	for s.pos++; s.data[s.pos] != '"'; s.pos++ {
		if s.data[s.pos] == '\\' {
			s.pos++
		}
	}
	s.pos++
	raw := s.data[begin:s.pos]
	if !wellFormed(raw[1 : len(raw)-1]) {
		s.fail(path, "has a string that is not Unicode text, or has a NUL")
	}
	var text string
	_ = json.Unmarshal(raw, &text) // it has been decoded before
	return text
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

// member is the type of a struct's member as encoding/json finds it, nil if
// there is none.
func member(t reflect.Type, name string) reflect.Type {
	for _, f := range reflect.VisibleFields(t) {
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.IsExported() && tag != "-" && strings.EqualFold(tag, name) {
			return f.Type
		}
	}
	return nil
}
