package rtmp

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/wiretest"
)

func newChunkReader(r io.Reader, chunkSize int) *chunkReader {
	return &chunkReader{r: bufio.NewReaderSize(r, 16), chunkSize: chunkSize, maxMessage: 1024}
}

// A received message can be compared.
type received struct {
	Kind         byte
	Stream, Time uint32
	Body         string
}

func readAll(r *chunkReader) (all []received, err error) {
	for {
		m, err := r.read()
		if err != nil {
			return all, err
		}
		all = append(all, received{m.kind, m.stream, m.time, hex.EncodeToString(m.body)})
	}
}

// wire drives both directions: full headers, which is what we write.
var wire = []struct {
	name string
	size int // of chunks
	id   byte
	msg  received
	raw  string
}{
	{"one chunk", 128, 3, received{20, 0, 0, "0200"}, "03 000000 000002 14 00000000 0200"},
	{"empty", 128, 2, received{18, 1, 7, ""}, "02 000007 000000 12 01000000"},
	{"exactly one chunk", 4, 6, received{9, 1, 40, "17010203"}, "06 000028 000004 09 01000000 17010203"},
	{"two chunks", 4, 6, received{9, 1, 40, "1701020304"}, "06 000028 000005 09 01000000 17010203 c6 04"},
	{"three chunks", 2, 63, received{9, 1, 40, "1701020304"}, "3f 000028 000005 09 01000000 1701 ff 0203 ff 04"},
	{"last short timestamp", 128, 4, received{8, 1, 0xfffffe, "af"}, "04 fffffe 000001 08 01000000 af"},
	{"first extended timestamp", 128, 4, received{8, 1, 0xffffff, "af"}, "04 ffffff 000001 08 01000000 00ffffff af"},
	{"last timestamp", 128, 4, received{8, 1, 0xffffffff, "af"}, "04 ffffff 000001 08 01000000 ffffffff af"},
	{"extended timestamp repeated", 2, 4, received{8, 1, 0x01000000, "af0102"}, "04 ffffff 000003 08 01000000 01000000 af01 c4 01000000 02"},
	{"message stream is little-endian", 128, 5, received{18, 0x01020304, 0, "00"}, "05 000000 000001 12 04030201 00"},
}

func TestChunks(t *testing.T) {
	for _, tt := range wire {
		raw, body := wiretest.Hex(tt.raw), wiretest.Hex(tt.msg.Body)
		for split := range len(body) + 1 {
			w := chunkWriter{chunkSize: tt.size}
			w.append(tt.id, message{tt.msg.Kind, tt.msg.Stream, tt.msg.Time, body[:split]}, body[split:])
			if !bytes.Equal(w.buf, raw) {
				t.Errorf("%s: wrote % x, want % x", tt.name, w.buf, raw)
			}
		}
		for _, r := range []io.Reader{bytes.NewReader(raw), iotest.OneByteReader(bytes.NewReader(raw))} {
			got, err := readAll(newChunkReader(r, tt.size))
			if diff := cmp.Diff([]received{tt.msg}, got); diff != "" || !errors.Is(err, io.EOF) {
				t.Errorf("%s: %v\n%s", tt.name, err, diff)
			}
		}
	}
}

