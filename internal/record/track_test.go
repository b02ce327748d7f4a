package record

import (
	"bytes"
	"errors"
	"fmt"
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
	track, err := createTrack(filepath.Join(t.TempDir(), "720p30"), variant{Name: "720p30"}, false, (&spool{max: 1 << 20}).share(nil))
	if err != nil {
		t.Fatal(err)
	}
	return track
}

// keep4s adds a segment of 4 s and so many bytes to a track.
func keep4s(t *track, size int64, media io.Reader) error {
	return t.writer.keep(media, segmentLine{File: t.writer.next, Size: size, Duration: 4 * time.Second, Date: testStart, Init: -1, Cuts: []cut{{Size: size, Duration: 4 * time.Second}}})
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
		if err := track.writer.close(); err != nil {
			t.Fatal(err)
		}
		if f, ok := track.queue.first(); ok {
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
		if err := track.writer.close(); err != nil {
			t.Fatal(err)
		}
		f, ok := track.queue.first()
		info, err := os.Stat(track.path(0))
		if !ok || err != nil || f.size != 100 || info.Size() != 100 {
			t.Errorf("%+v waits to be uploaded, and the file is %+v, %v", f, info, err)
		}
	})
}

// A disk that is full while a playlist grows loses no file and no end: either is
// there once when it has room again, in both playlists.
func TestDiskFullOfPlaylists(t *testing.T) {
	for _, name := range []string{playlistName, byteRangePlaylistName} {
		track := newTestTrack(t)
		keepFiles(t, track, 1)
		list := filepath.Join(track.folder, name)
		onFullDisk := func(what string, f func() error) {
			t.Helper()
			if err := errors.Join(os.Rename(list, list+".kept"), os.Symlink("/dev/full", list)); err != nil {
				t.Fatal(err)
			}
			if err := f(); !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("%s on a disk that is full: %v", what, err)
			}
			if err := os.Rename(list+".kept", list); err != nil {
				t.Fatal(err)
			}
			if err := f(); err != nil {
				t.Errorf("%s again: %v", what, err)
			}
		}
		onFullDisk("listing a file", func() error {
			f, ok := track.queue.first()
			if _, err := os.Stat(track.path(0)); !ok || err != nil {
				t.Fatalf("no file waits any more, or the spool has not got it: %v", err)
			}
			return track.uploads.uploaded(f)
		})
		onFullDisk("ending", track.uploads.finish)
		for name, entries := range map[string]int{playlistName: 1, byteRangePlaylistName: 2} {
			text, err := os.ReadFile(filepath.Join(track.folder, name))
			if err != nil || strings.Count(string(text), "0.ts") != entries || strings.Count(string(text), playlistEnd) != 1 {
				t.Errorf("%s, %v:\n%s", name, err, text)
			}
		}
		if _, ok := track.queue.first(); ok || track.share.held != 0 {
			t.Errorf("a file waits, or %d bytes are held", track.share.held)
		}
	}
}

// A rendition that has gaps alone is in no multivariant playlist: there is
// nothing of it to play.
func TestGapsAlone(t *testing.T) {
	gaps, played := newTestTrack(t), newTestTrack(t)
	if err := gaps.writer.skip(testStart, 8*time.Second, false); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(keep4s(played, 100, strings.NewReader(strings.Repeat("x", 100))), played.writer.close(), gaps.writer.close()); err != nil {
		t.Fatal(err)
	}
	for _, track := range []*track{gaps, played} {
		f, _ := track.queue.first()
		if err := track.uploads.uploaded(f); err != nil {
			t.Fatal(err)
		}
		track.uploads.playlist = testStart
	}
	if got := (&recording{tracks: []*track{gaps, played}}).listed(); len(got) != 1 || got[0].average == 0 {
		t.Errorf("%+v are listed, want the track with media alone", got)
	}
}

// keepFiles writes so many files of two segments of 100 bytes and 4 s each.
func keepFiles(t *testing.T, track *track, files int) {
	t.Helper()
	for range files {
		for range 2 {
			if err := keep4s(track, 100, strings.NewReader(strings.Repeat("x", 100))); err != nil {
				t.Fatal(err)
			}
		}
		if err := track.writer.closeFile(); err != nil {
			t.Fatal(err)
		}
	}
}

// reopen reads a track from the spool, as after a crash.
func reopen(t *testing.T, old *track) (track *track, short time.Duration) {
	t.Helper()
	track, short, err := openTrack(old.folder, old.fmp4, (&spool{max: 1 << 20}).share(nil))
	if err != nil {
		t.Fatal(err)
	}
	return track, short
}

