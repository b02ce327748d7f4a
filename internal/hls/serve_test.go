package hls_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/hls/hlsplayer"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/media/mediatest"
	"github.com/millrace/millrace/internal/segment"
	"github.com/millrace/millrace/internal/segment/segmenttest"
)

// steady is video of 10 s with 2 s from key frame to key frame: nine frames a
// part, seven parts a segment.
var steady = mediatest.Source{NoAudio: true, Seconds: 10}

func request(ctx context.Context, s *hls.Stream, method, path string, header ...string) *httptest.ResponseRecorder {
	req := httptest.NewRequestWithContext(ctx, method, "/source/"+path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	hlsplayer.Handler(s).ServeHTTP(w, req)
	return w
}

// ask makes a request that may wait.
func ask(ctx context.Context, s *hls.Stream, path string) <-chan *httptest.ResponseRecorder {
	c := make(chan *httptest.ResponseRecorder, 1)
	go func() { c <- request(ctx, s, "GET", path) }()
	return c
}

func TestDirectives(t *testing.T) {
	frames := steady.Frames(t)
	// Two and a half segments are there: the last part is part 2 of segment 2.
	tests := []struct {
		query string
		want  int // status; 0 means that it waits
	}{
		{"", 200},
		{"foo=bar&_HLS_report=x", 200},
		{"_HLS_skip=YES", 200},
		{"_HLS_skip=v2", 200},
		{"_HLS_skip=", 400},
		{"_HLS_skip=no", 400},
		{"_HLS_skip=YES&_HLS_skip=YES", 400},
		{"_HLS_msn=0", 200},
		{"_HLS_msn=1", 200},
		{"_HLS_msn=1&_HLS_part=6", 200},
		{"_HLS_msn=1&_HLS_part=7", 200}, // part 0 of segment 2
		{"_HLS_msn=1&_HLS_part=999999999999999999", 200},
		{"_HLS_msn=2", 0},
		{"_HLS_msn=2&_HLS_part=2", 200},
		{"_HLS_msn=2&_HLS_part=3", 0},
		{"_HLS_msn=2&_HLS_part=12", 0},
		{"_HLS_msn=2&_HLS_part=13", 400}, // more than 3 s ahead
		{"_HLS_msn=3", 0},
		{"_HLS_msn=3&_HLS_part=0", 0},
		{"_HLS_msn=3&_HLS_part=10", 400},
		{"_HLS_msn=4", 400}, // the last whole segment is 1
		{"_HLS_msn=999999999999999999", 400},
		{"_HLS_msn=9999999999999999999", 400},
		{"_HLS_part=0", 400},
		{"_HLS_msn=", 400},
		{"_HLS_msn=-1", 400},
		{"_HLS_msn=+1", 400},
		{"_HLS_msn=1.5", 400},
		{"_HLS_msn=0x1", 400},
		{"_HLS_msn=1&_HLS_part=x", 400},
		{"_HLS_msn=1&_HLS_msn=1", 400},
		{"_HLS_msn=1;_HLS_part=1", 400},
		{"_HLS_msn=%zz", 400},
		{"token=a;b", 200},
		{"a=%zz&_HLS_msn=2&_HLS_part=2", 200},
		{"_HLS_msn=2&_HLS_part=2&=&&x", 200},
	}
	for _, tt := range tests {
		t.Run(tt.query, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &hls.Stream{LowLatency: true}
				defer s.Release()
				r := segment.NewLeader(s.AddRendition("source", hls.Listing{}))
				segmenttest.Write(t, r, frames[:60+60+27])
				ctx, leave := context.WithCancel(t.Context())
				defer leave()
				answer := ask(ctx, s, "playlist.m3u8?"+tt.query)
				synctest.Wait()
				got := 0
				select {
				case w := <-answer:
					got = w.Code
				default:
				}
				if got != tt.want {
					t.Errorf("status %d, want %d", got, tt.want)
				}
			})
		})
	}
}

