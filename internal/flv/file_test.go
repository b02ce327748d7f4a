package flv_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/millrace/millrace/internal/flv"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/wiretest"
)

func tracks(t testing.TB) (video, audio *media.Track) {
	t.Helper()
	video, err := media.NewTrack(media.H264, wiretest.Hex(avc))
	if err != nil {
		t.Fatal(err)
	}
	audio, err = media.NewTrack(media.AAC, wiretest.Hex(aac))
	if err != nil {
		t.Fatal(err)
	}
	return video, audio
}

// everything is a broadcast with all that a file must keep.
func everything(t testing.TB) []media.Frame {
	video, audio := tracks(t)
	changed, err := media.NewTrack(media.H264, wiretest.Hex(otherAVC))
	if err != nil {
		t.Fatal(err)
	}
	ms := func(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
	return []media.Frame{
		{Track: video, DTS: 0, PTS: ms(80), Key: true, Data: wiretest.Hex(sei + idr)},
		{Track: audio, DTS: ms(3), PTS: ms(3), Key: true, Data: wiretest.Hex("211004")},
		{Track: video, DTS: ms(40), PTS: ms(0), Data: wiretest.Hex(slice)},
		{Track: video, DTS: ms(1<<24 - 1), PTS: ms(1<<24 - 1), Data: wiretest.Hex(slice)},
		{Track: audio, DTS: ms(1 << 24), PTS: ms(1 << 24), Key: true, Data: wiretest.Hex("21")},
		{Track: changed, DTS: ms(1<<32 - 1), PTS: ms(1<<32 + 39), Key: true, Data: wiretest.Hex(idr)},
	}
}

func showAll(t testing.TB, r media.Reader) (frames []shown, tracks int) {
	t.Helper()
	seen := map[*media.Track]bool{}
	for {
		f, err := r.ReadFrame()
		if errors.Is(err, io.EOF) {
			return frames, len(seen)
		}
		if err != nil {
			t.Fatal(err)
		}
		seen[f.Track] = true
		frames = append(frames, show(f))
	}
}

func TestWriterAndReader(t *testing.T) {
	var file bytes.Buffer
	w := flv.NewWriter(&file)
	metadata := flv.Metadata{Encoder: "Millrace", Width: 640}
	if err := w.WriteMetadata(metadata); err != nil {
		t.Fatal(err)
	}
	var want []shown
	for _, f := range everything(t) {
		want = append(want, show(f))
		if err := w.WriteFrame(f); err != nil {
			t.Fatal(err)
		}
	}
	for name, r := range map[string]io.Reader{
		"at once":                  bytes.NewReader(file.Bytes()),
		"byte by byte":             iotest.OneByteReader(bytes.NewReader(file.Bytes())),
		"without its last 4 bytes": bytes.NewReader(file.Bytes()[:file.Len()-4]),
		"with EOF beside data":     iotest.DataErrReader(bytes.NewReader(file.Bytes())),
	} {
		reader := flv.NewReader(r)
		got, n := showAll(t, reader)
		if diff := cmp.Diff(want, got); diff != "" || n != 3 {
			t.Errorf("%s: %d tracks, want 3\n%s", name, n, diff)
		}
		if m, ok := reader.Metadata(); !ok || m != metadata {
			t.Errorf("%s: metadata %+v, %v", name, m, ok)
		}
	}
}

func TestWriterBytes(t *testing.T) {
	video, audio := tracks(t)
	var file bytes.Buffer
	w := flv.NewWriter(&file)
	w.VideoOnly = true
	for _, f := range []media.Frame{
		{Track: video, DTS: 16777217 * time.Millisecond, PTS: 16777177 * time.Millisecond, Key: true, Data: wiretest.Hex(idr)},
		{Track: audio, DTS: time.Millisecond, PTS: time.Millisecond, Data: wiretest.Hex("21")},
	} {
		if err := w.WriteFrame(f); err != nil {
			t.Fatal(err)
		}
	}
	want := "464c5601" + "01" + "00000009" + "00000000" +
		"09" + "00002e" + "000001" + "01" + "000000" + "1700000000" + avc + "00000039" +
		"09" + "00000c" + "000001" + "01" + "000000" + "1701ffffd8" + idr + "00000017" +
		"08" + "000004" + "000001" + "00" + "000000" + "af00" + aac + "0000000f" +
		"08" + "000003" + "000001" + "00" + "000000" + "af01" + "21" + "0000000e"
	if got := hex.EncodeToString(file.Bytes()); got != want {
		t.Errorf("file\n%s, want\n%s", got, want)
	}
}

func TestEncodedBodiesDecode(t *testing.T) {
	for _, fourCC := range []bool{false, true} {
		d := &flv.Decoder{}
		var last *media.Track
		for i, f := range everything(t) {
			if f.Track != last {
				if _, _, err := decode(d, !f.Track.IsVideo(), flv.AppendConfig(nil, f.Track, fourCC), 0); err != nil {
					t.Fatal(err)
				}
				last = f.Track
			}
			got, ok, err := decode(d, !f.Track.IsVideo(), append(flv.AppendFrameHeader(nil, f, fourCC), f.Data...), f.DTS)
			if err != nil || !ok {
				t.Fatalf("frame %d: %v, %v", i, ok, err)
			}
			if diff := cmp.Diff(show(f), show(got)); diff != "" {
				t.Errorf("FourCC %v, frame %d:\n%s", fourCC, i, diff)
			}
		}
	}
}

func TestOffsetsAreClamped(t *testing.T) {
	video, _ := tracks(t)
	for offset, want := range map[time.Duration]string{3 * time.Hour: "27017fffff", -3 * time.Hour: "2701800000"} {
		got := flv.AppendFrameHeader(nil, media.Frame{Track: video, PTS: offset}, false)
		if hex.EncodeToString(got) != want {
			t.Errorf("offset %v: % x, want %s", offset, got, want)
		}
	}
}

func TestReaderErrors(t *testing.T) {
	const head = "464c56010500000009" + "00000000"
	tests := []struct {
		name, file string
		want       error
	}{
		{"empty", "", io.ErrUnexpectedEOF},
		{"header cut", head[:16], io.ErrUnexpectedEOF},
		{"not FLV", strings.Repeat("00", 20), flv.ErrMalformed},
		{"version 2", "464c56020500000009" + "00000000", flv.ErrMalformed},
		{"header shorter than itself", "464c56010500000008" + "00000000", flv.ErrMalformed},
		{"header of 4 GB", "464c560105ffffffff" + "00000000", flv.ErrMalformed},
		{"nothing behind the header", head, io.EOF},
		{"tag header cut", head + "09000010", io.ErrUnexpectedEOF},
		{"tag cut", head + "0900001000000000000000" + "17", io.ErrUnexpectedEOF},
		{"tag without body", head + "0900001000000000000000", io.ErrUnexpectedEOF},
		{"huge tag", head + "09ffffff00000000000000", flv.ErrMalformed},
	}
	for _, tt := range tests {
		_, err := flv.NewReader(bytes.NewReader(wiretest.Hex(tt.file))).ReadFrame()
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	var unsupported *flv.UnsupportedError
	_, err := flv.NewReader(bytes.NewReader(wiretest.Hex(head + "2900001000000000000000"))).ReadFrame()
	if !errors.As(err, &unsupported) {
		t.Errorf("encrypted tag: %v", err)
	}
}

func TestReaderSkipsALongerHeader(t *testing.T) {
	_, err := flv.NewReader(bytes.NewReader(wiretest.Hex("464c5601050000000b" + "ffff" + "00000000"))).ReadFrame()
	if !errors.Is(err, io.EOF) {
		t.Errorf("ReadFrame = %v, want io.EOF", err)
	}
}

func TestWriterPassesErrorsOn(t *testing.T) {
	video, _ := tracks(t)
	r, pipe := io.Pipe()
	r.Close()
	w := flv.NewWriter(pipe)
	if err := w.WriteFrame(media.Frame{Track: video, Data: wiretest.Hex(idr)}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("WriteFrame = %v", err)
	}
	if err := w.WriteFrame(media.Frame{Track: video, Data: make([]byte, 9<<20)}); err == nil {
		t.Error("a frame of 9 MB was written")
	}
}

func FuzzReader(f *testing.F) {
	var file bytes.Buffer
	w := flv.NewWriter(&file)
	if err := w.WriteMetadata(flv.Metadata{Width: 1}); err != nil {
		f.Fatal(err)
	}
	for _, fr := range everything(f) {
		if err := w.WriteFrame(fr); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(file.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		r := flv.NewReader(bytes.NewReader(b))
		for {
			f, err := r.ReadFrame()
			if err != nil {
				return
			}
			if f.Track == nil || len(f.Data) == 0 {
				t.Fatalf("frame %+v", f)
			}
		}
	})
}

func BenchmarkWriter(b *testing.B) {
	video, audio := tracks(b)
	w := flv.NewWriter(io.Discard)
	frames := []media.Frame{{Track: video, Key: true, Data: make([]byte, 5000)}, {Track: audio, Data: make([]byte, 350)}}
	b.ReportAllocs()
	for b.Loop() {
		for _, f := range frames {
			if err := w.WriteFrame(f); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkReader(b *testing.B) {
	video, _ := tracks(b)
	var file bytes.Buffer
	w := flv.NewWriter(&file)
	for range 1000 {
		if err := w.WriteFrame(media.Frame{Track: video, Key: true, Data: append(wiretest.Hex("00001388"), make([]byte, 5000)...)}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.SetBytes(int64(file.Len()))
	for b.Loop() {
		r := flv.NewReader(bytes.NewReader(file.Bytes()))
		for range 1000 {
			if _, err := r.ReadFrame(); err != nil {
				b.Fatal(err)
			}
		}
	}
}
