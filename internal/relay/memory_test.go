//go:build unix

package relay_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/media/mediatest"
)

// A copy on a node that can open no file for a while has a gap, and goes on. The process is
// another one, whose limit is lowered.
func TestNoDescriptors(t *testing.T) {
	if os.Getenv("MILLRACE_TEST_NO_DESCRIPTORS") == "" {
		t.Parallel()
		command := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestNoDescriptors$", "-test.v")
		command.Env = append(os.Environ(), "MILLRACE_TEST_NO_DESCRIPTORS=1")
		if out, err := command.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestNoDescriptors") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	var tracks [2]*media.Track
	for _, f := range (mediatest.Source{Seconds: 1, Size: "160x120"}).Frames(t) {
		if f.Track.IsVideo() {
			tracks[0] = f.Track
		} else {
			tracks[1] = f.Track
		}
	}
	c := &script{rand: rand.New(rand.NewPCG(1, 15)), stream: &hls.Stream{LowLatency: true}, tracks: tracks}
	c.add()
	l := c.lines[0]
	segment := func() {
		l.addPart(t, c)
		l.addPart(t, c)
		l.EndSegment(l.length, false)
		l.advance(l.length)
	}
	segment()
	segment()
	p := newPair(t, c.stream)
	copied := p.open(t)
	until(t, "the copy has what there was", func() bool { return c.difference(c.stream, copied.Media) == "" })

	lost := hls.LostParts()
	l.head.Discontinuity = true
	withOneDescriptor(t, func() { // the owner's, for the segment that begins
		l.addPart(t, c)
		until(t, "the copy loses the part", func() bool { return hls.LostParts() > lost })
	})
	l.addPart(t, c) // it has a descriptor for this one, and no beginning
	l.EndSegment(l.length, false)
	l.advance(l.length)
	segment()
	segment()
	l.Close()

	list := func(s *hls.Stream) string { return c.get(s, "/r1/playlist.m3u8").Body.String() }
	until(t, "the copy has the end", func() bool { return strings.HasSuffix(list(copied.Media), "#EXT-X-ENDLIST\n") })
	was, is := list(c.stream), list(copied.Media)
	for tag, more := range map[string]int{"#EXT-X-GAP\n": 1, "#EXTINF:": 0, "#EXT-X-DISCONTINUITY\n": 0} {
		if strings.Count(is, tag) != strings.Count(was, tag)+more {
			t.Errorf("%d × %s\n%s\nthe owner's:\n%s", strings.Count(is, tag), tag, is, was)
		}
	}
	names := regexp.MustCompile(`(?m)^[^#\n]+$`).FindAllString(was, -1)
	newest := "/r1/" + names[len(names)-1]
	if a, b := c.get(c.stream, newest), c.get(copied.Media, newest); a.Code != 200 || b.Code != 200 || !bytes.Equal(a.Body.Bytes(), b.Body.Bytes()) {
		t.Errorf("%s: %d with %d bytes; of the copy: %d with %d", newest, a.Code, a.Body.Len(), b.Code, b.Body.Len())
	}
	if n := p.asked.Load(); n != 1 {
		t.Errorf("the stream was asked for %d times", n)
	}
}

// withOneDescriptor calls do while the process may open one descriptor.
func withOneDescriptor(t *testing.T, do func()) {
	t.Helper()
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	number := uint64(f.Fd())
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	low := limit
	set(&low.Cur, number+1)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
	}()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	do()
}

// set sets a limit, whose type depends on the system.
func set[T int64 | uint64](limit *T, n uint64) { *limit = T(n) }
