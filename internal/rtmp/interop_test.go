package rtmp_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/flv"
	"github.com/millrace/millrace/internal/ingest"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/rtmp"
	"github.com/millrace/millrace/internal/wiretest"
)

// serve runs s on loopback until the test ends and returns its host:port.
func serve(t testing.TB, s *rtmp.Server, config *tls.Config) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	if config != nil {
		ln = tls.NewListener(ln, config)
	}
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	ctx, stop := context.WithCancelCause(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	t.Cleanup(func() {
		stop(errStopped)
		if err := <-done; !errors.Is(err, errStopped) {
			t.Errorf("Serve = %v, want the cause of its context", err)
		}
	})
	return addr
}

var errStopped = errors.New("test is over")

// testTLS returns a server's and a client's configuration that fit.
func testTLS(t testing.TB) (server, client *tls.Config) {
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	defer s.Close()
	return &tls.Config{Certificates: s.TLS.Certificates}, &tls.Config{InsecureSkipVerify: true}
}

// A take holds what a handler received of one broadcast.
type take struct {
	p        *rtmp.Publisher
	err      error
	metadata ingest.Metadata
	video    []media.Frame // without Data
	audio    []media.Frame
	sizes    []int
	stats    media.InputStats
}

// record returns a handler that accepts everything and sends what it saw.
func record(takes chan<- take) func(context.Context, *rtmp.Publisher) error {
	return func(_ context.Context, p *rtmp.Publisher) error {
		k := take{p: p}
		if k.err = p.Accept(); k.err == nil {
			k.read()
		}
		k.metadata = p.Metadata()
		k.stats = p.Stats()
		takes <- k
		return k.err
	}
}

func (k *take) read() {
	for {
		f, err := k.p.ReadFrame()
		if err != nil {
			k.err = err
			return
		}
		k.sizes = append(k.sizes, len(f.Data))
		f.Data = nil
		if f.Track.IsVideo() {
			k.video = append(k.video, f)
		} else {
			k.audio = append(k.audio, f)
		}
	}
}

// ffmpeg runs the real one, which make test installs, and returns its stderr. In short
// mode it skips the test: what it sends comes in real time.
func ffmpeg(t testing.TB, args ...string) (stderr string, err error) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts ffmpeg")
	}
	path, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Fatal("ffmpeg is not installed: make test installs it")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, append([]string{"-hide_banner", "-nostdin", "-y", "-loglevel", "error"}, args...)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	return out.String(), err
}

// sample are ffmpeg's arguments for three seconds of moving video and a tone:
// B-frames and two key frames.
func sample() []string {
	return strings.Fields("-f lavfi -i testsrc2=size=320x180:rate=25 -f lavfi -i sine=frequency=440:sample_rate=48000 -t 3 " +
		"-c:v libx264 -preset veryfast -bf 2 -g 50 -b:v 300k -pix_fmt yuv420p -c:a aac -b:a 64k -ac 2")
}

func (k *take) check(t *testing.T) {
	t.Helper()
	if !errors.Is(k.err, io.EOF) {
		t.Errorf("broadcast ended with %v, want io.EOF", k.err)
	}
	if len(k.video) != 75 || len(k.audio) < 138 || len(k.audio) > 144 {
		t.Fatalf("%d video and %d audio frames, want 75 and about 141", len(k.video), len(k.audio))
	}
	v, a := k.video[0].Track, k.audio[0].Track
	if v.Video.Width != 320 || v.Video.Height != 180 || a.Audio.SampleRate != 48000 || a.Audio.Channels != 2 {
		t.Errorf("tracks %+v, %+v", v.Video, a.Audio)
	}
	keys, reordered := 0, 0
	for i, f := range k.video {
		if f.Track != v {
			t.Errorf("frame %d has a track of its own", i)
		}
		if f.Key {
			keys++
		}
		if f.PTS != f.DTS {
			reordered++
		}
		if i > 0 && f.DTS-k.video[i-1].DTS != 40*time.Millisecond {
			t.Errorf("frame %d comes %v after the one before, want 40 ms", i, f.DTS-k.video[i-1].DTS)
		}
	}
	if keys != 2 || reordered == 0 || !k.video[0].Key {
		t.Errorf("%d key frames and %d with a composition offset, want 2 and some", keys, reordered)
	}
	if k.stats.Early != 0 || k.stats.Malformed != 0 {
		t.Errorf("stats %+v", k.stats)
	}
}

func TestFFmpegPublishes(t *testing.T) {
	serverTLS, _ := testTLS(t)
	for _, tt := range []struct {
		scheme string
		config *tls.Config
	}{{"rtmp", nil}, {"rtmps", serverTLS}} {
		t.Run(tt.scheme, func(t *testing.T) {
			takes := make(chan take, 1)
			addr := serve(t, &rtmp.Server{App: "app", Handle: record(takes)}, tt.config)
			stderr, err := ffmpeg(t, append(sample(), "-f", "flv", fmt.Sprintf("%s://%s/app/sk_key?priority=2", tt.scheme, addr))...)
			if err != nil || stderr != "" {
				t.Fatalf("ffmpeg: %v\n%s", err, stderr)
			}
			k := <-takes
			k.check(t)
			if k.p.StreamKey != "sk_key" || k.p.Query.Get("priority") != "2" || k.p.App != "app" || k.p.TLS != (tt.config != nil) {
				t.Errorf("publisher %+v", k.p)
			}
			m := k.metadata
			if m.VideoBitrate != 292_968.75 || m.AudioBitrate != 62_500 || m.FrameRate != 25 || !strings.HasPrefix(m.Encoder, "Lavf") {
				t.Errorf("metadata %+v", m)
			}
		})
	}
}

