package hls_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/hls/hlsplayer"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/media/mediatest"
	"github.com/millrace/millrace/internal/segment"
	"github.com/millrace/millrace/internal/segment/segmenttest"
)

// A broadcast of two minutes: what is listed, for how long the rest can be had.
func TestWindow(t *testing.T) {
	segmenttest.Kinds(t, func(t *testing.T, s *hls.Stream) {
		p := segmenttest.NewPlayer(t, s)
		p.Play(mediatest.Repeat(steady.Frames(t), 10*time.Second, 12))
		list := p.Get(t.Context(), "playlist.m3u8").Body.String()
		p.Report(t, "")
		if n := strings.Count(list, "#EXTINF"); n < 8 || n > 9 {
			t.Errorf("%d segments of 2 s are listed in a window of 16 s:\n%s", n, list)
		}
		var first int64
		_, after, _ := strings.Cut(list, "#EXT-X-MEDIA-SEQUENCE:")
		fmt.Sscan(after, &first)
		// It stays for as long as it lasts itself and the longest playlist that had it.
		const spare = (2 + 16) / 2
		for msn := first - spare - 2; msn <= first; msn++ {
			want := 200
			switch {
			case msn < first-spare-1:
				want = 404
			case msn < first-spare:
				continue // a segment is a little longer than 2 s
			}
			if got := p.Get(t.Context(), fmt.Sprint(msn, p.Extension)).Code; got != want {
				t.Errorf("segment %d, when %d is the first listed: status %d, want %d", msn, first, got, want)
			}
		}
	})
}

// Delta updates leave out what lies beyond six target durations.
func TestSkip(t *testing.T) {
	p := segmenttest.NewPlayer(t, &hls.Stream{LowLatency: true, Window: time.Minute})
	p.Play(mediatest.Repeat(steady.Frames(t), 10*time.Second, 10))
	delta := p.Get(t.Context(), "playlist.m3u8?_HLS_skip=YES").Body.String()
	p.Report(t, "")
	if !strings.Contains(delta, "#EXT-X-SKIP:SKIPPED-SEGMENTS=2") { // 23 or 24 of 30
		t.Errorf("delta update:\n%s", delta)
	}
}

func TestMaxBytes(t *testing.T) {
	p := segmenttest.NewPlayer(t, &hls.Stream{MaxBytes: 400_000})
	frames := mediatest.Repeat(steady.Frames(t), 10*time.Second, 6)
	total := 0
	for _, f := range frames {
		total += len(f.Data)
	}
	p.Play(frames)
	p.Report(t, "window") // memory is dearer
	have := 0
	for msn := range p.Source.Rendition().Stats().Segments {
		if w := p.Get(t.Context(), fmt.Sprint(msn, ".ts")); w.Code == 200 {
			have += w.Body.Len()
		}
	}
	if total < 800_000 || have > 400_000 || have < 200_000 {
		t.Errorf("of %d bytes of frames, %d can be had; at most 400000 may", total, have)
	}
}

// A stream keeps no more files and bytes than its share, which may become smaller.
func TestShare(t *testing.T) {
	files, bytes := int64(30), int64(1<<30)
	s := &hls.Stream{Share: func() (int64, int64) { return files, bytes }}
	before := segmenttest.OpenFiles(t)
	p := segmenttest.NewPlayer(t, s)
	frames := mediatest.Repeat(steady.Frames(t), 10*time.Second, 8)
	p.Play(frames[:len(frames)/2])
	full := segmenttest.OpenFiles(t) - before
	files = int64(full) - 4
	p.Play(frames[len(frames)/2 : len(frames)*3/4])
	if n := segmenttest.OpenFiles(t) - before; full < 12 || n > full-4 || n < full-6 {
		t.Errorf("%d files are open, and %d were before %d were allowed", n, full, files)
	}
	_, whole := hls.MemoryFiles()
	bytes = whole / 2
	p.Play(frames[len(frames)*3/4:])
	if _, now := hls.MemoryFiles(); now > bytes*5/4 || now < bytes/2 {
		t.Errorf("%d bytes are in memory, and %d were before %d were allowed", now, whole, bytes)
	}
	p.Close()
	p.Report(t, "window")
}

