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

	// minRate is the least a reader may take of one, in bytes a second, unless the file
	// is made more slowly; and maxLag is how far a reader may fall behind that rate.
	minRate = 64 << 10
	maxLag  = 30 * time.Second
)

// downloadSlots bounds the MP4 files that are made at the same time for one kind of reader: each
// needs a process.
type downloadSlots struct {
	ofOne  int           // how many of them one client may have
	within time.Duration // how long each may take

	mu    sync.Mutex
	taken proxies.Count // guarded by mu
}

// acquire takes a slot for a client, until release, and reports whether one was free.
func (s *downloadSlots) acquire(client netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken.Total() >= maxDownloads || s.taken.Of(client) >= s.ofOne {
		return false
	}
	s.taken.Add(client, 1)
	return true
}

func (s *downloadSlots) release(client netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken.Add(client, -1)
}

// acquireSlot takes a slot for a client, and what a download needs of the machine, until
// done is called.
func (h *Handler) acquireSlot(s *downloadSlots, client netip.Addr) (done func(), err error) {
	if !s.acquire(client) {
		return nil, fmt.Errorf("the limit of %d files that are being made, or %d for one address, is reached", maxDownloads, s.ofOne)
	}
	if h.AdmitDownload == nil {
		return func() { s.release(client) }, nil
	}
	release, err := h.AdmitDownload(s == &h.signed)
	if err != nil {
		s.release(client)
		return nil, err
	}
	return func() { release(); s.release(client) }, nil
}

// A minRateWriter fails with errSlow when its reader takes less than minRate. Only the
// time spent in Write counts, not that in which there was nothing to send.
type minRateWriter struct {
	to  io.Writer
	lag time.Duration // how much longer writing took than at minRate; never below 0, so bursts earn no credit
}

var errSlow = errors.New("the reader is too slow")

func (w *minRateWriter) Write(b []byte) (int, error) {
	began := time.Now()
	n, err := w.to.Write(b)
	w.lag = max(w.lag+time.Since(began)-time.Duration(n)*time.Second/minRate, 0)
	if err == nil && w.lag > maxLag {
		err = errSlow
	}
	return n, err
}

// download makes one MP4 file of a rendition, without another encoding, if a slot
// is free and the machine has room.
func (h *Handler) download(w http.ResponseWriter, r *http.Request, name, prefix string, slots *downloadSlots) {
	rendition, err := h.downloadable(r.Context(), name, prefix, r.URL.Query().Get("rendition"))
	if err != nil {
		refuse(w, http.StatusNotFound, err.Error())
		return
	}
	done, err := h.acquireSlot(slots, proxies.ClientOf(r.RemoteAddr)) // behind a trusted proxy, the address in its header
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
	ctx, cancel := context.WithTimeout(r.Context(), slots.within)
	defer cancel()
	if err := h.remux(ctx, &minRateWriter{to: hls.NewPaced(w, r, slots.within)}, name, path.Join(prefix, mediaFolder, rendition)); err != nil {
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
