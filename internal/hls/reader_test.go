package hls_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/media/mediatest"
	"github.com/millrace/millrace/internal/segment"
	"github.com/millrace/millrace/internal/segment/segmenttest"
)

// A Reader gets what players get: each segment once, with the bytes and the
// attributes under which the playlist lists it, up to the end.
func TestReader(t *testing.T) {
	frames := mediatest.Source{Seconds: 20}.Frames(t)
	segmenttest.Kinds(t, func(t *testing.T, s *hls.Stream) {
		p := segmenttest.NewPlayer(t, s)
		type copied struct {
			hls.Segment
			media []byte
		}
		var got []copied
		done := make(chan error, 1)
		go func() {
			for d := p.Source.Rendition().Follow(0); ; {
				g, missed, err := d.Next(t.Context())
				if err != nil || missed != 0 {
					done <- fmt.Errorf("after %d missed: %w", missed, err)
					return
				}
				b, err := io.ReadAll(g.Media())
				if err != nil {
					done <- err
					return
				}
				g.Close()
				got = append(got, copied{*g, b})
			}
		}()
		p.Play(frames)
		p.Close()
		if err := <-done; !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		listed := p.Listed()
		if len(got) != len(listed) || len(got) != 10 {
			t.Fatalf("%d segments were read, %d are listed, want 10", len(got), len(listed))
		}
		for i, g := range got {
			want := listed[i]
			if name := fmt.Sprint(g.Number, p.Extension); name != want.Name || !bytes.Equal(g.media, p.Body(name)) || int64(len(g.media)) != g.Size {
				t.Errorf("segment %d: %s with %d bytes, want %s with %d", i, name, len(g.media), want.Name, len(p.Body(want.Name)))
			}
			if !g.Date.Truncate(time.Millisecond).Equal(want.Date) || (g.Duration-want.Duration).Abs() > 10*time.Microsecond || !g.Independent || g.Discontinuity || g.Gap {
				t.Errorf("segment %d: %+v, want date %v and duration %v", i, g.Segment, want.Date, want.Duration)
			}
			var size int64
			var sum time.Duration
			for _, part := range g.Parts {
				if part.Offset != size {
					t.Errorf("segment %d: part %d begins at %d, want %d", i, part.Number, part.Offset, size)
				}
				size += part.Size
				sum += part.Duration
			}
			if size != g.Size || (sum-g.Duration).Abs() > time.Millisecond {
				t.Errorf("segment %d: parts have %d bytes and last %v, it has %d and lasts %v", i, size, sum, g.Size, g.Duration)
			}
			if s.Container == hls.FMP4 && !bytes.Equal(g.Init.Bytes, p.Body(want.Init)) {
				t.Errorf("segment %d: init segment of %d bytes, want %s", i, len(g.Init.Bytes), want.Init)
			}
		}
	})
}

// One that falls behind learns what it missed, keeps what it holds, and the
// writer does not wait for it.
func TestReaderFallsBehind(t *testing.T) {
	frames := mediatest.Repeat(steady.Frames(t), 10*time.Second, 20)
	s := &hls.Stream{LowLatency: true, Window: 10 * time.Second}
	r := segment.NewLeader(s.AddRendition("source", hls.Listing{}))
	before := segmenttest.OpenFiles(t)
	d := r.Rendition().Follow(1)
	segmenttest.Write(t, r, frames[:200]) // segments 0 to 2
	held, missed, err := d.Next(t.Context())
	if err != nil || missed != 0 || held.Number != 1 {
		t.Fatalf("Next = segment %d, %d, %v", held.Number, missed, err)
	}
	first, err := io.ReadAll(held.Media())
	if err != nil {
		t.Fatal(err)
	}
	segmenttest.Write(t, r, frames[200:]) // without reading: this returns all the same
	if b, err := io.ReadAll(held.Media()); err != nil || !bytes.Equal(b, first) {
		t.Errorf("the segment that is held has %d bytes, %v; had %d", len(b), err, len(first))
	}
	held.Close()
	g, missed, err := d.Next(t.Context())
	if err != nil || missed == 0 || g.Number != 2+missed {
		t.Fatalf("Next = segment %d after %d missed, %v", g.Number, missed, err)
	}
	g.Close()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	s.Release()
	if _, missed, err := d.Next(t.Context()); !errors.Is(err, io.EOF) || missed != 99-g.Number { // of segments 0 to 99
		t.Errorf("at the end: %d missed, %v; want the rest and io.EOF", missed, err)
	}
	if n := segmenttest.OpenFiles(t) - before; n != 0 {
		t.Errorf("%d files are left open", n)
	}
}

// Next waits for a segment, and no longer than its context.
func TestReaderWaits(t *testing.T) {
	frames := steady.Frames(t)
	synctest.Test(t, func(t *testing.T) {
		s := &hls.Stream{}
		defer s.Release()
		r := segment.NewLeader(s.AddRendition("source", hls.Listing{}))
		segmenttest.Write(t, r, frames[:30])
		ctx, leave := context.WithTimeout(t.Context(), time.Minute)
		defer leave()
		if g, _, err := r.Rendition().Follow(0).Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Next = %v, %v", g, err)
		}
		next := make(chan int64)
		go func() {
			g, _, err := r.Rendition().Follow(0).Next(t.Context())
			if err != nil {
				t.Error(err)
			}
			defer g.Close()
			next <- g.Number
		}()
		synctest.Wait()
		segmenttest.Write(t, r, frames[30:61])
		if n := <-next; n != 0 {
			t.Errorf("segment %d, want 0", n)
		}
	})
}