// An encoder that changes its parameters with each frame makes a segment of
// each: they do not take all descriptors.
func TestShortSegments(t *testing.T) {
	s := &hls.Stream{LowLatency: true}
	r := segment.NewLeader(s.AddRendition("source", hls.Listing{}))
	before := segmenttest.OpenFiles(t)
	key := steady.Frames(t)[0]
	one, other := key.Track, mediatest.Source{NoAudio: true, Seconds: 1, Size: "64x36"}.Frames(t)[0].Track
	for i := range 2000 {
		f := key
		f.Track = []*media.Track{one, other}[i%2]
		f.DTS += time.Duration(i) * 4 * time.Millisecond
		f.PTS += time.Duration(i) * 4 * time.Millisecond
		segmenttest.Write(t, r, []media.Frame{f})
	}
	if n := segmenttest.OpenFiles(t) - before; n < 50 || n > 170 {
		t.Errorf("%d files are open", n)
	}
	s.Release()
	if n := segmenttest.OpenFiles(t) - before; n != 0 {
		t.Errorf("%d files are left open", n)
	}
}

// Segments that left the window are closed; one that is being read is not,
// until its reader is done.
func TestFilesAreClosed(t *testing.T) {
	s := &hls.Stream{LowLatency: true, Window: 10 * time.Second}
	r := segment.NewLeader(s.AddRendition("source", hls.Listing{}))
	frames := steady.Frames(t)
	before := segmenttest.OpenFiles(t)
	segmenttest.Write(t, r, frames)
	reading := &slowWriter{ResponseWriter: httptest.NewRecorder(), begun: make(chan bool), more: make(chan bool)}
	done := make(chan bool)
	go func() {
		hlsplayer.Handler(s).ServeHTTP(reading, httptest.NewRequest("GET", "/source/0.ts", nil))
		close(done)
	}()
	<-reading.begun
	segmenttest.Write(t, r, mediatest.Shift(mediatest.Repeat(frames, 10*time.Second, 5), 10*time.Second))
	if n := segmenttest.OpenFiles(t) - before; n < 12 || n > 16 {
		t.Errorf("%d files are open for a window of 5 segments, at least 6, and what is spare", n)
	}
	s.Release()
	if n := segmenttest.OpenFiles(t) - before; n != 1 {
		t.Errorf("%d files are open while one is read", n)
	}
	close(reading.more)
	<-done
	if n := segmenttest.OpenFiles(t) - before; n != 0 {
		t.Errorf("%d files are left open", n)
	}
}

// The media of a part that came too late, as the stream ended while it was
// written, is not kept: it would count against all other streams.
func TestPartOfEndedStreamIsReleased(t *testing.T) {
	before := segmenttest.OpenFiles(t)
	filesBefore, bytesBefore := hls.MemoryFiles()
	s := &hls.Stream{}
	r := s.AddRendition("source", hls.Listing{})
	added := make(chan error, 1)
	go func() {
		added <- r.AddPart(hls.Head{Init: &hls.Init{}}, hls.Part{}, hls.Details{}, make([]byte, 16<<20))
	}()
	for segmenttest.OpenFiles(t) == before && len(added) == 0 { // until it is being written
	}
	s.Release()
	if err := <-added; err != nil && !errors.Is(err, hls.ErrClosed) {
		t.Error(err)
	}
	files, bytes := hls.MemoryFiles()
	if n := segmenttest.OpenFiles(t) - before; n != 0 || files != filesBefore || bytes != bytesBefore {
		t.Errorf("%d files are left open; %d files and %d bytes count as media in memory", n, files-filesBefore, bytes-bytesBefore)
	}
}

// A slowWriter takes nothing until it is told to.
type slowWriter struct {
	http.ResponseWriter
	once        sync.Once
	begun, more chan bool
}

func (w *slowWriter) Write(b []byte) (int, error) {
	w.once.Do(func() { close(w.begun) })
	<-w.more
	return w.ResponseWriter.Write(b)
}