func TestBlockingReload(t *testing.T) {
	frames := steady.Frames(t)
	synctest.Test(t, func(t *testing.T) {
		s := &hls.Stream{LowLatency: true}
		defer s.Release()
		r := segment.NewLeader(s.AddRendition("source", hls.Listing{}))
		first := ask(t.Context(), s, "playlist.m3u8") // nothing is there yet
		segmenttest.Write(t, r, frames[:8])
		synctest.Wait()
		select {
		case <-first:
			t.Fatal("a playlist before the first part")
		default:
		}
		segmenttest.Write(t, r, frames[8:9])
		if w := <-first; w.Code != 200 || !strings.Contains(w.Body.String(), `"p0.ts"`) {
			t.Errorf("first playlist: %d\n%s", w.Code, w.Body)
		}
		part1 := ask(t.Context(), s, "playlist.m3u8?_HLS_msn=0&_HLS_part=1")
		whole := ask(t.Context(), s, "playlist.m3u8?_HLS_msn=0")
		hinted := ask(t.Context(), s, "p1.ts")
		segment := ask(t.Context(), s, "0.ts")
		synctest.Wait()
		segmenttest.Write(t, r, frames[9:18])
		if w := <-part1; !strings.Contains(w.Body.String(), `"p1.ts"`) || strings.Contains(w.Body.String(), "EXTINF") {
			t.Errorf("playlist of part 1:\n%s", w.Body)
		}
		if w := <-hinted; w.Code != 200 || w.Body.Len() == 0 || w.Body.Len()%188 != 0 {
			t.Errorf("hinted part: %d, %d bytes", w.Code, w.Body.Len())
		}
		segmenttest.Write(t, r, frames[18:60])
		synctest.Wait()
		select {
		case <-whole:
			t.Fatal("a whole segment before its next key frame")
		default:
		}
		segmenttest.Write(t, r, frames[60:61])
		if w := <-whole; !strings.Contains(w.Body.String(), "\n0.ts\n") {
			t.Errorf("playlist of segment 0:\n%s", w.Body)
		}
		if w := <-segment; w.Code != 200 || w.Body.Len() == 0 {
			t.Errorf("segment 0: %d, %d bytes", w.Code, w.Body.Len())
		}
	})
}

// A part can be had when its last frame has come, not when the next part
// begins.
func TestPartsCloseAtOnce(t *testing.T) {
	frames := steady.Frames(t)
	s := &hls.Stream{LowLatency: true}
	defer s.Release()
	r := segment.NewLeader(s.AddRendition("source", hls.Listing{}))
	for i, f := range frames[:240] {
		segmenttest.Write(t, r, []media.Frame{f})
		// After two groups of 60 the third's end is expected.
		want := int64(i/60*7 + (i%60+1)/9)
		if i%60 == 59 && i > 120 {
			want++
		}
		if i/60 > 0 && i%60 < 8 && i/60 <= 2 {
			continue // an unexpected key frame closes the short part before it
		}
		if got := r.Rendition().Stats().Parts; got != want {
			t.Fatalf("after frame %d: %d parts, want %d", i, got, want)
		}
	}
}

// waitingFor is the next part of the stream of testWaiting.
const waitingFor = "playlist.m3u8?_HLS_msn=0&_HLS_part=1"

// testWaiting runs test in virtual time, with a stream that has begun and in which
// three requests may wait.
func testWaiting(t *testing.T, test func(*testing.T, *hls.Stream, *segment.Leader)) {
	frames := steady.Frames(t)[:9] // ffmpeg's time is real
	synctest.Test(t, func(t *testing.T) {
		s := &hls.Stream{LowLatency: true, MaxWaiting: 3, TargetDuration: 4 * time.Second}
		t.Cleanup(s.Release) // what the garbage collector closes, it closes while another test counts files
		r := segment.NewLeader(s.AddRendition("source", hls.Listing{}))
		segmenttest.Write(t, r, frames)
		test(t, s, r)
	})
}

// A player that waits in vain gets an answer after three target durations.
func TestWaitTimesOut(t *testing.T) {
	testWaiting(t, func(t *testing.T, s *hls.Stream, _ *segment.Leader) {
		began := time.Now()
		w := request(t.Context(), s, "GET", waitingFor)
		if got := time.Since(began); w.Code != 503 || got != 12*time.Second {
			t.Errorf("status %d after %v, want 503 after three target durations", w.Code, got)
		}
	})
}

// A player that leaves does not wait any longer.
func TestWaitingPlayerLeaves(t *testing.T) {
	testWaiting(t, func(t *testing.T, s *hls.Stream, _ *segment.Leader) {
		ctx, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		began := time.Now()
		request(ctx, s, "GET", waitingFor)
		if got := time.Since(began); got != time.Second {
			t.Errorf("the wait ended after %v", got)
		}
	})
}

