package media_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/internal/media"
)

var (
	video = &media.Track{Codec: media.H264, Video: &media.VideoConfig{}}
	audio = &media.Track{Codec: media.AAC, Audio: &media.AudioConfig{}}
)

// numbered is frame n of a broadcast of 25 frames a second with a key frame
// every two seconds; its bytes give n.
func numbered(n, size int) media.Frame {
	data := bytes.Repeat([]byte{byte(n)}, size)
	binary.BigEndian.PutUint32(data, uint32(n))
	at := time.Duration(n) * 40 * time.Millisecond
	return media.Frame{Track: video, DTS: at, PTS: at, Key: n%50 == 0, Data: data}
}

func number(t *testing.T, f media.Frame) int {
	t.Helper()
	n := int(binary.BigEndian.Uint32(f.Data))
	if want := numbered(n, len(f.Data)); !bytes.Equal(f.Data, want.Data) || f.DTS != want.DTS || f.Key != want.Key || f.Track != video {
		t.Fatalf("frame %d came back changed: %v, key %v, % x…", n, f.DTS, f.Key, f.Data[:8])
	}
	return n
}

func next(t *testing.T, c *media.Cursor) int {
	t.Helper()
	f, err := c.ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	return number(t, f)
}

func TestRing(t *testing.T) {
	for _, tt := range []struct {
		name      string
		frames    int // written before the cursor reads
		size      int // bytes of each
		newest    bool
		maxLag    time.Duration
		first     int // that is read
		last      int
		skipped   int64
		jumps     int64
		readAhead int // frames read before the writer continues
	}{
		{name: "from the beginning", frames: 120, size: 1000, first: 0, last: 119},
		{name: "from the newest key frame", frames: 120, size: 1000, newest: true, first: 100, last: 119, skipped: 100},
		{name: "overwritten before the start", frames: 1000, size: 100_000, first: 950, last: 999},
		{name: "overtaken by the writer", frames: 1000, size: 100_000, readAhead: 10, first: 950, last: 999, skipped: 940, jumps: 1},
		{name: "too many small frames", frames: 5000, size: 4, readAhead: 1, first: 4950, last: 4999, skipped: 4949, jumps: 1},
		{name: "too far behind", frames: 320, size: 100, maxLag: 5 * time.Second, readAhead: 10, first: 300, last: 319, skipped: 290, jumps: 1},
		{name: "behind, and that may be", frames: 120, size: 100, maxLag: 5 * time.Second, readAhead: 10, first: 10, last: 119},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &media.Ring{}
			for n := range tt.readAhead {
				r.WriteFrame(numbered(n, tt.size))
			}
			c := r.Cursor(tt.newest)
			c.MaxLag = tt.maxLag
			for n := range tt.readAhead {
				if got := next(t, c); got != n {
					t.Fatalf("frame %d, want %d", got, n)
				}
			}
			for n := tt.readAhead; n < tt.frames; n++ {
				r.WriteFrame(numbered(n, tt.size))
			}
			if tt.readAhead == 0 {
				c = r.Cursor(tt.newest)
			}
			r.Close()
			for want := tt.first; want <= tt.last; want++ {
				if got := next(t, c); got != want {
					t.Fatalf("frame %d, want %d", got, want)
				}
			}
			if _, err := c.ReadFrame(); !errors.Is(err, io.EOF) {
				t.Errorf("behind the last frame: %v, want io.EOF", err)
			}
			skipped, jumps := c.Skipped()
			if jumps != tt.jumps || skipped != tt.skipped {
				t.Errorf("%d frames skipped in %d jumps, want %d in %d", skipped, jumps, tt.skipped, tt.jumps)
			}
			if err := r.WriteFrame(numbered(0, 4)); !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("WriteFrame after Close: %v", err)
			}
		})
	}
}

// A cursor begins with a video that can be decoded, also where audio, which
// is always a key, comes first.
func TestRingBeginsWithKeyPicture(t *testing.T) {
	r := &media.Ring{}
	r.WriteFrame(media.Frame{Track: audio, Key: true, Data: []byte{1}})
	r.WriteFrame(numbered(49, 4))
	r.WriteFrame(numbered(50, 4))
	if got := next(t, r.Cursor(false)); got != 50 {
		t.Errorf("the first frame is %d, want the key frame 50", got)
	}
}

func TestRingFrameTooLarge(t *testing.T) {
	r := &media.Ring{}
	r.WriteFrame(numbered(0, 4))
	r.WriteFrame(numbered(1, 8<<20+1))
	r.WriteFrame(numbered(2, 4))
	c := r.Cursor(false)
	if a, b := next(t, c), next(t, c); a != 0 || b != 2 {
		t.Errorf("frames %d and %d, want 0 and 2", a, b)
	}
}

func TestCursorClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &media.Ring{}
		c := r.Cursor(false)
		var running sync.WaitGroup
		running.Go(func() {
			if _, err := c.ReadFrame(); !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("ReadFrame of a closed cursor: %v, want io.ErrClosedPipe", err)
			}
		})
		synctest.Wait() // it waits for a frame
		c.Close()
		running.Wait()
	})
}

// A writer and readers that are as fast as they can be: what is read is in
// order, whole, and starts again only with key frames.
func TestRingConcurrent(t *testing.T) {
	r := &media.Ring{}
	const frames = 20_000
	var running sync.WaitGroup
	for range 3 {
		c := r.Cursor(false)
		running.Go(func() {
			last := -1
			for {
				f, err := c.ReadFrame()
				if errors.Is(err, io.EOF) {
					return
				}
				n := number(t, f)
				if n <= last || n != last+1 && n%50 != 0 {
					t.Errorf("frame %d follows frame %d", n, last)
				}
				last = n
			}
		})
	}
	for n := range frames {
		r.WriteFrame(numbered(n, 4+n%7000))
	}
	r.Close()
	running.Wait()
}

func BenchmarkRing(b *testing.B) {
	r := &media.Ring{}
	c := r.Cursor(false)
	f := numbered(0, 25_000)
	b.ReportAllocs()
	b.SetBytes(int64(len(f.Data)))
	for b.Loop() {
		r.WriteFrame(f)
		if _, err := c.ReadFrame(); err != nil {
			b.Fatal(err)
		}
	}
}

// Discard ends who waits and who is behind, and nothing comes after it.
func TestRingDiscard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &media.Ring{}
		r.WriteFrame(numbered(0, 100))
		waiting, behind := r.Cursor(false), r.Cursor(false)
		next(t, waiting)
		done := make(chan error)
		go func() {
			_, err := waiting.ReadFrame()
			done <- err
		}()
		synctest.Wait()
		r.Discard()
		if err := <-done; err != io.EOF {
			t.Errorf("who waits gets %v, want EOF", err)
		}
		if _, err := behind.ReadFrame(); err != io.EOF {
			t.Errorf("who is behind gets %v, want EOF", err)
		}
		if err := r.WriteFrame(numbered(1, 100)); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("WriteFrame after Discard = %v", err)
		}
	})
	unused := &media.Ring{}
	unused.Discard()
	if err := unused.WriteFrame(numbered(0, 100)); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("WriteFrame to a Ring that was never used = %v", err)
	}
}
