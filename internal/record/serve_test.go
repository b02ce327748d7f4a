package record

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/bucket"
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

// Anonymous readers of MP4 files keep nobody from one whose address a signed call
// has given.
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