// Only so many requests wait at a time.
func TestTooManyWait(t *testing.T) {
	testWaiting(t, func(t *testing.T, s *hls.Stream, r *segment.Leader) {
		waiting := []<-chan *httptest.ResponseRecorder{ask(t.Context(), s, waitingFor), ask(t.Context(), s, "p1.ts"), ask(t.Context(), s, "0.ts")}
		synctest.Wait()
		if w := request(t.Context(), s, "GET", waitingFor); w.Code != 503 || w.Header().Get("Retry-After") == "" {
			t.Errorf("fourth request: status %d, want 503", w.Code)
		}
		if w := request(t.Context(), s, "GET", "p0.ts"); w.Code != 200 {
			t.Errorf("what need not wait: status %d, want 200", w.Code)
		}
		r.Close()
		for _, c := range waiting {
			<-c
		}
	})
}

// The end of the broadcast answers all that wait.
func TestBroadcastEndsWait(t *testing.T) {
	late := steady.Frames(t)[9]
	testWaiting(t, func(t *testing.T, s *hls.Stream, r *segment.Leader) {
		playlist, part, segment := ask(t.Context(), s, "playlist.m3u8?_HLS_msn=1"), ask(t.Context(), s, "p1.ts"), ask(t.Context(), s, "0.ts")
		synctest.Wait()
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if w := <-playlist; w.Code != 200 || !strings.HasSuffix(w.Body.String(), "0.ts\n#EXT-X-ENDLIST\n") {
			t.Errorf("playlist: %d\n%s", w.Code, w.Body)
		}
		if w := <-part; w.Code != 404 {
			t.Errorf("part that never came: %d, want 404", w.Code)
		}
		if w := <-segment; w.Code != 200 {
			t.Errorf("last segment: %d, want 200", w.Code)
		}
		if err := r.WriteFrame(late); err != hls.ErrClosed {
			t.Errorf("frame after Close: %v", err)
		}
	})
}

// What has been released answers all that wait, and is gone.
func TestReleaseEndsWait(t *testing.T) {
	testWaiting(t, func(t *testing.T, s *hls.Stream, r *segment.Leader) {
		playlist := ask(t.Context(), s, waitingFor)
		synctest.Wait()
		r.Close()
		s.Release()
		<-playlist
		for _, name := range []string{"playlist.m3u8", "p0.ts", "0.ts"} {
			if w := request(t.Context(), s, "GET", name); w.Code != 404 {
				t.Errorf("%s: status %d, want 404", name, w.Code)
			}
		}
		if s.Multivariant("") != nil {
			t.Error("a multivariant playlist without media")
		}
	})
}

// A blocking request waits until the playlist has the position that it names, or
// a later one (rfc8216bis, 6.2.5.2): for a position in the past that is now, and
// the answer is the playlist as it is. A player that counts its position from its
// last playlist, as video.js does, would never get ahead otherwise.
//
// Shared caches keep an answer for six target durations (appendix B.1) where the
// playlist ends at the position asked for: all who wait for it get the same. An
// answer to a request for the past would become wrong while they keep it.
func TestAnswersToBlockingRequests(t *testing.T) {
	frames := mediatest.Source{NoAudio: true, Seconds: 20}.Frames(t)
	s := &hls.Stream{LowLatency: true}
	defer s.Release()
	r := segment.NewLeader(s.AddRendition("source", hls.Listing{}))
	kept, newest := map[string]string{}, ""
	for i, f := range frames {
		segmenttest.Write(t, r, []media.Frame{f})
		if i < 60 {
			continue
		}
		newest = request(t.Context(), s, "GET", "playlist.m3u8").Body.String()
		for msn := range int64(11) {
			for part := -1; part < 7; part++ {
				q := fmt.Sprint("playlist.m3u8?_HLS_msn=", msn)
				if part >= 0 {
					q += fmt.Sprint("&_HLS_part=", part)
				}
				gone, leave := context.WithCancel(t.Context())
				leave() // who has to wait has gone already
				w := request(gone, s, "GET", q)
				if w.Body.Len() == 0 || w.Code != 200 {
					continue
				}
				if got := w.Body.String(); got != newest {
					t.Fatalf("%s after frame %d: got\n%s\nwant the newest\n%s", q, i, got, newest)
				}
				switch age := w.Header().Get("Cache-Control"); age {
				case "max-age=0, s-maxage=12":
					if old, ok := kept[q]; ok && old != newest {
						t.Fatalf("%s after frame %d: a shared cache may hold\n%s\nand got\n%s", q, i, old, newest)
					}
					kept[q] = newest
				case "max-age=0, s-maxage=1":
				default:
					t.Fatalf("%s after frame %d: Cache-Control %q", q, i, age)
				}
			}
		}
	}
	// Each part and each segment was the newest thing once.
	if n := len(kept); n < 60 {
		t.Errorf("%d answers may be kept for long", n)
	}
}