// A process that is killed at any moment leaves each segment of which the journal has
// the line, and nothing is taken for lost.
func TestKilledWriter(t *testing.T) {
	killed := newTestTrack(t)
	begin, err := os.ReadFile(filepath.Join(killed.folder, journalName))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := keep4s(killed, 100, strings.NewReader(strings.Repeat("x", 100))); err != nil {
			t.Fatal(err)
		}
	}
	journal, err := os.ReadFile(filepath.Join(killed.folder, journalName))
	if err != nil {
		t.Fatal(err)
	}
	first := len(begin) + bytes.IndexByte(journal[len(begin):], '\n') // the end of the first segment's line
	for n := range len(journal) + 1 {
		segments, media := 0, 100 // which is written before its line
		if n >= first {
			segments, media = 1, 200
		}
		if n >= len(journal)-1 {
			segments = 2
		}
		folder := filepath.Join(t.TempDir(), "720p30")
		if err := errors.Join(os.Mkdir(folder, 0o700), os.WriteFile(filepath.Join(folder, journalName), journal[:n], 0o600),
			os.WriteFile(filepath.Join(folder, "0.ts"), bytes.Repeat([]byte("x"), media), 0o600)); err != nil {
			t.Fatal(err)
		}
		track, short := reopen(t, newTrack(folder, false, nil))
		written, _, lost := track.queue.totals()
		left, err := os.ReadFile(track.path(0))
		if want := (amount{time.Duration(segments) * 4 * time.Second, int64(segments) * 100}); written != want || short != 0 || lost != 0 || track.queue.listed().Name != "720p30" || int64(len(left)) != want.bytes || segments > 0 && err != nil {
			t.Errorf("killed behind byte %d of %d of the journal: %v, short of %v, lost %v; the file has %d bytes, %v; want %v", n, len(journal), written, short, lost, len(left), err, want)
		}
	}
}

// Where the disk has lost media that the journal knows, what is left is kept, and
// the rest is a gap.
func TestShortFile(t *testing.T) {
	for _, tt := range []struct {
		size       int64     // that is left of 200 bytes
		names      [2]string // of what waits, after each crash
		lost, held int64     // seconds, bytes
	}{
		{199, [2]string{"0.ts lost-0.ts 1.ts", "0.ts lost-0.ts 1.ts"}, 4, 300},
		{100, [2]string{"0.ts lost-0.ts 1.ts", "0.ts lost-0.ts 1.ts"}, 4, 300},
		{99, [2]string{"lost-0.ts 1.ts", "1.ts"}, 8, 200},
		{0, [2]string{"lost-0.ts 1.ts", "1.ts"}, 8, 200},
	} {
		track := newTestTrack(t)
		keepFiles(t, track, 2)
		if err := errors.Join(track.writer.close(), os.Truncate(track.path(0), tt.size)); err != nil {
			t.Fatal(err)
		}
		for i := range 2 { // the second crash finds what the first has left
			var short time.Duration
			track, short = reopen(t, track)
			var names []string
			for _, f := range track.queue.waiting {
				names = append(names, f.name())
			}
			if got := strings.Join(names, " "); got != tt.names[i] || track.share.held != tt.held || track.queue.lost != time.Duration(tt.lost)*time.Second {
				t.Errorf("of %d bytes %s are left, %d bytes held, %v lost", tt.size, got, track.share.held, track.queue.lost)
			}
			if want := time.Duration(tt.lost*int64(1-i)) * time.Second; short != want { // it is new once
				t.Errorf("of %d bytes %v are missed after crash %d, want %v", tt.size, short, i, want)
			}
			if last := track.queue.waiting[len(track.queue.waiting)-1]; !last.discontinuity || last.size != 200 {
				t.Errorf("what follows is %+v", last)
			}
		}
		for len(track.queue.waiting) > 0 {
			if err := track.uploads.uploaded(track.queue.waiting[0]); err != nil {
				t.Fatal(err)
			}
		}
		before, err := os.ReadFile(filepath.Join(track.folder, playlistName))
		if err != nil {
			t.Fatal(err)
		}
		track, _ = reopen(t, track) // what is in the bucket is listed as it was
		after, err := os.ReadFile(filepath.Join(track.folder, playlistName))
		if err != nil || string(before) != string(after) || strings.Count(string(after), "#EXT-X-GAP") != 1 {
			t.Errorf("before %s\nafter %s, %v", before, after, err)
		}
	}
}

