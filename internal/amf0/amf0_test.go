package amf0_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/millrace/millrace/internal/amf0"
)

// wire drives both directions. Every value is followed by nothing else.
var wire = []struct {
	name  string
	value amf0.Value
	raw   string
}{
	{"number", amf0.Number(1.5), "\x00\x3f\xf8\x00\x00\x00\x00\x00\x00"},
	{"true", amf0.Bool(true), "\x01\x01"},
	{"false", amf0.Bool(false), "\x01\x00"},
	{"string", amf0.String("live"), "\x02\x00\x04live"},
	{"empty string", amf0.String(""), "\x02\x00\x00"},
	{"null", amf0.Null{}, "\x05"},
	{"undefined", amf0.Undefined{}, "\x06"},
	{"date", amf0.Date(1000), "\x0b\x40\x8f\x40\x00\x00\x00\x00\x00\x00\x00"},
	{"empty object", amf0.Object(nil), "\x03\x00\x00\x09"},
	{
		"object in order", amf0.Object{{"b", amf0.Null{}}, {"a", amf0.Bool(true)}},
		"\x03\x00\x01b\x05\x00\x01a\x01\x01\x00\x00\x09",
	},
	{
		"nested object", amf0.Object{{"o", amf0.Object{{"x", amf0.Undefined{}}}}},
		"\x03\x00\x01o\x03\x00\x01x\x06\x00\x00\x09\x00\x00\x09",
	},
	{
		"ECMA array", amf0.ECMAArray{{"w", amf0.String("1")}},
		"\x08\x00\x00\x00\x01\x00\x01w\x02\x00\x011\x00\x00\x09",
	},
	{
		"strict array", amf0.StrictArray{amf0.String("avc1"), amf0.Null{}},
		"\x0a\x00\x00\x00\x02\x02\x00\x04avc1\x05",
	},
	{
		"long string", amf0.String(strings.Repeat("x", 65536)),
		"\x0c\x00\x01\x00\x00" + strings.Repeat("x", 65536),
	},
}

func TestWire(t *testing.T) {
	for _, tt := range wire {
		if got := string(amf0.Append(nil, tt.value)); got != tt.raw {
			t.Errorf("%s: Append = % x, want % x", tt.name, got, tt.raw)
		}
		got, err := amf0.Decode([]byte(tt.raw))
		if diff := cmp.Diff([]amf0.Value{tt.value}, got); err != nil || diff != "" {
			t.Errorf("%s: Decode: %v\n%s", tt.name, err, diff)
		}
	}
}

func TestDecodeOnly(t *testing.T) {
	tests := []struct {
		name, raw string
		want      amf0.Value
	}{
		{"any bool but 0 is true", "\x01\x07", amf0.Bool(true)},
		{"unsupported", "\x0d", amf0.Undefined{}},
		{"XML document", "\x0f\x00\x00\x00\x04<a/>", amf0.String("<a/>")},
		{"typed object", "\x10\x00\x03Foo\x00\x01a\x05\x00\x00\x09", amf0.Object{{"a", amf0.Null{}}}},
		{"ECMA array with a wrong count", "\x08\xff\xff\xff\xff\x00\x01a\x05\x00\x00\x09", amf0.ECMAArray{{"a", amf0.Null{}}}},
		{"empty key", "\x03\x00\x00\x05\x00\x00\x09", amf0.Object{{"", amf0.Null{}}}},
	}
	for _, tt := range tests {
		got, err := amf0.Decode([]byte(tt.raw))
		if diff := cmp.Diff([]amf0.Value{tt.want}, got); err != nil || diff != "" {
			t.Errorf("%s: Decode: %v\n%s", tt.name, err, diff)
		}
	}
}

