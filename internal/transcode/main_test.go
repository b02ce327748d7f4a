package transcode

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/flv"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/media/mediatest"
)

// The test binary is also an ffmpeg that goes wrong in the way that this
// variable names.
const misbehave = "MILLRACE_TEST_FFMPEG"

func TestMain(m *testing.M) {
	if how := os.Getenv(misbehave); how != "" {
		os.Exit(wrong(how))
	}
	os.Exit(m.Run())
}

// wrong behaves like an ffmpeg that fails in the given way, and returns its exit status.
func wrong(how string) int {
	switch how {
	case "dies at start":
		fmt.Fprintln(os.Stderr, "Unknown encoder 'libx264'")
		return 1
	case "dies in the middle":
		io.CopyN(io.Discard, os.Stdin, 50_000)
		fmt.Fprintln(os.Stderr, "Segmentation fault, almost")
		return 139
	case "hangs":
		time.Sleep(time.Hour)
	case "takes all and gives nothing":
		io.Copy(io.Discard, os.Stdin)
		time.Sleep(time.Hour)
	case "does not end":
		copyRungs()
		time.Sleep(time.Hour)
	case "writes garbage":
		out := os.NewFile(firstPipe, "rung")
		for range 1000 {
			out.WriteString("this is not what was asked for\n")
		}
		io.Copy(io.Discard, os.Stdin)
	case "writes another time":
		w := flv.NewWriter(os.NewFile(firstPipe, "rung"))
		r := flv.NewReader(os.Stdin)
		for {
			f, err := r.ReadFrame()
			if err != nil {
				return 0
			}
			f.DTS += time.Hour
			w.WriteFrame(f)
		}
	case "takes too much memory":
		io.CopyN(io.Discard, os.Stdin, 100) // its limits stand when it is given something
		if err := takeTooMuchMemory(); err != nil {
			fmt.Fprintln(os.Stderr, "more memory:", err)
			return 1
		}
		time.Sleep(time.Hour)
	case "says too much":
		for range 100_000 {
			fmt.Fprintln(os.Stderr, "[h264 @ 0x1] concealing errors")
		}
		copyRungs()
	}
	return 0
}

// copyRungs writes what it reads to every rung.
func copyRungs() {
	r := flv.NewReader(os.Stdin)
	w := flv.NewWriter(os.NewFile(firstPipe, "rung"))
	for {
		f, err := r.ReadFrame()
		if err != nil {
			return
		}
		w.WriteFrame(f)
	}
}

// source is a broadcast with B-frames that begins at 1 s.
func source(t *testing.T, size string, rate, seconds, gop int) []media.Frame {
	t.Helper()
	return mediatest.Shift(mediatest.Encode(t, fmt.Sprintf("-f lavfi -i testsrc2=size=%s:rate=%d -f lavfi -i sine=frequency=440:sample_rate=48000 -t %d"+
		" -c:v libx264 -preset ultrafast -g %d -bf 2 -b:v 1500k -c:a aac -b:a 96k", size, rate, seconds, gop)), time.Second)
}

// A tape yields frames, and then the end; with hold set it waits there until it
// is closed.
type tape struct {
	frames []media.Frame
	pace   bool // as fast as their times say
	hold   bool
	closed chan struct{}
	once   sync.Once
	began  time.Time
}

func newTape(frames []media.Frame) *tape { return &tape{frames: frames, closed: make(chan struct{})} }

func (t *tape) ReadFrame() (media.Frame, error) {
	if len(t.frames) == 0 {
		if t.hold {
			<-t.closed
		}
		return media.Frame{}, io.EOF
	}
	f := t.frames[0]
	t.frames = t.frames[1:]
	if t.pace {
		if t.began.IsZero() {
			t.began = time.Now().Add(-f.DTS)
		}
		select {
		case <-time.After(time.Until(t.began.Add(f.DTS))):
		case <-t.closed:
			return media.Frame{}, io.ErrClosedPipe
		}
	}
	return f, nil
}

func (t *tape) Close() { t.once.Do(func() { close(t.closed) }) }

// A sheet keeps what comes back of a rung.
type sheet struct {
	mu     sync.Mutex
	frames []media.Frame
}

func (s *sheet) WriteFrame(f media.Frame) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.Data = bytes.Clone(f.Data)
	s.frames = append(s.frames, f)
	return nil
}

func (s *sheet) of(video bool) (frames []media.Frame) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.frames {
		if f.Track.IsVideo() == video {
			frames = append(frames, f)
		}
	}
	return frames
}