// Dropping pending files leaves the beginning of a track, and nothing follows it.
func TestGiveUp(t *testing.T) {
	full := newTestTrack(t)
	keepFiles(t, full, 4)
	for range 2 {
		if freed, more, err := full.queue.giveUp(); freed != 200 || !more || err != nil {
			t.Fatalf("giveUp = %d, %v, %v", freed, more, err)
		}
	}
	keepFiles(t, full, 1)
	check := func(track *track) {
		t.Helper()
		written, _, lost := track.queue.totals()
		if len(track.queue.waiting) != 2 || written != (amount{16 * time.Second, 400}) || lost != 24*time.Second || track.share.held != 400 {
			t.Errorf("%d files wait; %v and %d bytes are written, %v lost, %d held", len(track.queue.waiting), written.duration, written.bytes, lost, track.share.held)
		}
	}
	check(full)
	if err := errors.Join(full.writer.close(), os.WriteFile(full.path(3), nil, 0o600)); err != nil { // as if a crash had come first
		t.Fatal(err)
	}
	again, short := reopen(t, full)
	check(again)
	if short != 0 {
		t.Errorf("%v that were given up are missed", short)
	}
	if left, err := filepath.Glob(filepath.Join(full.folder, "*.ts")); err != nil || len(left) != 2 {
		t.Errorf("%q are left, %v", left, err)
	}
	first, _ := full.queue.first()
	for range 3 { // the first one too, while it is on its way
		if _, _, err := full.queue.giveUp(); err != nil {
			t.Fatal(err)
		}
	}
	if err := full.uploads.uploaded(first); err != nil || full.uploads.dirty || len(full.queue.waiting) != 0 || full.share.held != 0 {
		t.Errorf("a file that was given up on its way: %v; %d files wait, %d bytes held", err, len(full.queue.waiting), full.share.held)
	}
	listed := newTestTrack(t)
	keepFiles(t, listed, 1)
	if first, _ = listed.queue.first(); !listed.queue.take(first) || listed.queue.bytes() != 0 {
		t.Error("a file that the bucket has can be given up before it is listed")
	}
	if _, more, err := listed.queue.giveUp(); more || err != nil {
		t.Errorf("it is given up: %v, %v", more, err)
	}
}

// A file that is written off is the same gap after a restart, and what follows it does
// not continue what was before.
func TestWriteOff(t *testing.T) {
	old := newTestTrack(t)
	keepFiles(t, old, 1)
	first, _ := old.queue.first()
	if err := old.queue.writeOff(first); err != nil {
		t.Fatal(err)
	}
	keepFiles(t, old, 2)
	if err := old.uploads.uploaded(old.queue.waiting[0]); err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadFile(filepath.Join(old.folder, playlistName))
	again, short := reopen(t, old)
	for _, track := range []*track{old, again} {
		written, _, lost := track.queue.totals()
		if written != (amount{16 * time.Second, 400}) || lost != 8*time.Second || track.share.held != 400 {
			t.Errorf("%v are written, %v lost, %d bytes held", written, lost, track.share.held)
		}
		waiting := track.queue.waiting
		if next := waiting[len(waiting)-2]; !next.discontinuity || waiting[len(waiting)-1].discontinuity {
			t.Errorf("the files that wait are %+v", waiting)
		}
	}
	if short != 0 {
		t.Errorf("%v that were written off are missed", short)
	}
	after, errAfter := os.ReadFile(filepath.Join(again.folder, playlistName))
	if err != nil || errAfter != nil || string(list) != string(after) || strings.Count(string(list), "#EXT-X-GAP\n") != 1 {
		t.Errorf("the playlist is %s, %v; after a restart it is %s, %v", list, err, after, errAfter)
	}
}

// In a spool that is full, the recording that ends is one into the bucket that takes
// least, however little each of its recordings has: what is being filled, of which a
// recording into a bucket that keeps up may have more, is no fault of a bucket.
func TestHeaviest(t *testing.T) {
	c, _ := newTestRecording(t)
	r := c.recorder
	r.spool.max = 1000
	add := func(id, bucketName string) (*recording, *track) {
		m := manifest{}
		m.ID, m.Bucket = id, bucketName
		c := r.newRecording(m)
		must(t, os.MkdirAll(c.folder, 0o700))
		track, err := c.trackFor(variant{Name: "720p30"})
		must(t, err)
		return c, track
	}
	keep := func(track *track, size int) error {
		return keep4s(track, int64(size), strings.NewReader(strings.Repeat("x", size)))
	}
	keepsUp, filled := add("keeps up", "one")
	must(t, keep(filled, 550))
	var away [3]*recording
	for i := range away {
		var track *track
		away[i], track = add(fmt.Sprint("away ", i), "two")
		must(t, keep(track, 100+20*i), track.writer.closeFile())
	}
	for i := 2; i >= 0; i-- { // 90 bytes are free
		if err := keep(filled, []int{110, 130, 200}[i]); err != nil || keepsUp.failed {
			t.Errorf("the recording whose bucket keeps up: %v, %q", err, keepsUp.failure())
		}
		if !away[i].failed || i > 0 && away[i-1].failed {
			t.Errorf("not recording %d alone ends", i)
		}
	}
	if err := keep(filled, 300); !errors.Is(err, errFull) {
		t.Errorf("where nothing waits: %v", err)
	}
}

// A gap has the ending of the container, also before the first init segment.
func TestGapFirst(t *testing.T) {
	track := newTestTrack(t)
	track.writer.fmp4 = true
	if err := track.writer.skip(testStart, 4*time.Second, false); err != nil {
		t.Fatal(err)
	}
	if f, _ := track.queue.first(); f.name() != "0.mp4" {
		t.Errorf("the gap is %s", f.name())
	}
}
