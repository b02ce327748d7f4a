package playback

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// Who sends reports and does not end them takes no place of others.
func TestReportsAreBounded(t *testing.T) {
	h := New(Config{Log: slog.New(slog.DiscardHandler)})
	send := func(address string, body io.Reader) int {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodPost, Root+"none/"+reportFile, body)
		r.RemoteAddr = address
		h.ServeHTTP(w, r)
		return w.Code
	}
	var sending sync.WaitGroup
	var bodies []*io.PipeWriter
	for range reports.PerAddress {
		body, begun := io.Pipe()
		bodies = append(bodies, begun)
		sending.Go(func() {
			if got := send("192.0.2.1:1", body); got != http.StatusNotFound {
				t.Errorf("a slow report = %d", got)
			}
		})
		io.WriteString(begun, "b") // returns when it is read
	}
	if got := send("192.0.2.1:1", strings.NewReader("bs")); got != http.StatusServiceUnavailable {
		t.Errorf("one report more of an address = %d", got)
	}
	if got := send("192.0.2.2:1", strings.NewReader("bs")); got != http.StatusNotFound {
		t.Errorf("a report of another address = %d", got)
	}
	for _, body := range bodies {
		body.Close()
	}
	sending.Wait()
}