func TestChunkReader(t *testing.T) {
	tests := []struct {
		name string
		size int
		raw  string
		want []received
	}{
		{"type 1: new length and type", 128, "04 00000a 000001 08 01000000 aa 44 000014 000002 09 bbbb",
			[]received{{8, 1, 10, "aa"}, {9, 1, 30, "bbbb"}}},
		{"type 2: new delta", 128, "04 00000a 000001 08 01000000 aa 84 000017 bb",
			[]received{{8, 1, 10, "aa"}, {8, 1, 33, "bb"}}},
		{"type 3 repeats a delta", 128, "04 00000a 000001 08 01000000 aa 84 000017 bb c4 cc c4 dd",
			[]received{{8, 1, 10, "aa"}, {8, 1, 33, "bb"}, {8, 1, 56, "cc"}, {8, 1, 79, "dd"}}},
		{"type 3 after type 0: its timestamp is the delta", 128, "04 00000a 000001 08 01000000 aa c4 bb",
			[]received{{8, 1, 10, "aa"}, {8, 1, 20, "bb"}}},
		{"type 3 inside a message adds nothing", 1, "04 00000a 000002 08 01000000 aa c4 ab 84 000005 ba c4 bb",
			[]received{{8, 1, 10, "aaab"}, {8, 1, 15, "babb"}}},
		{"interleaved", 1, "04 000001 000002 08 01000000 aa 06 000002 000002 09 01000000 ba c4 ab c6 bb",
			[]received{{8, 1, 1, "aaab"}, {9, 1, 2, "babb"}}},
		{"type 1 begins a chunk stream", 128, "42 000005 000001 04 aa", []received{{4, 0, 5, "aa"}}},
		{"two-byte basic header", 128, "00 00 000001 000001 08 01000000 aa c0 00 bb 00 ff 000001 000001 08 01000000 cc",
			[]received{{8, 1, 1, "aa"}, {8, 1, 2, "bb"}, {8, 1, 1, "cc"}}},
		{"three-byte basic header", 128, "01 0000 000001 000001 08 01000000 aa c1 0000 bb c0 00 cc 01 ffff 000001 000001 08 01000000 dd",
			[]received{{8, 1, 1, "aa"}, {8, 1, 2, "bb"}, {8, 1, 3, "cc"}, {8, 1, 1, "dd"}}},
		{"extended timestamp not repeated", 2, "04 ffffff 000007 08 01000000 01000000 aa01 c4 0203 c4 0405 c4 06 04 000000 000001 08 01000000 bb",
			[]received{{8, 1, 1 << 24, "aa010203040506"}, {8, 1, 0, "bb"}}},
		{"extended delta", 128, "04 000001 000001 08 01000000 aa 84 ffffff 01000000 bb c4 01000000 cc",
			[]received{{8, 1, 1, "aa"}, {8, 1, 1<<24 + 1, "bb"}, {8, 1, 2<<24 + 1, "cc"}}},
		{"extended delta, then the time itself repeated", 1, "04 000001 000001 08 01000000 aa 44 ffffff 000002 08 01000000 ba c4 01000001 bb",
			[]received{{8, 1, 1, "aa"}, {8, 1, 1<<24 + 1, "babb"}}},
		{"a short delta ends the extension", 1, "04 ffffff 000002 08 01000000 01000000 aa c4 01000000 ab 84 000001 ba c4 bb",
			[]received{{8, 1, 1 << 24, "aaab"}, {8, 1, 1<<24 + 1, "babb"}}},
		{"timestamps wrap", 128, "04 ffffff 000001 08 01000000 ffffffff aa 84 000002 bb",
			[]received{{8, 1, 1<<32 - 1, "aa"}, {8, 1, 1, "bb"}}},
		{"a longer message after a shorter one", 128, "04 000000 000001 08 01000000 aa 44 000000 000003 08 bbbbbb 44 000000 000001 08 cc",
			[]received{{8, 1, 0, "aa"}, {8, 1, 0, "bbbbbb"}, {8, 1, 0, "cc"}}},
	}
	for _, tt := range tests {
		got, err := readAll(newChunkReader(bytes.NewReader(wiretest.Hex(tt.raw)), tt.size))
		if diff := cmp.Diff(tt.want, got); diff != "" || !errors.Is(err, io.EOF) {
			t.Errorf("%s: %v\n%s", tt.name, err, diff)
		}
	}
}

func TestChunkReaderErrors(t *testing.T) {
	var many strings.Builder
	for id := range maxChunkStreams + 1 {
		many.WriteString("00" + hex.EncodeToString([]byte{byte(id)}) + "000000 000000 08 01000000")
	}
	var held strings.Builder
	for id := range 3 {
		held.WriteString("00" + hex.EncodeToString([]byte{byte(id)}) + "000000 000400 08 01000000" + strings.Repeat("00", 1000))
	}
	tests := []struct {
		name string
		size int
		raw  string
		want error
	}{
		{"type 2 begins", 128, "84 000001 aa", errProtocol},
		{"type 3 begins", 128, "c4 aa", errProtocol},
		{"too many chunk streams", 128, many.String(), errProtocol},
		{"message too long", 128, "04 000000 000401 08 01000000 aa", errProtocol},
		{"unfinished messages too long", 1000, held.String(), errProtocol},
		// CVE-2016-10191: a later chunk makes the message it belongs to longer.
		{"longer in the middle", 1, "04 000000 000002 08 01000000 aa 04 000000 000400 08 01000000 bb", errProtocol},
		{"longer in the middle by type 1", 1, "04 000000 000002 08 01000000 aa 44 000000 000400 08 bb", errProtocol},
		{"type 2 in the middle", 1, "04 000000 000002 08 01000000 aa 84 000000 bb", errProtocol},
		{"basic header cut", 128, "00", io.ErrUnexpectedEOF},
		{"header cut", 128, "04 000000 0000", io.ErrUnexpectedEOF},
		{"extended timestamp cut", 128, "04 ffffff 000001 08 01000000 0000", io.ErrUnexpectedEOF},
		{"payload cut", 128, "04 000000 000004 08 01000000 aabb", io.ErrUnexpectedEOF},
		{"payload missing", 128, "04 000000 000004 08 01000000", io.ErrUnexpectedEOF},
		{"second chunk missing", 1, "04 000000 000002 08 01000000 aa", io.EOF},
	}
	for _, tt := range tests {
		got, err := readAll(newChunkReader(bytes.NewReader(wiretest.Hex(tt.raw)), tt.size))
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, %v; want %v", tt.name, got, err, tt.want)
		}
	}
}

