package record

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/internal/bucket"
	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/wiretest"
)

// A playlist that ends within the second in which it grew last is not taken for
// the one that a client has.
func TestChangedWithinSecond(t *testing.T) {
	folder := t.TempDir()
	place, err := bucket.Open(t.Context(), folder, "us-west-2")
	if err != nil {
		t.Fatal(err)
	}
	const key = "ivs/v1/playlist.m3u8"
	h := NewHandler(HandlerConfig{Recorder: &Recorder{Config: Config{Buckets: place}}})
	get := func(at time.Duration, content, known string) *httptest.ResponseRecorder {
		t.Helper()
		name := filepath.Join(folder, "demo", filepath.FromSlash(key))
		modified := time.Unix(1_700_000_000, int64(at))
		for _, err := range []error{os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte(content), 0o600), os.Chtimes(name, modified, modified)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("If-Modified-Since", modified.UTC().Format(http.TimeFormat))
		r.Header.Set("If-None-Match", known)
		w := httptest.NewRecorder()
		h.serve(w, r, "demo", key, false)
		return w
	}
	growing := get(100*time.Millisecond, "#EXTM3U\n", `"none"`)
	tag := growing.Header().Get("ETag")
	if again := get(100*time.Millisecond, "#EXTM3U\n", tag); again.Code != http.StatusNotModified {
		t.Errorf("the same playlist again: %d", again.Code)
	}
	if ended := get(200*time.Millisecond, "#EXTM3U\n"+playlistEnd, tag); ended.Code != http.StatusOK || !strings.HasSuffix(ended.Body.String(), playlistEnd) {
		t.Errorf("the playlist that has ended: %d, ETag %s after %s", ended.Code, ended.Header().Get("ETag"), tag)
	}
}

// Each kind of reader of MP4 files has its own slots, and an address of viewers one.
func TestDownloadSlots(t *testing.T) {
	folder := t.TempDir()
	place, err := bucket.Open(t.Context(), folder, "us-west-2")
	if err != nil {
		t.Fatal(err)
	}
	const prefix = "ivs/v1/111122223333/AbCdEfGhIjKl/2026/11/27/8/0/recording"
	name := filepath.Join(folder, "demo", prefix, endedName)
	for _, err := range []error{os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte(`{"media":{"hls":{"renditions":[{"path":"720p30"}]}}}`), 0o600)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	full := errors.New("no memory is left")
	var reserved int
	h := NewHandler(HandlerConfig{Recorder: &Recorder{Config: Config{Buckets: place}}, Key: []byte("key"), AdmitDownload: func(signed bool) (func(), error) {
		if !signed {
			t.Error("a signed address is not taken for one")
		}
		if full != nil {
			return nil, full
		}
		reserved++
		return func() { reserved-- }, nil
	}})
	status := func(want int, when string) {
		t.Helper()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodHead, h.address("demo", prefix, nil, time.Now())+"/"+downloadName, nil))
		if w.Code != want {
			t.Errorf("%s: %d, want %d", when, w.Code, want)
		}
	}
	status(http.StatusServiceUnavailable, "where the machine has no room")
	full = nil
	fill := func(slots *downloadSlots) (taken int) {
		for i := range byte(2 * maxDownloads) {
			for range maxDownloads {
				if slots.acquire(netip.AddrFrom4([4]byte{192, 0, 2, i})) {
					taken++
				}
			}
			if i == 0 && taken != slots.ofOne {
				t.Errorf("one address has %d slots, want %d", taken, slots.ofOne)
			}
		}
		return taken
	}
	if v, p := fill(&h.viewers), fill(&h.public); v != maxDownloads || p != maxDownloads {
		t.Errorf("%d and %d slots are taken, want %d of each", v, p, maxDownloads)
	}
	status(http.StatusOK, "while all viewers have their slots")
	if n := fill(&h.signed); n != maxDownloads {
		t.Errorf("%d slots are taken by readers with signed addresses", n)
	}
	status(http.StatusServiceUnavailable, "beyond the slots")
	h.signed.release(netip.AddrFrom4([4]byte{192, 0, 2, 0}))
	status(http.StatusOK, "with a slot that is free again")
	if reserved != 0 {
		t.Errorf("%d files are still reserved", reserved)
	}
}

// A reader of an MP4 file who takes little of it is cut off, and the time in which the file
// is made more slowly does not count.
func TestSlowMP4Readers(t *testing.T) {
	for _, tt := range []struct {
		take  int           // bytes, every second
		pause time.Duration // of the file, before each 32 KiB
		ends  time.Duration
	}{
		{100, 0, hls.StallTime},
		{16 << 10, 0, 40 * time.Second}, // each second is three quarters late
		{128 << 10, 0, 10 * time.Minute},
		{128 << 10, 10 * time.Second, 10 * time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			file := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				out, piece := &minRateWriter{to: hls.NewPaced(w, r, 10*time.Minute)}, make([]byte, 32<<10)
				for {
					time.Sleep(tt.pause)
					if _, err := out.Write(piece); err != nil {
						panic(http.ErrAbortHandler)
					}
				}
			})
			if d := read(t, file, "/", tt.take); d < tt.ends-6*time.Second || d > tt.ends+12*time.Second {
				t.Errorf("a reader of %d bytes a second, of a file that pauses for %v, was cut off after %v, want %v", tt.take, tt.pause, d, tt.ends)
			}
		})
	}
}

// A reader of a recording who takes too little of it is cut off, and so is one who
// has had ten minutes for an object.
func TestSlowReaders(t *testing.T) {
	folder := t.TempDir()
	place, err := bucket.Open(t.Context(), folder, "us-west-2")
	if err != nil {
		t.Fatal(err)
	}
	const prefix = "ivs/v1/111122223333/AbCdEfGhIjKl/2026/11/27/8/0/recording"
	name := filepath.Join(folder, "demo", prefix, "media/hls/720p30/0.ts")
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, make([]byte, 8<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		take int // bytes, every second
		ends time.Duration
	}{{100, hls.StallTime}, {4 << 10, objectTimeout}} {
		synctest.Test(t, func(t *testing.T) {
			h := NewHandler(HandlerConfig{Recorder: &Recorder{Config: Config{Buckets: place}}, Key: []byte("key")})
			d := read(t, h, h.address("demo", prefix, nil, time.Now())+"/media/hls/720p30/0.ts", tt.take)
			if d < tt.ends-2*time.Second || d > tt.ends+4*time.Second {
				t.Errorf("a reader of %d bytes a second was cut off after %v, want %v", tt.take, d, tt.ends)
			}
		})
	}
}

// read takes some bytes of an answer each second, until it is cut off, and returns after
// what time that was.
func read(t *testing.T, h http.Handler, target string, bytes int) time.Duration {
	t.Helper()
	conns := wiretest.Listen(&net.TCPAddr{})
	reader := conns.Dial(&net.TCPAddr{})
	server := &http.Server{Handler: h, WriteTimeout: time.Minute}
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(conns) }()
	go func() { _, _ = io.WriteString(reader, "GET "+target+" HTTP/1.1\r\nHost: x\r\n\r\n") }()
	began := time.Now()
	for {
		time.Sleep(time.Second)
		if _, err := io.ReadFull(reader, make([]byte, bytes)); err != nil {
			break
		}
	}
	took := time.Since(began)
	reader.Close()
	server.Close()
	<-served
	return took
}
