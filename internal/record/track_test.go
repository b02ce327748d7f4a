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