// Who has no use for parts gets a playlist without, whatever the stream has.
func TestPartsOff(t *testing.T) {
	s := &hls.Stream{LowLatency: true}
	defer s.Release()
	r := segment.NewLeader(s.AddRendition("source", hls.Listing{}))
	segmenttest.Write(t, r, steady.Frames(t)[:100])
	w := request(t.Context(), s, "GET", "playlist.m3u8?parts=off&_HLS_msn=99")
	list := w.Body.String()
	if w.Code != 200 || strings.Contains(list, "PART") || strings.Contains(list, "SERVER-CONTROL") || !strings.HasSuffix(list, "\n0.ts\n") || w.Header().Get("Cache-Control") != "max-age=1" {
		t.Errorf("%d %v\n%s", w.Code, w.Header(), list)
	}
	if list := string(s.Select("x/", hls.Selection{Plain: true})); !strings.HasSuffix(list, "\nx/source/playlist.m3u8?parts=off\n") {
		t.Errorf("the multivariant playlist is\n%s", list)
	}
	if list := request(t.Context(), s, "GET", "playlist.m3u8").Body.String(); !strings.Contains(list, "#EXT-X-PART:") {
		t.Errorf("others get\n%s", list)
	}
}

// However many requests one viewer or one network lets wait, others may too.
func TestWaitingIsShared(t *testing.T) {
	frames := steady.Frames(t)
	synctest.Test(t, func(t *testing.T) {
		s := &hls.Stream{LowLatency: true, MaxWaiting: 1000}
		defer s.Release()
		r := segment.NewLeader(s.AddRendition("source", hls.Listing{}))
		segmenttest.Write(t, r, frames[:9])
		ctx, leave := context.WithCancel(t.Context())
		defer leave()
		// refused lets n requests wait, and returns how many must not.
		refused := func(n int, session uint64, address string) (refused int) {
			answers := make(chan int, n)
			for range n {
				go func() {
					req := httptest.NewRequestWithContext(ctx, "GET", "/source/p1.ts", nil)
					req.RemoteAddr = address
					w := httptest.NewRecorder()
					s.Serve(w, req, strings.TrimPrefix(req.URL.Path, "/"), session)
					answers <- w.Code
				}()
			}
			synctest.Wait()
			for len(answers) > 0 {
				if code := <-answers; code != 503 {
					t.Errorf("status %d, want 503", code)
				}
				refused++
			}
			return refused
		}
		if n := refused(20, 1, "192.0.2.1:1"); n != 12 {
			t.Errorf("%d of 20 requests of one viewer were refused, want 12", n)
		}
		if n := refused(2000, 0, "192.0.2.2:1"); n < 1000 || n > 1600 {
			t.Errorf("%d of 2000 requests of one network were refused; it may have about half of 1000", n)
		}
		for i := range 30 { // the same one, by other addresses of its
			refused(200, 0, fmt.Sprintf("[2001:db8::%x]:1", i+1))
		}
		for i := range 50 { // others
			if n := refused(2, uint64(i+2), fmt.Sprintf("198.51.100.%d:1", i)); n != 0 {
				t.Fatalf("viewer %d may not wait beside them", i)
			}
		}
		if n := hls.Waiting(s); n > 1000 {
			t.Errorf("%d requests wait, 1000 may", n)
		}
		leave()
		synctest.Wait()
		if n := hls.Waiting(s); n != 0 {
			t.Errorf("%d requests wait when all have gone", n)
		}
	})
}

