package playback_test

import (
	"bytes"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/millrace/millrace/internal/playback"
)

// Many viewers read sections of one file at once; each gets its own bytes,
// behind its own header, on a connection that stays open.
func TestFastListenerSendsSections(t *testing.T) {
	content := make([]byte, 3<<20)
	random := rand.NewChaCha8([32]byte{1})
	random.Read(content)
	name := filepath.Join(t.TempDir(), "media")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var copied atomic.Int64

	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		offset, _ := strconv.ParseInt(r.URL.Query().Get("offset"), 10, 64)
		size, _ := strconv.ParseInt(r.URL.Query().Get("size"), 10, 64)
		w.Header().Set("Content-Type", "video/mp2t")
		w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
		if r.Method == http.MethodGet {
			io.Copy(w, io.NewSectionReader(countedFile{file, &copied}, offset, size))
		}
	}))
	server.Listener = playback.FastListener(server.Listener)
	server.Start()
	defer server.Close()

	var viewers sync.WaitGroup
	for viewer := range 8 {
		viewers.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for i := range 20 {
				offset, size := (viewer*977+i*104729)%len(content), 1+(i*65537)%(1<<20)
				size = min(size, len(content)-offset)
				r, err := client.Get(server.URL + "?offset=" + strconv.Itoa(offset) + "&size=" + strconv.Itoa(size))
				if err != nil {
					t.Error(err)
					return
				}
				got, err := io.ReadAll(r.Body)
				r.Body.Close()
				if err != nil || sha256.Sum256(got) != sha256.Sum256(content[offset:offset+size]) {
					t.Errorf("viewer %d: %d bytes from %d came as %d others, %v", viewer, size, offset, len(got), err)
				}
			}
		})
	}
	viewers.Wait()
	if n := copied.Load(); runtime.GOOS == "linux" && n > 8*20*512 {
		t.Errorf("%d bytes went through the process; only the first 512 of each answer go with its header", n)
	}
}

// A countedFile counts what is read from it instead of sent by the kernel.
type countedFile struct {
	*os.File
	n *atomic.Int64
}

func (f countedFile) ReadAt(b []byte, offset int64) (int, error) {
	f.n.Add(int64(len(b)))
	return f.File.ReadAt(b, offset)
}

// What is no section of a file is copied, and a file that ends too early is an
// error and not a short answer taken for whole.
func TestFastListenerOtherBodies(t *testing.T) {
	name := filepath.Join(t.TempDir(), "media")
	if err := os.WriteFile(name, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "video/mp2t")
		w.Header().Set("Content-Length", "10")
		body := map[string]io.Reader{
			"/memory": bytes.NewReader([]byte("0123456789")),
			"/reader": io.NewSectionReader(bytes.NewReader([]byte("0123456789")), 0, 10),
			"/short":  io.NewSectionReader(file, 0, 10),
		}[r.URL.Path]
		io.Copy(w, body)
	}))
	server.Listener = playback.FastListener(server.Listener)
	server.Start()
	defer server.Close()
	for path, want := range map[string]string{"/memory": "0123456789", "/reader": "0123456789", "/short": ""} {
		r, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r.Body)
		r.Body.Close()
		if want == "" && err == nil || want != "" && (err != nil || string(got) != want) {
			t.Errorf("%s: %q, %v; want %q", path, got, err, want)
		}
	}
}

// A connection that is no TCP connection passes through.
func TestFastListenerPassesOthers(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := net.Dial("unix", l.Addr().String())
		if err == nil {
			c.Close()
		}
	}()
	c, err := playback.FastListener(l).Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, ok := c.(*net.UnixConn); !ok {
		t.Errorf("the connection came as %T", c)
	}
}
