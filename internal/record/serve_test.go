package record

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/internal/bucket"
	"github.com/millrace/millrace/internal/hls"
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

// Anonymous readers of MP4 files do not take the places of readers whose URL comes
// from a signed call.
func TestDownloadTurns(t *testing.T) {
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
	h := NewHandler(HandlerConfig{Recorder: &Recorder{Config: Config{Buckets: place}}, Key: []byte("key"), Public: true})
	status := func() int {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodHead, h.address("demo", prefix, nil, time.Now())+"/"+downloadName, nil))
		return w.Code
	}
	for range maxPublic {
		h.publicly <- struct{}{}
	}
	if got := status(); got != http.StatusOK {
		t.Errorf("while all others have their turns: %d", got)
	}
	for range maxDownloads {
		h.downloads <- struct{}{}
	}
	if got := status(); got != http.StatusServiceUnavailable {
		t.Errorf("beyond the turns: %d", got)
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
			reader, conn := net.Pipe()
			server := &http.Server{Handler: h, WriteTimeout: time.Minute}
			conns := make(oneConn, 1)
			conns <- conn
			served := make(chan struct{})
			go func() { defer close(served); _ = server.Serve(conns) }()
			go func() {
				_, _ = io.WriteString(reader, "GET "+h.address("demo", prefix, nil, time.Now())+"/media/hls/720p30/0.ts HTTP/1.1\r\nHost: x\r\n\r\n")
			}()
			began := time.Now()
			for {
				time.Sleep(time.Second)
				if _, err := io.ReadFull(reader, make([]byte, tt.take)); err != nil {
					break
				}
			}
			if d := time.Since(began); d < tt.ends-2*time.Second || d > tt.ends+4*time.Second {
				t.Errorf("a reader of %d bytes a second was cut off after %v, want %v", tt.take, d, tt.ends)
			}
			reader.Close()
			server.Close()
			<-served
		})
	}
}

// oneConn is a listener with one connection, until Close.
type oneConn chan net.Conn

func (l oneConn) Accept() (net.Conn, error) {
	c, ok := <-l
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (l oneConn) Close() error { close(l); return nil }

func (oneConn) Addr() net.Addr { return &net.TCPAddr{} }
