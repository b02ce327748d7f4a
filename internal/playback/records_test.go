package playback_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/hls/hlsplayer"
	"github.com/millrace/millrace/internal/media/mediatest"
	"github.com/millrace/millrace/internal/playback"
	"github.com/millrace/millrace/internal/segment"
)

// A writesListener keeps what its connections are asked to send.
type writesListener struct {
	net.Listener
	mu    sync.Mutex
	sizes []int // guarded by mu
}

func (l *writesListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return writesConn{c, l}, err
}

func (l *writesListener) reset() (sizes []int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	sizes, l.sizes = l.sizes, nil
	return sizes
}

type writesConn struct {
	net.Conn
	l *writesListener
}

func (c writesConn) Write(b []byte) (int, error) {
	c.l.mu.Lock()
	c.l.sizes = append(c.l.sizes, len(b))
	c.l.mu.Unlock()
	return c.Conn.Write(b)
}

// Media over HTTP/2 and TLS is what it is without, and each frame of it fills a
// record.
func TestFramesFillRecords(t *testing.T) {
	stream := &hls.Stream{Container: hls.TS, LowLatency: true}
	defer stream.Release()
	leader := segment.NewLeader(stream.AddRendition("source", hls.Listing{}))
	for _, f := range (mediatest.Source{NoAudio: true, Seconds: 6, Size: "1280x720", X264: ":bitrate=4000:vbv-maxrate=4000:vbv-bufsize=4000:nal-hrd=cbr"}).Frames(t) {
		if err := leader.WriteFrame(f); err != nil {
			t.Fatal(err)
		}
	}
	want := hlsplayer.Get(t.Context(), stream, "/source/1.ts").Body.Bytes()

	server := httptest.NewUnstartedServer(hlsplayer.Handler(stream))
	writes := &writesListener{Listener: server.Listener}
	server.Listener = playback.RecordListener(writes)
	server.EnableHTTP2 = true
	server.TLS = &tls.Config{DynamicRecordSizingDisabled: true}
	server.StartTLS()
	defer server.Close()
	get := func(path string) []byte {
		r, err := server.Client().Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		if err != nil || r.ProtoMajor != 2 || r.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s %s, %v", path, r.Proto, r.Status, err)
		}
		return body
	}
	get("/source/playlist.m3u8") // the connection is open
	writes.reset()
	if got := get("/source/1.ts"); len(want) < 500_000 || !bytes.Equal(got, want) {
		t.Fatalf("%d bytes by HTTP/2 are not the %d that they should be", len(got), len(want))
	}
	sent := 0
	for _, n := range writes.reset() {
		sent += n
	}
	frames := len(want)/(16<<10-9) + 1
	if most := len(want) + frames*(9+5+1+16) + 500; sent > most { // 9 bytes of HTTP/2 and 22 of TLS each, and the headers
		t.Errorf("%d bytes were sent for %d of media, want at most %d: frames do not fill records", sent, len(want), most)
	}
}

// A pipePeer accepts one connection again and again.
type pipePeer struct{ net.Conn }

func (p pipePeer) Accept() (net.Conn, error) { return p.Conn, nil }
func (p pipePeer) Addr() net.Addr            { return p.LocalAddr() }

// A record of full size waits for the next, but not for long, and nothing is
// sent out of order.
func TestRecordWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		writes := &writesListener{Listener: pipePeer{ours}}
		c, err := playback.RecordListener(writes).Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		var mu sync.Mutex
		var got []byte
		go io.Copy(writerFunc(func(b []byte) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, b...)
			return len(b), nil
		}), theirs)
		arrived := func() int {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			return len(got)
		}
		var want []byte
		write := func(size int) {
			b := bytes.Repeat([]byte{byte(len(want))}, size)
			want = append(want, b...)
			if n, err := c.Write(b); n != size || err != nil {
				t.Fatalf("Write of %d bytes: %d, %v", size, n, err)
			}
		}
		const full = 16<<10 + 22
		write(100)
		if n := arrived(); n != 100 {
			t.Errorf("%d bytes of a short record arrived at once, want 100", n)
		}
		write(full)
		if n := arrived(); n != 100 {
			t.Errorf("%d bytes arrived: a full record did not wait", n)
		}
		write(50)
		if n := arrived(); n != len(want) {
			t.Errorf("%d bytes arrived after a short record, want %d", n, len(want))
		}
		write(full)
		time.Sleep(20 * time.Millisecond)
		if n := arrived(); n != len(want) {
			t.Errorf("%d bytes arrived after 20 ms, want %d", n, len(want))
		}
		writes.reset()
		for range 9 {
			write(full)
		}
		write(1000)
		arrived()
		if sizes := writes.reset(); !slices.Equal(sizes, []int{4 * full, 4 * full, full + 1000}) {
			t.Errorf("nine full records and a short one were sent by calls of %d bytes", sizes)
		}
		write(full)
		write(200_000) // as no TLS record is
		if n := arrived(); n != len(want) || !bytes.Equal(got, want) {
			t.Errorf("%d bytes arrived, want %d", n, len(want))
		}
		write(full)
		theirs.Close()
		time.Sleep(20 * time.Millisecond)
		if _, err := c.Write([]byte{0}); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("after a record could not be sent: %v, want %v", err, io.ErrClosedPipe)
		}
	})
}

// A deadlineConn counts how often its deadline of writing is set.
type deadlineConn struct {
	net.Conn
	set atomic.Int32
}

func (c *deadlineConn) SetWriteDeadline(t time.Time) error {
	c.set.Add(1)
	return c.Conn.SetWriteDeadline(t)
}

// The deadline of writing is that of the calls that send, also of one that sends already.
// Where records are held it is not set.
func TestRecordDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		under := &deadlineConn{Conn: ours}
		c, err := playback.RecordListener(pipePeer{under}).Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		write := func(size int, within time.Duration) error {
			if err := c.SetWriteDeadline(time.Now().Add(within)); err != nil {
				t.Fatal(err)
			}
			_, err := c.Write(make([]byte, size))
			return errors.Join(err, c.SetWriteDeadline(time.Time{}))
		}
		const full = 16<<10 + 22
		reading := make(chan error, 1)
		go func() { _, err := io.CopyN(io.Discard, theirs, 8*full); reading <- err }()
		for range 8 {
			time.Sleep(time.Millisecond) // so that each has another deadline
			if err := write(full, time.Second); err != nil {
				t.Fatal(err)
			}
		}
		if err := <-reading; err != nil {
			t.Fatal(err)
		}
		if n := under.set.Load(); n != 2 {
			t.Errorf("the deadline was set %d times for eight records in two calls", n)
		}

		began := time.Now()
		go func() {
			time.Sleep(3 * time.Second)
			c.SetWriteDeadline(time.Now()) // as who cuts a viewer off does
		}()
		if _, err := c.Write([]byte{0}); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != 3*time.Second {
			t.Errorf("a call that sends already ended after %v: %v", time.Since(began), err)
		}
		if err := write(1, 5*time.Second); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != 8*time.Second {
			t.Errorf("a call ended after %v: %v", time.Since(began), err)
		}
		c.SetDeadline(time.Now().Add(2 * time.Second))
		if _, err := c.Write([]byte{0}); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != 10*time.Second {
			t.Errorf("a call after SetDeadline ended after %v: %v", time.Since(began), err)
		}
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
