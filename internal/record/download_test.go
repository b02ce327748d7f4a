package record_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/record"
	"github.com/millrace/millrace/internal/store"
)

// A recording of two streams is downloaded as one MP4 file with each frame once,
// from a server that speaks TLS alone and whatever proxy its environment names.
func TestDownload(t *testing.T) {
	t.Setenv("http_proxy", "http://127.0.0.1:9")
	for _, container := range []string{ivs.ContainerTS, ivs.ContainerFMP4} {
		w := newWorld(t, container, func(c *ivs.RecordingConfiguration) { c.ReconnectWindowSeconds = 1 })
		n := 0
		for range 2 {
			b := w.goLive(testIngest)
			b.write(numbered(t, 12, &n))
			b.leave()
		}
		w.ended()
		h := w.handler()
		server := httptest.NewTLSServer(h)
		defer server.Close()
		get := func(path string) (*http.Response, []byte) {
			t.Helper()
			answer, err := server.Client().Get(server.URL + path)
			w.must(err)
			defer answer.Body.Close()
			body, err := io.ReadAll(answer.Body)
			w.must(err)
			return answer, body
		}
		answer, file := get(w.listed(h).DownloadURL)
		got := numbers(ivs.ContainerFMP4, file)
		slices.Sort(got) // B-frames
		if answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != "video/mp4" || len(got) != n || len(slices.Compact(got)) != n {
			t.Errorf("%s: %s, %d of %d frames in %d bytes", container, answer.Status, len(got), n, len(file))
		}
		if answer, _ := get(w.listed(h).DownloadURL + "?rendition=720p30"); answer.StatusCode != http.StatusNotFound {
			t.Errorf("a rendition that is not there: %s", answer.Status)
		}
	}
}

// A listing is the part of the list of recordings that the tests read.
type listing struct {
	State, PlaylistURL, DownloadURL, ThumbnailsURL string
	DurationMS, ThumbnailIntervalMS, Bytes         int64
	Thumbnails                                     int
}

// handler serves the recordings of the world.
func (w *world) handler() *record.Handler {
	return record.NewHandler(record.HandlerConfig{Recorder: w.recorder, Key: []byte("key"), Channel: func(context.Context, string, store.Scope) (string, error) { return w.channel.ARN, nil }})
}

// listed asks a Handler for the newest recording of the world's channel.
func (w *world) listed(h *record.Handler) listing {
	w.t.Helper()
	all := w.listedAll(h)
	if len(all) == 0 {
		w.t.Fatal("no recording is listed")
	}
	return all[0]
}

// listedAll are the recordings as the server lists them, newest first.
func (w *world) listedAll(h *record.Handler) []listing {
	w.t.Helper()
	var out struct{ Recordings []listing }
	answer := httptest.NewRecorder()
	w.must(h.List(answer, httptest.NewRequest(http.MethodGet, "/", nil), store.Scope{}), json.Unmarshal(answer.Body.Bytes(), &out))
	return out.Recordings
}
