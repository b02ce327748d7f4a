package record

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/proxies"
)

const (
	downloadName = "download.mp4"

	// maxDownloads is how many MP4 files are made at a time for each kind of reader.
	maxDownloads = 4

	// viewerTimeout is how long a viewer may take for one. A client that has the address
	// from a signed call may take as long as the address works.
	viewerTimeout = 2 * time.Hour

	// steadyRate is what a reader takes of one in a second at least, in bytes, while the
	// file is not made more slowly; and steadyDebt by how long sending may be later than
	// at that rate.
	steadyRate = 64 << 10
	steadyDebt = 30 * time.Second
)

// turns are the MP4 files that are made at a time for one kind of reader, each of which
// needs a process.
type turns struct {
	ofOne  int           // how many of them one client may have
	within time.Duration // how long each may take

	mu    sync.Mutex
	taken map[netip.Addr]int // guarded by mu; by client
	all   int                // guarded by mu
}

// take reports whether there is a turn for a client, who has it until done.
func (t *turns) take(client netip.Addr) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all >= maxDownloads || t.taken[client] >= t.ofOne {
		return false
	}
	if t.taken == nil {
		t.taken = map[netip.Addr]int{}
	}
	t.all++
	t.taken[client]++
	return true
}

func (t *turns) done(client netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all--
	if t.taken[client]--; t.taken[client] == 0 {
		delete(t.taken, client)
	}
}

// takeTurn takes a turn for a client, and what it needs of the machine, until done is
// called.
func (h *Handler) takeTurn(t *turns, client netip.Addr) (done func(), err error) {
	if !t.take(client) {
		return nil, fmt.Errorf("the limit of %d files that are being made, or %d for one address, is reached", maxDownloads, t.ofOne)
	}
	if h.AdmitDownload == nil {
		return func() { t.done(client) }, nil
	}
	release, err := h.AdmitDownload(t == &h.signed)
	if err != nil {
		t.done(client)
		return nil, err
	}
	return func() { release(); t.done(client) }, nil
}

// A steady writer ends with errSlow when its reader takes less than steadyRate. Only the
// time that writing takes counts: what the reader waits for costs nothing.
type steady struct {
	to   io.Writer
	late time.Duration // how much longer writing took than at steadyRate; what was faster is not saved up
}

var errSlow = errors.New("the reader is too slow")

// Write passes b on.
func (s *steady) Write(b []byte) (int, error) {
	began := time.Now()
	n, err := s.to.Write(b)
	s.late = max(s.late+time.Since(began)-time.Duration(n)*time.Second/steadyRate, 0)
	if err == nil && s.late > steadyDebt {
		err = errSlow
	}
	return n, err
}

// download makes one MP4 file of a rendition, without another encoding, if turns and
// the machine have room.
func (h *Handler) download(w http.ResponseWriter, r *http.Request, name, prefix string, turns *turns) {
	rendition, err := h.downloadable(r.Context(), name, prefix, r.URL.Query().Get("rendition"))
	if err != nil {
		refuse(w, http.StatusNotFound, err.Error())
		return
	}
	done, err := h.takeTurn(turns, proxies.ClientOf(r.RemoteAddr)) // behind a trusted proxy, the address in its header
	if err != nil {
		w.Header().Set("Retry-After", "30")
		refuse(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	defer done()
	w.Header().Set("Content-Type", "video/mp4")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", path.Base(prefix)+"-"+rendition+".mp4"))
	if r.Method == http.MethodHead {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), turns.within)
	defer cancel()
	if err := h.remux(ctx, &steady{to: hls.NewPaced(w, r, turns.within)}, name, path.Join(prefix, mediaFolder, rendition)); err != nil {
		if r.Context().Err() == nil {
			h.Recorder.Log.Warn("download of a recording is incomplete", "recording", prefix, "rendition", rendition, "error", err)
		}
		panic(http.ErrAbortHandler) // the client must not take it for the whole file
	}
}

// downloadable finds the rendition that was asked for in the recording's JSON.
func (h *Handler) downloadable(ctx context.Context, name, prefix, rendition string) (string, error) {
	var d document
	for _, file := range []string{endedName, failedName} {
		f, _, err := h.Recorder.Buckets.Get(ctx, name, prefix+"/"+file)
		if err != nil {
			continue
		}
		err = json.NewDecoder(io.LimitReader(f, 1<<20)).Decode(&d)
		f.Close()
		if err != nil {
			return "", err
		}
		break
	}
	for _, v := range d.Media.HLS.Renditions {
		if rendition == "" || v.Path == rendition {
			return v.Path, nil
		}
	}
	return "", fmt.Errorf("the recording has not ended, or has no rendition %q", rendition)
}

// remux has ffmpeg write an MP4 file that can be sent while it is made. What it
// reads, the folder of one rendition, it gets from a listener of its own on the
// loopback interface, below a secret path: the server's own ports may use TLS only, or be on another
// machine.
func (h *Handler) remux(ctx context.Context, w io.Writer, bucketName, folder string) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	root := "/" + rand.Text() + "/"
	objects := &http.Server{ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(h.Recorder.Log.Handler(), slog.LevelDebug),
		Handler: http.StripPrefix(root, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.serve(w, r, bucketName, folder+"/"+path.Base(r.URL.Path), false)
		}))}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = objects.Serve(listener) // until Close
	}()
	defer func() {
		objects.Close()
		<-served
	}()
	ffmpeg := exec.CommandContext(ctx, h.Recorder.ffmpeg(), "-v", "error", "-nostdin", "-protocol_whitelist", "http,tcp", "-f", "hls",
		"-i", "http://"+listener.Addr().String()+root+playlistName,
		"-map", "0:v?", "-map", "0:a?", "-c", "copy", "-bsf:a", "aac_adtstoasc", "-movflags", "frag_keyframe+empty_moov+default_base_moof", "-f", "mp4", "pipe:1")
	ffmpeg.Env = append(os.Environ(), "no_proxy=127.0.0.1")
	var problem complaint
	ffmpeg.Stdout, ffmpeg.Stderr = w, &problem
	if err := ffmpeg.Run(); err != nil {
		return fmt.Errorf("ffmpeg: %w: %s", err, problem)
	}
	return nil
}

// A complaint is the beginning of ffmpeg's standard error.
type complaint []byte

func (c *complaint) Write(b []byte) (int, error) {
	const most = 300
	*c = append(*c, b[:min(len(b), most-len(*c))]...)
	return len(b), nil
}
