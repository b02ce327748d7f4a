package rtmp_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/ingest"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/rtmp"
)

// frames is a stream of n video frames of size bytes each, 40 ms apart.
func frames(t testing.TB, n, size int) []media.Frame {
	t.Helper()
	track, err := media.NewTrack(media.H264, []byte("\x01\x42\xc0\x1e\xff\xe1\x00\x19\x67\x42\xc0\x1e\xd9\x00\xa0\x2f\xf9\x70\x11\x00"+
		"\x00\x03\x00\x01\x00\x00\x03\x00\x32\x0f\x16\x2e\x48\x01\x00\x05\x68\xcb\x83\xcb\x20"))
	if err != nil {
		t.Fatal(err)
	}
	data := append([]byte{byte((size - 4) >> 24), byte((size - 4) >> 16), byte((size - 4) >> 8), byte(size - 4), 0x65, 0x88}, make([]byte, size-6)...)
	all := make([]media.Frame, n)
	for i := range all {
		at := time.Duration(i) * 40 * time.Millisecond
		all[i] = media.Frame{Track: track, DTS: at, PTS: at, Key: true, Data: data}
	}
	return all
}

func dial(t testing.TB, addr string) *rtmp.Client {
	t.Helper()
	c, err := rtmp.Dial(t.Context(), "rtmp://"+addr+"/app/key", nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// broadcast checks that the server at addr still takes one from end to end.
func broadcast(t *testing.T, addr string, takes <-chan take) {
	t.Helper()
	c := dial(t, addr)
	for _, f := range frames(t, 10, 1000) {
		if err := c.WriteFrame(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if k := <-takes; len(k.video) != 10 || !errors.Is(k.err, io.EOF) {
		t.Errorf("%d frames, then %v", len(k.video), k.err)
	}
}

// An encoder that is refused in the middle of sending gets the reason, although
// the server leaves what it pumped unread.
func TestRefusalArrivesWhileFramesAreSent(t *testing.T) {
	addr := serve(t, &rtmp.Server{Handle: func(_ context.Context, p *rtmp.Publisher) error {
		if err := p.Accept(); err != nil {
			return err
		}
		for range 20 {
			if _, err := p.ReadFrame(); err != nil {
				return err
			}
		}
		return ingest.Refuse(ingest.LimitExceeded, "too many bits")
	}}, nil)
	c := dial(t, addr)
	var err error
	for _, f := range frames(t, 2000, 50_000) {
		if err = c.WriteFrame(f); err != nil {
			break
		}
	}
	var status *rtmp.StatusError
	if !errors.As(err, &status) || status.Description != "too many bits" {
		t.Errorf("WriteFrame = %v, want the server's words", err)
	}
	if err := c.Close(); !errors.As(err, &status) {
		t.Errorf("Close = %v, want the server's words", err)
	}
}

func TestBigFramesAndAnyTimestamp(t *testing.T) {
	takes := make(chan take, 1)
	addr := serve(t, &rtmp.Server{Handle: record(takes)}, nil)
	c := dial(t, addr)
	sent := slices.Concat(frames(t, 1, 3<<20), frames(t, 2, 200_000), frames(t, 2, 10))
	for i, ms := range []int64{0, 1<<24 - 1, 1 << 24, 1<<32 - 1, 1 << 32} {
		sent[i].DTS = time.Duration(ms) * time.Millisecond
		sent[i].PTS = sent[i].DTS - 40*time.Millisecond
		if err := c.WriteFrame(sent[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	k := <-takes
	if len(k.video) != 5 || k.sizes[0] != 3<<20 || k.sizes[4] != 10 {
		t.Fatalf("%d frames of %d bytes, then %v", len(k.video), k.sizes, k.err)
	}
	for i, f := range k.video {
		want := sent[i].DTS % (1 << 32 * time.Millisecond)
		if f.DTS != want || f.PTS != want-40*time.Millisecond {
			t.Errorf("frame %d: DTS %v, PTS %v; want %v, 40 ms less", i, f.DTS, f.PTS, want)
		}
	}
}

func TestWrongProtocols(t *testing.T) {
	serverTLS, clientTLS := testTLS(t)
	takes := make(chan take, 1)
	plain := serve(t, &rtmp.Server{Handle: record(takes)}, nil)
	secure := serve(t, &rtmp.Server{Handle: record(takes)}, serverTLS)
	if _, err := tls.Dial("tcp", plain, clientTLS); err == nil {
		t.Error("a TLS client was served by the RTMP port")
	}
	if _, err := rtmp.Dial(t.Context(), "rtmp://"+secure+"/app/key", nil); err == nil {
		t.Error("an RTMP client was served by the RTMPS port")
	}
	for _, words := range []string{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\x00", strings.Repeat("\xff", 100_000), "\x03" + strings.Repeat("\x00", 3072) + "garbage"} {
		for _, addr := range []string{plain, secure} {
			nc, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(nc, words) // it may be closed before the end
			nc.Close()
		}
	}
	broadcast(t, plain, takes)
}

// A panic costs one connection.
func TestPanicStaysInItsConnection(t *testing.T) {
	takes := make(chan take, 1)
	var calls atomic.Int32
	addr := serve(t, &rtmp.Server{Handle: func(ctx context.Context, p *rtmp.Publisher) error {
		if calls.Add(1) == 1 {
			panic("handler's own")
		}
		return record(takes)(ctx, p)
	}}, nil)
	if _, err := rtmp.Dial(t.Context(), "rtmp://"+addr+"/app/key", nil); err == nil {
		t.Error("the first encoder was accepted")
	}
	broadcast(t, addr, takes)
}

func TestConnectionLimits(t *testing.T) {
	for name, s := range map[string]*rtmp.Server{"in all": {MaxConns: 2}, "per address": {MaxConnsPerAddr: 2}} {
		t.Run(name, func(t *testing.T) {
			takes := make(chan take, 3)
			s.Handle = record(takes)
			addr := serve(t, s, nil)
			first, second := dial(t, addr), dial(t, addr)
			if _, err := rtmp.Dial(t.Context(), "rtmp://"+addr+"/app/key", nil); err == nil {
				t.Error("a third connection was served")
			}
			for _, c := range []*rtmp.Client{first, second} {
				if err := c.Close(); err != nil {
					t.Error(err)
				}
				<-takes
			}
			if err := dialPatiently(t, "rtmp://"+addr+"/app/key").Close(); err != nil {
				t.Errorf("places were not given back: %v", err)
			}
			<-takes
		})
	}
}

// A thousand connections that never finish their handshake cost little, disturb
// nobody, and are gone when the server is.
func TestHalfOpenConnections(t *testing.T) {
	const n = 1000
	takes := make(chan take, 1)
	before := runtime.NumGoroutine()
	ctx, stop := context.WithCancelCause(t.Context())
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	s := &rtmp.Server{Handle: record(takes), HandshakeTimeout: time.Minute}
	go func() { done <- s.Serve(ctx, ln) }()
	var half []net.Conn
	for range n {
		nc, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		nc.Write([]byte{3, 0, 0, 0, 0}) // that is all it says
		half = append(half, nc)
	}
	broadcast(t, ln.Addr().String(), takes)
	start := time.Now()
	stop(errStopped)
	if err := <-done; !errors.Is(err, errStopped) {
		t.Errorf("Serve = %v", err)
	}
	if d := time.Since(start); d > 20*time.Second { // a handshake may take a minute
		t.Errorf("stopping took %v", d)
	}
	for runtime.NumGoroutine() > before+2 { // they have returned and may not be gone
		if time.Since(start) > 30*time.Second {
			t.Fatalf("%d goroutines before, %d after", before, runtime.NumGoroutine())
		}
		time.Sleep(time.Millisecond)
	}
	for _, nc := range half {
		if _, err := nc.Read(make([]byte, 1)); err == nil {
			t.Fatal("a half-open connection outlived the server")
		}
	}
}

// A stop ends broadcasts with its cause and waits for their handlers.
func TestServeWaitsForItsHandlers(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancelCause(t.Context())
	var ended atomic.Bool
	s := &rtmp.Server{Handle: func(ctx context.Context, p *rtmp.Publisher) error {
		err := p.Accept()
		stop(errStopped)
		for err == nil {
			_, err = p.ReadFrame()
		}
		if !errors.Is(err, errStopped) || !errors.Is(context.Cause(ctx), errStopped) {
			t.Errorf("ReadFrame = %v, want the cause of the stop", err)
		}
		time.Sleep(100 * time.Millisecond) // work that Serve waits for
		ended.Store(true)
		return err
	}}
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	c := dial(t, ln.Addr().String())
	if err := <-done; !errors.Is(err, errStopped) || !ended.Load() {
		t.Errorf("Serve = %v, handler ended: %v", err, ended.Load())
	}
	var status *rtmp.StatusError
	if err := c.Close(); !errors.As(err, &status) {
		t.Errorf("Close = %v, want the server's words", err)
	}
}

// A listener that fails ends Serve, and with it every broadcast.
func TestServeEndsWithItsListener(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	takes, done := make(chan take, 1), make(chan error, 1)
	s := &rtmp.Server{Handle: record(takes)}
	go func() { done <- s.Serve(t.Context(), ln) }()
	c := dial(t, ln.Addr().String())
	ln.Close()
	if k := <-takes; !errors.Is(k.err, net.ErrClosed) {
		t.Errorf("ReadFrame = %v", k.err)
	}
	c.Close() // ended by the server
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve = %v, want net.ErrClosed", err)
	}
}

func TestDialErrors(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for url, want := range map[string]string{
		"http://h/app/key":                          "scheme",
		"rtmp://h/app":                              "host[:port]/app/key",
		"rtmp://h/app/":                             "host[:port]/app/key",
		"rtmp:///app/key":                           "host[:port]/app/key",
		"rtmp://h:x/app/sk_secret":                  "cannot be read",
		"rtmp://" + silent.Addr().String() + "/a/b": "deadline",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := rtmp.Dial(ctx, url, nil)
		cancel()
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("Dial(%q) = %v, want %q in it", url, err, want)
		}
	}
}
