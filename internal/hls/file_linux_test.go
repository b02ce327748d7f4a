package hls_test

import (
	"bytes"
	"io"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/hls/hlsplayer"
)

// Over HTTP/2 viewers get media from memory that all share. It is there until the segment
// has left the window and nobody reads it any more.
func TestMappedMedia(t *testing.T) {
	s := &hls.Stream{LowLatency: true}
	r := s.AddRendition("source", hls.Listing{})
	var want [][]byte
	for n := range 3 { // a file that grows after it was mapped
		want = append(want, bytes.Repeat([]byte{byte('a' + n)}, 100_000+n))
	}
	server := httptest.NewUnstartedServer(hlsplayer.Handler(s))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	get := func(path string) []byte {
		t.Helper()
		a, err := server.Client().Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		b, err := io.ReadAll(a.Body)
		if err != nil || a.StatusCode != 200 || a.ProtoMajor != 2 {
			t.Fatalf("%s: %s %s, %v", path, a.Proto, a.Status, err)
		}
		return b
	}
	before := hls.MappedFiles()
	for n, media := range want {
		at := time.Duration(n) * time.Second
		if err := r.AddPart(hls.Head{Init: &hls.Init{}, Independent: true}, hls.Part{Number: int64(n), End: at + time.Second, Duration: time.Second}, hls.Details{}, media); err != nil {
			t.Fatal(err)
		}
		if got := get("/source/p" + string(rune('0'+n)) + ".ts"); !bytes.Equal(got, media) {
			t.Errorf("part %d has %d bytes of %.10q, want %d of %.10q", n, len(got), got, len(media), media)
		}
	}
	r.EndSegment(3*time.Second, false)
	if got := get("/source/0.ts"); !bytes.Equal(got, bytes.Join(want, nil)) {
		t.Errorf("the segment has %d bytes, which are not its parts", len(got))
	}
	if n := hls.MappedFiles() - before; n != 1 {
		t.Errorf("%d files are mapped for one segment", n)
	}

	// A slow viewer has begun to read when the stream is released.
	a, err := server.Client().Get(server.URL + "/source/0.ts")
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	s.Release()
	if _, err := io.Copy(io.Discard, a.Body); err == nil {
		t.Log("the viewer had the whole segment already")
	}
	for by := time.Now().Add(90 * time.Second); hls.MappedFiles() != before; time.Sleep(time.Millisecond) {
		if time.Now().After(by) {
			t.Fatalf("%d files are still mapped", hls.MappedFiles()-before)
		}
	}
}