// What is announced takes no memory before it comes.
func TestMemoryGrowsWithTheBytes(t *testing.T) {
	raw := append(wiretest.Hex("04 000000 700000 09 01000000"), make([]byte, 3000)...)
	r := &chunkReader{r: bufio.NewReader(bytes.NewReader(raw)), chunkSize: maxChunkSize, maxMessage: maxMessage}
	if _, err := r.read(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(err)
	}
	if r.held > 8192 {
		t.Errorf("%d bytes held for 3,000 that came", r.held)
	}
}

// A message that was finished may be forgotten to make room for another.
func TestIdleBuffersMakeRoom(t *testing.T) {
	var raw strings.Builder
	for id := range 8 {
		raw.WriteString("00" + hex.EncodeToString([]byte{byte(id)}) + "000000 000400 08 01000000" + strings.Repeat("00", 1024))
	}
	r := newChunkReader(bytes.NewReader(wiretest.Hex(raw.String())), 1024)
	if got, err := readAll(r); len(got) != 8 || !errors.Is(err, io.EOF) {
		t.Errorf("%d messages, %v", len(got), err)
	}
	if r.held > 2*r.maxMessage {
		t.Errorf("%d bytes held", r.held)
	}
}

func TestAbort(t *testing.T) {
	raw := wiretest.Hex("04 000000 000002 08 01000000 aa")
	next := wiretest.Hex("04 000005 000001 09 01000000 bb")
	r := newChunkReader(bytes.NewReader(append(raw, next...)), 1)
	if _, err := r.readChunk(); err != nil {
		t.Fatal(err)
	}
	r.abort(99) // which there is not
	r.abort(4)
	if got, err := readAll(r); len(got) != 1 || got[0] != (received{9, 1, 5, "bb"}) {
		t.Errorf("%v, %v", got, err)
	}
}

// Whatever comes, memory stays within bounds and the books are right.
func FuzzChunkReader(f *testing.F) {
	for _, tt := range wire {
		f.Add(wiretest.Hex(tt.raw), uint16(tt.size))
	}
	f.Add(wiretest.Hex("04 000001 000002 08 01000000 aa 06 000002 000002 09 01000000 ba c4 ab c6 bb"), uint16(1))
	f.Add(wiretest.Hex("04 ffffff 000007 08 01000000 01000000 aa01 c4 0203 c4 0405 c4 06"), uint16(2))
	f.Fuzz(func(t *testing.T, raw []byte, size uint16) {
		r := newChunkReader(bytes.NewReader(raw), int(size)+1)
		for {
			m, err := r.read()
			held := 0
			for _, s := range r.streams {
				held += cap(s.buf)
			}
			if held != r.held || held > 2*r.maxMessage || len(r.streams) > maxChunkStreams {
				t.Fatalf("%d bytes in %d chunk streams, %d by the books", held, len(r.streams), r.held)
			}
			if err != nil {
				return
			}
			if len(m.body) > r.maxMessage {
				t.Fatalf("message of %d bytes", len(m.body))
			}
		}
	})
}

func BenchmarkChunkReader(b *testing.B) {
	w := chunkWriter{chunkSize: 4096}
	w.append(chunkVideo, message{kind: kindVideo, stream: 1, time: 40, body: make([]byte, 5000)}, nil)
	w.append(chunkAudio, message{kind: kindAudio, stream: 1, time: 43, body: make([]byte, 350)}, nil)
	src := bytes.NewReader(w.buf)
	r := &chunkReader{r: bufio.NewReaderSize(src, readBuffer), chunkSize: 4096, maxMessage: maxMessage}
	b.ReportAllocs()
	b.SetBytes(int64(len(w.buf)))
	for b.Loop() {
		src.Reset(w.buf)
		for range 2 {
			if _, err := r.read(); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkChunkWriter(b *testing.B) {
	w := chunkWriter{chunkSize: clientChunkSize}
	head, data := make([]byte, 5), make([]byte, 5000)
	b.ReportAllocs()
	for b.Loop() {
		w.buf = w.buf[:0]
		w.append(chunkVideo, message{kind: kindVideo, stream: 1, time: 40, body: head}, data)
	}
}