func TestDecodeErrors(t *testing.T) {
	deep := strings.Repeat("\x03\x00\x01a", amf0.MaxDepth+1) + "\x05"
	tests := []struct {
		name, raw string
		want      error
	}{
		{"number cut", "\x00\x3f\xf8", amf0.ErrTruncated},
		{"bool cut", "\x01", amf0.ErrTruncated},
		{"string cut", "\x02\x00\x05live", amf0.ErrTruncated},
		{"string without length", "\x02\x00", amf0.ErrTruncated},
		{"long string that lies", "\x0c\x00\x00\xff\xff1234", amf0.ErrTruncated},
		{"long string beyond the bound", "\x0c\xff\xff\xff\xff1234", amf0.ErrTooLarge},
		{"date without zone", "\x0b\x40\x8f\x40\x00\x00\x00\x00\x00", amf0.ErrTruncated},
		{"object without end", "\x03\x00\x01a\x05", amf0.ErrTruncated},
		{"object with a key only", "\x03\x00\x01a", amf0.ErrTruncated},
		{"strict array that lies", "\x0a\xff\xff\xff\xff\x05\x05", amf0.ErrTruncated},
		{"too many values", strings.Repeat("\x05", amf0.MaxValues+1), amf0.ErrTooLarge},
		{"too many members", "\x03" + strings.Repeat("\x00\x01a\x05", amf0.MaxValues) + "\x00\x00\x09", amf0.ErrTooLarge},
		{"strict array beyond the bound that lies", "\x0a\x00\x00\xff\xff" + strings.Repeat("\x05", 65534), amf0.ErrTruncated},
		{"too deep", deep, amf0.ErrTooLarge},
		{"AMF3", "\x11\x01", amf0.ErrAMF3},
		{"reference", "\x07\x00\x01", amf0.ErrType},
		{"movie clip", "\x04", amf0.ErrType},
		{"garbage", "\xff", amf0.ErrType},
	}
	for _, tt := range tests {
		if _, err := amf0.Decode([]byte(tt.raw)); !errors.Is(err, tt.want) {
			t.Errorf("%s: Decode error = %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestDecodeKeepsWhatCameBeforeAnError(t *testing.T) {
	got, err := amf0.Decode([]byte("\x02\x00\x02ok\x05\xff"))
	want := []amf0.Value{amf0.String("ok"), amf0.Null{}}
	if diff := cmp.Diff(want, got); !errors.Is(err, amf0.ErrType) || diff != "" {
		t.Errorf("Decode error = %v\n%s", err, diff)
	}
}

// Members of an object count up to the one that failed.
func TestDecodeKeepsMembers(t *testing.T) {
	got, err := amf0.Decode([]byte("\x02\x00\x02ok\x03\x00\x01a\x05\x00\x01b\x0a\x00\x00\x00\x09\x05\xff"))
	want := []amf0.Value{amf0.String("ok"), amf0.Object{{"a", amf0.Null{}}, {"b", amf0.StrictArray{amf0.Null{}}}}}
	if diff := cmp.Diff(want, got); !errors.Is(err, amf0.ErrType) || diff != "" {
		t.Errorf("Decode error = %v\n%s", err, diff)
	}
}

// A long array is cut, and what stands behind it is read.
func TestLongStrictArray(t *testing.T) {
	long := make(amf0.StrictArray, 100_000)
	for i := range long {
		long[i] = amf0.Number(i)
	}
	got, err := amf0.Decode(amf0.Append(nil, amf0.Object{{"times", long}, {"behind", amf0.Bool(true)}}))
	if err != nil {
		t.Fatal(err)
	}
	times, _ := amf0.Get(got[0], "times").(amf0.StrictArray)
	if len(times) != amf0.MaxItems || times[1] != amf0.Number(1) || amf0.Get(got[0], "behind") != amf0.Bool(true) {
		t.Errorf("%d times, behind them %v", len(times), amf0.Get(got[0], "behind"))
	}
}

func TestGet(t *testing.T) {
	o := amf0.Object{{"app", amf0.String("app")}, {"app", amf0.String("second")}}
	if got := amf0.Get(o, "app"); got != amf0.String("app") {
		t.Errorf("Get(object) = %v", got)
	}
	if got := amf0.Get(amf0.ECMAArray(o), "app"); got != amf0.String("app") {
		t.Errorf("Get(array) = %v", got)
	}
	if got := amf0.Get(o, "none"); got != nil {
		t.Errorf("Get(missing) = %v", got)
	}
	if got := amf0.Get(amf0.Null{}, "app"); got != nil {
		t.Errorf("Get(null) = %v", got)
	}
}

func TestAppendNilAndLongKey(t *testing.T) {
	if got := string(amf0.Append(nil, nil)); got != "\x05" {
		t.Errorf("Append(nil value) = % x", got)
	}
	raw := amf0.Append(nil, amf0.Object{{strings.Repeat("k", 70000), amf0.Null{}}})
	if v, err := amf0.Decode(raw); err != nil || len(amf0.Properties(v[0])[0].Key) != 65535 {
		t.Errorf("a key of 70,000 bytes: %v", err)
	}
}

// Whatever decodes must encode to bytes that decode to the same.
func FuzzDecode(f *testing.F) {
	for _, tt := range wire[:len(wire)-1] {
		f.Add([]byte(tt.raw))
	}
	f.Add([]byte("\x02\x00\x07connect\x00\x3f\xf0\x00\x00\x00\x00\x00\x00\x03\x00\x03app\x02\x00\x03app\x00\x00\x09"))
	f.Fuzz(func(t *testing.T, b []byte) {
		values, err := amf0.Decode(b)
		if err != nil {
			return
		}
		raw := amf0.Append(nil, values...)
		again, err := amf0.Decode(raw)
		if err != nil {
			t.Fatalf("Decode(Append(Decode(% x))): %v", b, err)
		}
		if string(amf0.Append(nil, again...)) != string(raw) {
			t.Errorf("Append(Decode(% x)) is not stable", raw)
		}
	})
}
