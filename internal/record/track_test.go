package record

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"
)

// newTestTrack makes a track of transport streams.
func newTestTrack(t *testing.T) *track {
	t.Helper()
	track, err := createTrack(filepath.Join(t.TempDir(), "720p30"), variant{Name: "720p30"}, false, &spool{max: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return track
}

// keep4s adds a segment of 4 s and so many bytes to a track.
func keep4s(t *track, size int64, media io.Reader) error {
	return t.keep(media, segmentLine{File: t.next, Size: size, Duration: 4 * time.Second, Date: testStart, Init: -1})
}

// A disk that takes no more leaves no file that is not there, and none with
// half of a segment.
func TestDiskFull(t *testing.T) {
	t.Run("first segment", func(t *testing.T) {
		track := newTestTrack(t)
		if err := os.Symlink("/dev/full", track.path(0)); err != nil {
			t.Fatal(err)
		}
		if err := keep4s(track, 100, strings.NewReader(strings.Repeat("x", 100))); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("writing to a disk that is full: %v", err)
		}
		if err := track.close(); err != nil {
			t.Fatal(err)
		}
		if f, ok := track.first(); ok {
			t.Errorf("%+v waits to be uploaded", f)
		}
		if _, err := os.Lstat(track.path(0)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the empty file is still there: %v", err)
		}
	})
	t.Run("second segment", func(t *testing.T) {
		track := newTestTrack(t)
		if err := keep4s(track, 100, strings.NewReader(strings.Repeat("x", 100))); err != nil {
			t.Fatal(err)
		}
		if err := keep4s(track, 100, io.MultiReader(strings.NewReader("half"), iotest.ErrReader(syscall.EIO))); !errors.Is(err, syscall.EIO) {
			t.Fatalf("writing half a segment: %v", err)
		}
		if err := track.close(); err != nil {
			t.Fatal(err)
		}
		f, ok := track.first()
		info, err := os.Stat(track.path(0))
		if !ok || err != nil || f.size != 100 || info.Size() != 100 {
			t.Errorf("%+v waits to be uploaded, and the file is %+v, %v", f, info, err)
		}
	})
}

// A rendition that has gaps alone is in no multivariant playlist: there is
// nothing of it to play.
func TestGapsAlone(t *testing.T) {
	gaps, played := newTestTrack(t), newTestTrack(t)
	if err := gaps.skip(testStart, 8*time.Second); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(keep4s(played, 100, strings.NewReader(strings.Repeat("x", 100))), played.close(), gaps.close()); err != nil {
		t.Fatal(err)
	}
	for _, track := range []*track{gaps, played} {
		f, _ := track.first()
		if err := track.uploaded(f); err != nil {
			t.Fatal(err)
		}
		track.uploads.playlist = testStart
	}
	if got := (&recording{tracks: []*track{gaps, played}}).listed(); len(got) != 1 || got[0].average == 0 {
		t.Errorf("%+v are listed, want the track with media alone", got)
	}
}
