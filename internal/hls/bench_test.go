package hls_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/hls/hlsplayer"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/media/mediatest"
	"github.com/millrace/millrace/internal/segment"
)

// A loop yields the frames of a broadcast over and over, as one that continues.
type loop struct {
	frames []media.Frame
	length time.Duration
	i      int
	round  time.Duration
}

func newLoop(b *testing.B) *loop {
	frames := mediatest.Source{Seconds: 10, Size: "854x480", X264: ":bitrate=1136:vbv-maxrate=1136:vbv-bufsize=1136:nal-hrd=cbr"}.Frames(b)
	return &loop{frames: frames, length: 10 * time.Second}
}

func (e *loop) next() media.Frame {
	if e.i == len(e.frames) {
		e.i = 0
		e.round += e.length
	}
	f := e.frames[e.i]
	e.i++
	f.DTS += e.round
	f.PTS += e.round
	return f
}

// BenchmarkWriteFrame is a frame of a broadcast of 1.2 Mbit/s, audio or video,
// with its share of closed parts and segments. 77 frames are a second.
func BenchmarkWriteFrame(b *testing.B) {
	for name, c := range map[string]hls.Container{"TS": hls.TS, "FMP4": hls.FMP4} {
		b.Run(name, func(b *testing.B) {
			s := &hls.Stream{Container: c, LowLatency: true}
			defer s.Release()
			r, e := segment.NewLeader(s.AddRendition("source", hls.Listing{})), newLoop(b)
			bytes := 0
			b.ReportAllocs()
			for b.Loop() {
				f := e.next()
				bytes += len(f.Data)
				if err := r.WriteFrame(f); err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(int64(bytes / b.N))
		})
	}
}

// discard is a ResponseWriter to nowhere.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(int)             {}

// fullWindow is a stream that has been on the air for a minute.
func fullWindow(b *testing.B) (*hls.Stream, *segment.Leader, *loop) {
	s := &hls.Stream{LowLatency: true}
	b.Cleanup(s.Release)
	r, e := segment.NewLeader(s.AddRendition("source", hls.Listing{})), newLoop(b)
	for range 77 * 60 {
		if err := r.WriteFrame(e.next()); err != nil {
			b.Fatal(err)
		}
	}
	return s, r, e
}

// BenchmarkPlaylist is a part's worth of frames and the first answer of a new
// playlist: rendered, and compressed.
func BenchmarkPlaylist(b *testing.B) {
	for _, coding := range []string{"identity", "gzip"} {
		b.Run(coding, func(b *testing.B) {
			s, r, e := fullWindow(b)
			h := hlsplayer.Handler(s)
			req := httptest.NewRequest("GET", "/source/playlist.m3u8", nil)
			req.Header.Set("Accept-Encoding", coding)
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				for parts := r.Rendition().Stats().Parts; r.Rendition().Stats().Parts == parts; {
					r.WriteFrame(e.next())
				}
				b.StartTimer()
				h.ServeHTTP(&discard{http.Header{}}, req)
			}
		})
	}
}

// BenchmarkAnswer is one more player that asks for what others have had.
func BenchmarkAnswer(b *testing.B) {
	s, _, _ := fullWindow(b)
	h := hlsplayer.Handler(s)
	for _, path := range []string{"playlist.m3u8", "p190.ts"} {
		b.Run(path, func(b *testing.B) {
			req := httptest.NewRequest("GET", "/source/"+path, nil)
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(&discard{http.Header{}}, req)
			}
		})
	}
}

// BenchmarkWaiters is a part that 2,000 players wait for: from the frame that
// fills it until all have been answered. They ask for its header only: what
// copying its bytes costs is another matter.
func BenchmarkWaiters(b *testing.B) {
	const players = 2000
	s, r, e := fullWindow(b)
	h := hlsplayer.Handler(s)
	var wg sync.WaitGroup
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		parts := r.Rendition().Stats().Parts
		path := fmt.Sprint("/source/p", parts, ".ts")
		for range players {
			req := httptest.NewRequest("HEAD", path, nil)
			wg.Go(func() { h.ServeHTTP(&discard{http.Header{}}, req) })
		}
		for hls.Waiting(s) < players {
			runtime.Gosched()
		}
		b.StartTimer()
		for r.Rendition().Stats().Parts == parts {
			r.WriteFrame(e.next())
		}
		wg.Wait()
	}
}