func TestRenditions(t *testing.T) {
	s := &hls.Stream{LowLatency: true}
	defer s.Release()
	frames := steady.Frames(t)
	source, low, twin, silent := segment.NewLeader(s.AddRendition("source", hls.Listing{})), segment.NewLeader(s.AddRendition("low", hls.Listing{})), segment.NewLeader(s.AddRendition("twin", hls.Listing{})), segment.NewLeader(s.AddRendition("silent", hls.Listing{}))
	segmenttest.Write(t, source, frames[:100])
	segmenttest.Write(t, low, mediatest.Source{FrameRate: "60", GOP: 120, Size: "64x36", NoAudio: true, Seconds: 2}.Frames(t))
	segmenttest.Write(t, twin, frames[:9])
	if err := silent.Close(); err != nil {
		t.Fatal(err)
	}
	list := request(t.Context(), s, "GET", "playlist.m3u8").Body.String()
	for _, want := range []string{
		"#EXT-X-RENDITION-REPORT:URI=\"../low/playlist.m3u8\",LAST-MSN=0,LAST-PART=5\n",
		"#EXT-X-RENDITION-REPORT:URI=\"../twin/playlist.m3u8\",LAST-MSN=0,LAST-PART=0\n",
	} {
		if !strings.Contains(list, want) {
			t.Errorf("no %s in\n%s", want, list)
		}
	}
	if n := strings.Count(list, "RENDITION-REPORT"); n != 2 {
		t.Errorf("%d reports, want 2", n)
	}
	multivariant := string(s.Multivariant("a/b/"))
	for _, want := range []string{
		"#EXT-X-MEDIA:TYPE=VIDEO,GROUP-ID=\"90p30\",NAME=\"90p\",AUTOSELECT=YES,DEFAULT=YES\n",
		"#EXT-X-MEDIA:TYPE=VIDEO,GROUP-ID=\"36p60\",NAME=\"36p60\",AUTOSELECT=YES,DEFAULT=YES\n",
		"#EXT-X-MEDIA:TYPE=VIDEO,GROUP-ID=\"90p30-twin\",NAME=\"90p twin\",AUTOSELECT=YES,DEFAULT=YES\n",
		",RESOLUTION=64x36,FRAME-RATE=60.000,VIDEO=\"36p60\",CLOSED-CAPTIONS=NONE\na/b/low/playlist.m3u8\n",
	} {
		if !strings.Contains(multivariant, want) {
			t.Errorf("no %s in\n%s", want, multivariant)
		}
	}
	if strings.Contains(multivariant, "silent") {
		t.Errorf("a rendition without media is listed:\n%s", multivariant)
	}
}

// One publisher and many viewers at once, for the race detector.
func TestTogether(t *testing.T) {
	frames := mediatest.Repeat(steady.Frames(t), 10*time.Second, 4)
	segmenttest.Kinds(t, func(t *testing.T, s *hls.Stream) {
		r := segment.NewLeader(s.AddRendition("source", hls.Listing{}))
		var viewers sync.WaitGroup
		for range 8 {
			viewers.Go(func() {
				<-s.Ready()
				for msn := 0; ; msn++ {
					list := request(t.Context(), s, "GET", fmt.Sprint("playlist.m3u8?_HLS_skip=YES&_HLS_msn=", msn)).Body.String()
					request(t.Context(), s, "GET", fmt.Sprint(msn, ".ts"))
					request(t.Context(), s, "GET", fmt.Sprint("p", msn, ".m4s"))
					s.Multivariant("")
					if strings.Contains(list, "#EXT-X-ENDLIST") || list == "" {
						return
					}
				}
			})
		}
		segmenttest.Write(t, r, frames)
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		viewers.Wait()
		s.Release()
	})
}

// ffmpeg's HLS reader plays a broadcast over HTTP, from the multivariant
// playlist on.
func TestForeignReader(t *testing.T) {
	if testing.Short() {
		t.Skip("starts ffprobe, which decodes")
	}
	frames := mediatest.Source{BFrames: 2, Seconds: 20}.Frames(t)
	segmenttest.Kinds(t, func(t *testing.T, s *hls.Stream) {
		defer s.Release()
		s.Window = time.Minute // all of it is listed
		r := segment.NewLeader(s.AddRendition("source", hls.Listing{}))
		segmenttest.Write(t, r, frames)
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path == "/index.m3u8" {
				w.Write(s.Multivariant(""))
				return
			}
			hlsplayer.Handler(s).ServeHTTP(w, req)
		}))
		defer server.Close()
		out, err := exec.Command("ffprobe", "-v", "error", "-count_frames", "-show_entries", "stream=codec_name,nb_read_frames", "-of", "csv=p=0", server.URL+"/index.m3u8").CombinedOutput()
		if got := string(out); err != nil || !strings.Contains(got, "h264,600\n") || !strings.Contains(got, "aac,9") {
			t.Errorf("ffprobe: %v: %s", err, out)
		}
	})
}
