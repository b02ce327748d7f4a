package record

import (
	"bytes"
	"context"
	stdimage "image"
	"image/jpeg"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/media/mediatest"
	"github.com/millrace/millrace/internal/segment"
)

// thumbnailWorld is a recording whose configuration asks for a thumbnail each
// interval, and a stream.
func thumbnailWorld(t *testing.T, interval int64) (*recording, *source) {
	t.Helper()
	r, err := New(Config{Folder: t.TempDir(), MaxSpool: 1 << 20, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	m := manifest{}
	m.ID = "recording"
	m.Configuration.ThumbnailConfiguration = ivs.ThumbnailConfiguration{RecordingMode: ivs.ThumbnailsInterval, TargetIntervalSeconds: int(interval)}
	return r.newRecording(m), &source{Stream: Stream{Media: &hls.Stream{Window: time.Hour, MaxBytes: 1 << 30, TargetDuration: 2 * time.Second}}, ended: make(chan struct{})}
}

// A server that stops does not wait for thumbnails of a stream whose end does not
// come.
func TestThumbnailsStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := thumbnailWorld(t, 10)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.thumbnailer(s).run(ctx)
		}()
		synctest.Wait()
		cancel()
		select {
		case <-done:
		case <-time.After(time.Minute):
			t.Error("thumbnails are still made")
			close(s.ended)
			<-done
		}
	})
}

// Each interval of a transcoded stream has one thumbnail, whose number says which:
// the transcoder's image, or that of a key frame where the transcoder makes none.
func TestThumbnailSource(t *testing.T) {
	if testing.Short() {
		t.Skip("starts ffmpeg for many key frames")
	}
	const seconds = 24
	frames := mediatest.Repeat(mediatest.Source{Seconds: 4}.Frames(t), 4*time.Second, seconds/4)
	var small bytes.Buffer // than key frames
	if err := jpeg.Encode(&small, stdimage.NewGray(stdimage.Rect(0, 0, 16, 9)), nil); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name     string
		silent   [2]int // between these seconds the transcoder makes no image
		givesUp  int    // the transcoder has stopped at that second; 0 where it does not
		keyFrame [2]int // these thumbnails are of key frames, at least
		smalls   int    // so many are the transcoder's, at least
	}{
		{name: "transcoder", smalls: seconds},
		{name: "late transcoder", silent: [2]int{0, 5}, smalls: seconds},
		{name: "transcoder restarts", silent: [2]int{6, 9}, smalls: seconds},
		{name: "silent transcoder", silent: [2]int{4, 18}, keyFrame: [2]int{4, 14}, smalls: 10},
		{name: "transcoder gives up", givesUp: 16, keyFrame: [2]int{16, seconds}, smalls: 16},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, s := thumbnailWorld(t, 1)
				began := time.Now()
				leader := segment.NewLeader(s.Media.AddRendition("source", hls.Listing{}))
				leader.SetEpoch(began)
				var latest atomic.Pointer[time.Time]
				var stopped atomic.Bool
				s.Thumbnail = func() ([]byte, time.Time, bool) {
					if date := latest.Load(); date != nil {
						return small.Bytes(), *date, !stopped.Load()
					}
					return nil, time.Time{}, !stopped.Load()
				}
				done := make(chan struct{})
				go func() {
					defer close(done)
					c.thumbnailer(s).run(t.Context())
				}()
				rest := frames
				for second := range seconds {
					var now []media.Frame
					for len(rest) > 0 && rest[0].DTS < time.Duration(second+1)*time.Second {
						now, rest = append(now, rest[0]), rest[1:]
					}
					for _, f := range now {
						if err := leader.WriteFrame(f); err != nil {
							t.Fatal(err)
						}
					}
					synctest.Wait()
					if second == test.givesUp && second > 0 {
						stopped.Store(true)
					}
					if date := began.Add(time.Duration(second) * time.Second); !stopped.Load() && (second < test.silent[0] || second >= test.silent[1]) {
						latest.Store(&date)
					}
					time.Sleep(time.Second)
				}
				synctest.Wait()
				stopped.Store(true)
				if err := leader.Close(); err != nil {
					t.Fatal(err)
				}
				close(s.ended)
				<-done
				checkThumbnails(t, c, seconds, test.keyFrame, test.smalls)
				s.Media.Release()
			})
		})
	}
}

// checkThumbnails expects so many in the spool, of which those in a range are larger
// than 16x9, and so many of the others are not.
func checkThumbnails(t *testing.T, c *recording, want int, large [2]int, smalls int) {
	t.Helper()
	if c.images.next != want || len(c.images.pending) != want {
		t.Errorf("%d thumbnails, want %d", c.images.next, want)
	}
	for n := range c.images.next {
		b, err := os.ReadFile(filepath.Join(c.folder, imageFolder, imageName(n)))
		if err != nil {
			t.Fatal(err)
		}
		size, err := jpeg.DecodeConfig(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if size.Width == 16 {
			smalls--
		}
		if n >= large[0] && n < large[1] && size.Width != 160 {
			t.Errorf("thumbnail %d is %d pixels wide, and not of a key frame", n, size.Width)
		}
	}
	if smalls > 0 {
		t.Errorf("%d thumbnails of the transcoder are missing", smalls)
	}
}

// A stream that is merged continues the numbers of the previous one, an interval
// after its last thumbnail.
func TestThumbnailsMerge(t *testing.T) {
	for _, test := range []struct {
		made          int
		before, first time.Duration
	}{
		{made: 0, before: 0, first: 0},
		{made: 3, before: 25 * time.Second, first: 5 * time.Second},
		{made: 3, before: 30 * time.Second, first: 0},
		{made: 3, before: 60 * time.Second, first: 0},
		{made: 9, before: 30 * time.Second, first: 10 * time.Second},
		{made: 3, before: 0, first: 0}, // no media is recorded
	} {
		c, s := thumbnailWorld(t, 10)
		m := c.thumbnailer(s)
		m.before, c.images.next = test.before, test.made
		now := time.Now()
		if m.begin(now); m.due.Sub(now) != test.first {
			t.Errorf("after %v with %d thumbnails the next one is due at %v, want %v", test.before, test.made, m.due.Sub(now), test.first)
		}
	}
}

// A thumbnail that the spool has lost keeps nothing waiting.
func TestThumbnailUnreadable(t *testing.T) {
	c, folder := newTestRecording(t)
	c.Configuration.ThumbnailConfiguration.Storage = []string{ivs.ThumbnailsSequential}
	var jpg bytes.Buffer
	must(t, jpeg.Encode(&jpg, stdimage.NewGray(stdimage.Rect(0, 0, 16, 16)), nil), c.keepImage(jpg.Bytes()), c.keepImage(jpg.Bytes()))
	must(t, os.Remove(filepath.Join(c.folder, imageFolder, imageName(0))))
	u := &uploader{recording: c}
	must(t, u.uploadImages(t.Context()))
	if got, err := os.ReadFile(filepath.Join(folder, thumbnailFolder, imageName(1))); err != nil || !bytes.Equal(got, jpg.Bytes()) || len(c.images.pending) != 0 || c.share.held != 0 {
		t.Errorf("the bucket has %d bytes, %v; %d thumbnails wait, %d bytes held", len(got), err, len(c.images.pending), c.share.held)
	}
}
