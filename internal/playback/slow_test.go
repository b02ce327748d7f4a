package playback_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/playback"
)

// A viewer that hardly reads is cut off at the server's write deadline: it must
// not hold a segment in memory for as long as it likes.
func TestSlowViewerIsCutOff(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for seconds")
	}
	name := filepath.Join(t.TempDir(), "media")
	if err := os.WriteFile(name, make([]byte, 64<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	ended := make(chan error, 1)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "67108864")
		_, err := io.Copy(w, io.NewSectionReader(file, 0, 64<<20))
		ended <- err
	}))
	server.Listener = playback.FastListener(server.Listener)
	server.Config.WriteTimeout = 500 * time.Millisecond
	server.Start()
	defer server.Close()
	viewer, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer viewer.Close()
	io.WriteString(viewer, "GET / HTTP/1.1\r\nHost: x\r\n\r\n") // shows below
	viewer.Read(make([]byte, 1<<10))                            // as above
	select {
	case err := <-ended:
		if err == nil {
			t.Error("the viewer was sent everything")
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the viewer was not cut off")
	}
}
