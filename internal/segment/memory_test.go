//go:build unix

package segment_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/segment"
	"github.com/millrace/millrace/internal/segment/segmenttest"
)

// Where a process can open no file for a while, its streams lose the segments of that
// time, and continue behind a discontinuity when it can again. The process is another
// one, whose limit is lowered.
func TestNoDescriptors(t *testing.T) {
	if os.Getenv("MILLRACE_TEST_NO_DESCRIPTORS") == "" {
		command := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestNoDescriptors$", "-test.v")
		command.Env = append(os.Environ(), "MILLRACE_TEST_NO_DESCRIPTORS=1")
		if out, err := command.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestNoDescriptors") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	frames := steady.Frames(t)
	segmenttest.Kinds(t, func(t *testing.T, s *hls.Stream) {
		p := segmenttest.NewPlayer(t, s)
		copied := segment.NewFollower(s.AddRendition("copy", hls.Listing{}), p.Source, false)
		play := func(from, to time.Duration) {
			t.Helper()
			for _, f := range frames {
				if at := f.DTS - frames[0].DTS; at < from || at >= to {
					continue
				}
				p.Play([]media.Frame{f})
				if err := copied.WriteFrame(f); err != nil {
					t.Fatalf("the copy's frame at %v: %v", f.DTS, err)
				}
			}
		}
		play(0, 7*time.Second)
		lost, files := hls.LostParts(), openFiles()
		withDescriptors(t, 3, func() { play(7*time.Second, 13*time.Second) })
		if why := p.Source.Lost(); why == nil || !strings.Contains(why.Error(), "too many open files") {
			t.Errorf("parts were lost because of %v", why)
		}
		if hls.LostParts() < lost+2 {
			t.Errorf("%d parts were lost", hls.LostParts()-lost)
		}
		if n := openFiles(); n > files {
			t.Errorf("%d files are open, and %d were before", n, files)
		}
		play(13*time.Second, 15900*time.Millisecond)
		lost = hls.LostParts()
		withDescriptors(t, lowest(t)+1, func() { play(15900*time.Millisecond, 17900*time.Millisecond) }) // one more file: the source's
		if hls.LostParts() == lost {
			t.Error("the copy has lost no part")
		}
		play(17900*time.Millisecond, 20*time.Second)
		p.Close()
		if err := copied.Close(); err != nil {
			t.Fatal(err)
		}
		if p.Source.Lost() != nil {
			t.Error("parts were lost with descriptors")
		}
		p.Report(t, "")
		if got := p.ListedSeconds(); got < 11 || got > 15 {
			t.Errorf("%g of 20 s were kept, want about 14", got)
		}
		if !p.Lists("#EXT-X-DISCONTINUITY\n") {
			t.Error("there is no discontinuity")
		}
		list := p.Player
		list.Path = "/copy/"
		if text := list.Get(t.Context(), "playlist.m3u8").Body.String(); !strings.Contains(text, "#EXT-X-DISCONTINUITY\n") || !strings.Contains(text, "#EXT-X-GAP\n") || !strings.HasSuffix(text, "#EXT-X-ENDLIST\n") || strings.Count(text, "#EXTINF:") < 5 {
			t.Errorf("the copy's playlist:\n%s", text)
		}
	})
}

func openFiles() int64 {
	n, _ := hls.MemoryFiles()
	return n
}

// lowest is the number of the next descriptor.
func lowest(t *testing.T) uint64 {
	t.Helper()
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return uint64(f.Fd())
}

// withDescriptors calls do while the process may open no descriptor with that number or
// a higher one.
func withDescriptors(t *testing.T, number uint64, do func()) {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	low := limit
	set(&low.Cur, number)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
	}()
	do()
}

// set sets a limit, whose type depends on the system.
func set[T int64 | uint64](limit *T, n uint64) { *limit = T(n) }