func TestNames(t *testing.T) {
	frames := steady.Frames(t)
	for _, c := range []hls.Container{hls.TS, hls.FMP4} {
		s := &hls.Stream{LowLatency: true, Container: c}
		defer s.Release()
		r := segment.NewLeader(s.AddRendition("source", hls.Listing{}))
		segmenttest.Write(t, r, frames[:100])
		r.Close()
		tests := map[string]int{
			"playlist.m3u8": 200, "p0.ts": 200, "p10.ts": 200, "0.ts": 200, "1.ts": 200,
			"": 404, "x": 404, "p.ts": 404, "p00.ts": 404, "p-1.ts": 404, "p+1.ts": 404, "p1": 404, "p999.ts": 404, "2.ts": 404,
			"00.ts": 404, ".ts": 404, "p1.m4s": 404, "0.m4s": 404, "init-0.mp4": 404, "99999999999999999999.ts": 404,
			"../source/0.ts": 404, "playlist.m3u8/": 404, "0.ts/": 404,
		}
		for name, want := range tests {
			if c == hls.FMP4 {
				switch {
				case strings.HasSuffix(name, ".ts"):
					name = strings.TrimSuffix(name, ".ts") + ".m4s"
				case strings.HasSuffix(name, ".m4s"):
					name = strings.TrimSuffix(name, ".m4s") + ".ts"
				case name == "init-0.mp4":
					want = 200
				}
			}
			w := request(t.Context(), s, "GET", name)
			if w.Code != want {
				t.Errorf("%s: status %d, want %d", name, w.Code, want)
			}
			if want == 404 && w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("%s: Cache-Control %q", name, w.Header().Get("Cache-Control"))
			}
		}
	}
}

func TestHTTP(t *testing.T) {
	frames := steady.Frames(t)
	s := &hls.Stream{LowLatency: true}
	defer s.Release()
	segmenttest.Write(t, segment.NewLeader(s.AddRendition("source", hls.Listing{})), frames)

	t.Run("gzip", func(t *testing.T) {
		plain := request(t.Context(), s, "GET", "playlist.m3u8", "Accept-Encoding", "br, gzip;q=0, identity")
		zipped := request(t.Context(), s, "GET", "playlist.m3u8", "Accept-Encoding", "br;q=1.0, gzip;q=0.8, *;q=0.1")
		z, err := gzip.NewReader(zipped.Body)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(z)
		if err != nil || !bytes.Equal(got, plain.Body.Bytes()) {
			t.Errorf("gzip: %v: %d bytes, want %d", err, len(got), plain.Body.Len())
		}
		if plain.Header().Get("Content-Encoding") != "" || plain.Header().Get("Vary") != "Accept-Encoding" {
			t.Errorf("headers without gzip: %v", plain.Header())
		}
	})
	t.Run("HEAD", func(t *testing.T) {
		for _, name := range []string{"playlist.m3u8", "p0.ts", "0.ts"} {
			get, head := request(t.Context(), s, "GET", name), request(t.Context(), s, "HEAD", name)
			if head.Code != 200 || head.Body.Len() != 0 || head.Header().Get("Content-Length") != fmt.Sprint(get.Body.Len()) {
				t.Errorf("%s: %d, %d bytes, %v; GET has %d bytes", name, head.Code, head.Body.Len(), head.Header(), get.Body.Len())
			}
		}
	})
	t.Run("range", func(t *testing.T) {
		whole := request(t.Context(), s, "GET", "p1.ts").Body.Bytes()
		w := request(t.Context(), s, "GET", "p1.ts", "Range", "bytes=188-375")
		if w.Code != 206 || !bytes.Equal(w.Body.Bytes(), whole[188:376]) || w.Header().Get("Content-Type") != "video/mp2t" {
			t.Errorf("range: %d, %d bytes, %v", w.Code, w.Body.Len(), w.Header())
		}
	})
	t.Run("methods", func(t *testing.T) {
		if w := request(t.Context(), s, "OPTIONS", "p1.ts", "Origin", "https://a.example"); w.Code != 204 || w.Header().Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("OPTIONS: %d %v", w.Code, w.Header())
		}
		w := httptest.NewRecorder()
		if access := hls.CrossOrigin(w, httptest.NewRequest("POST", "/source/p1.ts", nil), ""); access != hls.NotAllowed || w.Header().Get("Allow") != "GET, HEAD, OPTIONS" {
			t.Errorf("POST: %d %v", access, w.Header())
		}
	})
	t.Run("other rendition", func(t *testing.T) {
		if w := hlsplayer.Get(t.Context(), s, "/none/playlist.m3u8"); w.Code != 404 {
			t.Errorf("status %d", w.Code)
		}
	})
}