// ffmpeg's own chunks where its timestamps outgrow 24 bits, after 1.2 s.
func TestFFmpegPublishesBeyond24Bits(t *testing.T) {
	takes := make(chan take, 1)
	addr := serve(t, &rtmp.Server{Handle: record(takes)}, nil)
	if stderr, err := ffmpeg(t, append(sample(), "-output_ts_offset", "16776", "-f", "flv", "rtmp://"+addr+"/app/key")...); err != nil {
		t.Fatalf("ffmpeg: %v\n%s", err, stderr)
	}
	k := <-takes
	k.check(t)
	if first, last := k.video[0].DTS, k.video[74].DTS; first > 16777*time.Second || last < 16778*time.Second {
		t.Errorf("from %v to %v", first, last)
	}
}

func TestFFmpegSaysWhyItWasRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		url    string
		handle func(context.Context, *rtmp.Publisher) error
		output []string
		want   string
	}{
		"at connect": {"rtmp://%s/other/key", nil, sample(), `publish to "app"`},
		"at publish": {"rtmp://%s/app/key", func(context.Context, *rtmp.Publisher) error {
			return ingest.Refuse(ingest.Unavailable, "try again later")
		}, sample(), "try again later"},
	} {
		t.Run(name, func(t *testing.T) {
			addr := serve(t, &rtmp.Server{App: "app", Handle: tt.handle}, nil)
			stderr, err := ffmpeg(t, append(tt.output, "-f", "flv", fmt.Sprintf(tt.url, addr))...)
			if err == nil || !strings.Contains(stderr, tt.want) {
				t.Errorf("ffmpeg: %v\n%s\nwant %q in it", err, stderr, tt.want)
			}
		})
	}
}

// A codec shows in the first tag, when the broadcast has begun.
func TestFFmpegSendsAnUnsupportedCodec(t *testing.T) {
	takes := make(chan take, 1)
	addr := serve(t, &rtmp.Server{Handle: record(takes)}, nil)
	_, err := ffmpeg(t, "-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25", "-t", "3", "-c:v", "flv1", "-f", "flv", "rtmp://"+addr+"/app/key")
	if err == nil {
		t.Error("ffmpeg published H.263 without an error")
	}
	var unsupported *flv.UnsupportedError
	if k := <-takes; !errors.As(k.err, &unsupported) || unsupported.Codec != "Sorenson H.263 video" {
		t.Errorf("broadcast ended with %v", k.err)
	}
}

// source makes a short FLV file and opens it.
func source(t testing.TB) *flv.Reader {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sample.flv")
	if out, err := ffmpeg(t, append(sample(), path)...); err != nil {
		t.Fatalf("ffmpeg: %v\n%s", err, out)
	}
	return open(t, path)
}

// later shifts a broadcast to where timestamps outgrow 24 bits.
type later struct{ w media.Writer }

func (l later) WriteFrame(f media.Frame) error {
	f.DTS += 16776 * time.Second
	f.PTS += 16776 * time.Second
	return l.w.WriteFrame(f)
}

func TestClientPublishesToFFmpeg(t *testing.T) {
	src := source(t)
	url := "rtmp://" + wiretest.FreeAddress(t) + "/app/key"
	out := filepath.Join(t.TempDir(), "out.flv")
	done := make(chan error, 1)
	go func() {
		stderr, err := ffmpeg(t, "-listen", "1", "-i", url, "-c", "copy", "-copyts", out)
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, stderr)
		}
		done <- err
	}()
	c := dialPatiently(t, url)
	if err := c.WriteMetadata(flv.Metadata{Encoder: "Millrace", Width: 320, Height: 180}); err != nil {
		t.Error(err)
	}
	n, err := media.Copy(later{c}, src)
	if err != nil || n < 200 {
		t.Errorf("published %d frames: %v", n, err)
	}
	if err := c.Close(); err != nil {
		t.Logf("Close: %v", err) // ffmpeg resets the connection when it has what it wants
	}
	if err := <-done; err != nil {
		t.Fatalf("ffmpeg: %v", err)
	}
	got := open(t, out)
	var video, audio int
	for {
		f, err := got.ReadFrame()
		if err != nil {
			break
		}
		if f.DTS < 16776*time.Second || f.DTS > 16780*time.Second {
			t.Errorf("ffmpeg received a frame of %v", f.DTS)
		}
		if f.Track.IsVideo() {
			video++
		} else {
			audio++
		}
	}
	if video != 75 || audio < 138 {
		t.Errorf("ffmpeg received %d video and %d audio frames", video, audio)
	}
}
