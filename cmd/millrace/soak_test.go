package main

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
)

var soak = flag.Duration("soak", 10*time.Second, "how long TestSoak broadcasts; make soak runs it for an hour")

const (
	// steady is when the windows are full and the allocators have what they
	// need: from then on memory is flat.
	steady = 3 * time.Minute

	// growth is how much more of it there may be at the end.
	growth = 1.10

	// maxAge is how long ago a segment of two seconds may have begun that is the
	// newest to have ended: ffmpeg may be four seconds late, and so may what
	// waits for it on a busy machine.
	maxAge = 15 * time.Second
)

// A broadcast of a STANDARD channel lasts for as long as -soak says: its
// renditions stay in step with the source and with the clock, frame by
// frame, and memory does not grow.
func TestSoak(t *testing.T) {
	s := startServer(t, "", withLadder...)
	channel, key := s.channel(awsivs.CreateChannelInput{InsecureIngest: true})
	size, rungs := "640x360", 2
	if *soak > time.Minute {
		size, rungs = "1280x720", 4
	}
	publish(t, rtmpURL(s.rtmp, key), numberedFrames("testsrc2", size, 30)...)
	s.live(channel.Arn)
	var all map[string]string
	wait(t, "the ladder", func() bool { all = renditions(t, *channel.PlaybackUrl); return len(all) == rungs })
	all["source"] = strings.Replace(all["360p30"], "/360p30/", "/source/", 1)
	segments := map[string][]segment{}
	look := func() {
		for name, address := range all {
			segments[name] = completeSegments(t, address)
		}
	}
	wait(t, "a segment of all renditions", func() bool { look(); return ofAll(segments) != nil })
	transcoder := ffmpegOf(t, s)

	var early, late []int64 // memory when it was steady, and in the last minutes
	began, told := time.Now(), time.Time{}
	for now := began; now.Sub(began) < *soak && !t.Failed(); now = time.Now() {
		time.Sleep(min(5*time.Second, *soak/3))
		look()
		checkInStep(t, segments)
		checkTimely(t, segments)
		server, ffmpeg, media := memoryOf(t, s.process.Process.Pid), memoryOf(t, transcoder), mediaOf(t, s.process.Process.Pid)
		switch at := now.Sub(began); {
		case at > *soak-*soak/10:
			late = append(late, server+ffmpeg+media)
		case at > steady && at < steady+*soak/10:
			early = append(early, server+ffmpeg+media)
		}
		if now.Sub(told) > time.Minute {
			told = now
			t.Logf("%v: server %d MB, media %d MB, ffmpeg %d MB; %d renditions in step at segment %d", now.Sub(began).Round(time.Second),
				server>>20, media>>20, ffmpeg>>20, len(all), newest(segments["source"]).msn)
			checkFrames(t, segments)
		}
	}
	for _, bad := range []string{"transcoding failed", "NOT TRANSCODED", "gaps="} {
		if line := s.log.Line(bad); line != "" {
			t.Errorf("the log says: %s", line)
		}
	}
	if len(early) == 0 || len(late) == 0 {
		t.Logf("%v is too short to judge memory: it is steady after %v", *soak, steady)
		return
	}
	slices.Sort(early)
	slices.Sort(late)
	before, after := early[len(early)/2], late[len(late)/2]
	t.Logf("memory of server, media and ffmpeg: %d MB after %v, %d MB at the end", before>>20, steady, after>>20)
	if float64(after) > growth*float64(before) {
		t.Errorf("memory has grown from %d to %d bytes", before, after)
	}
}

func newest(list []segment) segment { return list[len(list)-1] }

// checkTimely reports whether the newest segment of each rendition has just ended,
// and whether none is behind.
func checkTimely(t *testing.T, segments map[string][]segment) {
	t.Helper()
	for name, list := range segments {
		if len(list) == 0 {
			t.Errorf("%s has no segment", name)
			continue
		}
		g := newest(list)
		began, err := time.Parse(time.RFC3339, g.date)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if age := time.Since(began); age < time.Second || age > maxAge {
			t.Errorf("%s: segment %d of %s s, the newest that has ended, began %v ago", name, g.msn, g.lasts, age)
		}
	}
}

// checkFrames decodes a segment that all renditions have, and holds their
// frames against each other.
func checkFrames(t *testing.T, segments map[string][]segment) {
	t.Helper()
	all := ofAll(segments)
	if all == nil {
		t.Error("there is no segment that all renditions have")
	}
	var first map[int]int
	for _, name := range slices.Sorted(maps.Keys(all)) {
		shown := numbers(t, save(t, filepath.Join(t.TempDir(), name), all[name]))
		if first == nil {
			first = shown
		}
		checkSameFrames(t, name, shown, first)
	}
}

// memoryOf is the resident memory of a process.
func memoryOf(t *testing.T, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "statm"))
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// mediaOf is the memory of the files without a name that a process has open.
func mediaOf(t *testing.T, pid int) (total int64) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "fd", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if name, err := os.Readlink(file); err != nil || !strings.HasPrefix(name, "/memfd:") {
			continue // it may have been closed
		}
		if info, err := os.Stat(file); err == nil {
			total += info.Size()
		}
	}
	return total
}