func TestReady(t *testing.T) {
	frames := steady.Frames(t)
	isReady := func(s *hls.Stream) bool {
		select {
		case <-s.Ready():
			return true
		default:
			return false
		}
	}
	for low, count := range map[bool]int{true: 9, false: 61} {
		s := &hls.Stream{LowLatency: low}
		defer s.Release()
		r := segment.NewLeader(s.AddRendition("source", hls.Listing{}))
		segmenttest.Write(t, r, frames[:count-1])
		if isReady(s) || s.Multivariant("") != nil {
			t.Errorf("low latency %v: ready after %d frames", low, count-1)
		}
		segmenttest.Write(t, r, frames[count-1:count])
		if !isReady(s) {
			t.Errorf("low latency %v: not ready after %d frames", low, count)
		}
		want := "x/source/playlist.m3u8\n"
		if got := string(s.Multivariant("x/")); !strings.HasSuffix(got, want) {
			t.Errorf("multivariant playlist:\n%s", got)
		}
	}
}

// The target duration is that of the first segment, unless a player could not
// wait for it.
func TestTargetDuration(t *testing.T) {
	frames := mediatest.Source{GOP: 210, NoAudio: true, Seconds: 10}.Frames(t)
	tests := []struct {
		stream *hls.Stream
		early  string // a request when the first part is there
		want   string
	}{
		{&hls.Stream{LowLatency: true}, "", "7"},
		{&hls.Stream{LowLatency: true}, "playlist.m3u8", "4"}, // x264 says that it is more
		{&hls.Stream{LowLatency: true, TargetDuration: 5 * time.Second}, "", "5"},
		{&hls.Stream{}, "", "6"},
		{&hls.Stream{TargetDuration: 2 * time.Second}, "", "2"},
	}
	for _, tt := range tests {
		s := tt.stream
		r := segment.NewLeader(s.AddRendition("source", hls.Listing{}))
		segmenttest.Write(t, r, frames[:9])
		if tt.early != "" {
			if list := request(t.Context(), s, "GET", tt.early).Body.String(); !strings.Contains(list, "#EXT-X-TARGETDURATION:"+tt.want+"\n") {
				t.Errorf("early, want %s:\n%s", tt.want, list)
			}
		}
		segmenttest.Write(t, r, frames[9:])
		if list := request(t.Context(), s, "GET", "playlist.m3u8").Body.String(); !strings.Contains(list, "#EXT-X-TARGETDURATION:"+tt.want+"\n") {
			t.Errorf("want %s:\n%s", tt.want, list)
		}
		s.Release()
	}
}

// Whatever is asked of a stream that is on the air, or has ended, the answer is
// one of HTTP's. Who has to wait has gone already.
func FuzzServe(f *testing.F) {
	var streams []*hls.Stream
	for _, ended := range []bool{false, true} {
		s := &hls.Stream{LowLatency: true}
		r := segment.NewLeader(s.AddRendition("source", hls.Listing{}))
		segmenttest.Write(f, r, steady.Frames(f))
		if ended {
			if err := r.Close(); err != nil {
				f.Fatal(err)
			}
		}
		streams = append(streams, s)
	}
	gone, leave := context.WithCancel(context.Background())
	leave()
	for _, path := range []string{
		"/source/playlist.m3u8?_HLS_msn=1&_HLS_part=2&_HLS_skip=YES", "/source/p1.ts", "/source/1.ts?x", "/source/init-0.mp4",
		"/source/playlist.m3u8?_HLS_msn=18446744073709551616", "//", "/source/p9223372036854775807.ts",
		"/source/playlist.m3u8?_HLS_msn=2&_HLS_part=0", "/source/playlist.m3u8?_HLS_part=0", "/source/playlist.m3u8?_HLS_msn=1&_HLS_msn=1", "/source/playlist.m3u8?_HLS_skip=v2",
	} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		req, err := http.NewRequestWithContext(gone, "GET", path, nil)
		if err != nil {
			return
		}
		for _, s := range streams {
			w := httptest.NewRecorder()
			hlsplayer.Handler(s).ServeHTTP(w, req)
			if w.Code != 200 && w.Code != 400 && w.Code != 404 {
				t.Errorf("%q: status %d", path, w.Code)
			}
			if n := hls.Waiting(s); n != 0 {
				t.Fatalf("%q: %d requests are waiting, and none was sent", path, n)
			}
		}
	})
}
