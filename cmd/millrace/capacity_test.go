package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/rtmp"
)

// The newest stream is refused, in words, when what is reserved or in use leaves
// no room; what a stream gives back can be reserved again.
func TestCapacity(t *testing.T) {
	var files, memory int64
	c := &capacity{files: 3 * streamFiles, memory: programMemory + 100*streamMemory, used: func() (int64, int64) { return files, memory }}
	basic := ivs.Channel{Type: ivs.TypeBasic}
	var release []func()
	for range 3 {
		r, err := c.admit(basic)
		if err != nil {
			t.Fatal(err)
		}
		release = append(release, r)
	}
	refused := func(says string) {
		t.Helper()
		if _, err := c.admit(basic); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("admit = %v, want %q", err, says)
		}
	}
	refused("72 of 72 are in use")
	release[0]()
	if _, err := c.admit(basic); err != nil {
		t.Errorf("after a release: %v", err)
	}
	release[1]()
	files = 3 * streamFiles // short segments
	refused("file descriptors")
	files, memory = 0, c.memory-c.memory/20-streamMemory+1
	refused("no memory is left")
	memory = 0
	c.transcodes = true
	if _, err := c.admit(ivs.Channel{Type: ivs.TypeStandard}); err == nil {
		t.Error("a ladder is taken to need no more than its source")
	}
}

// The memory limit is that of the innermost control group that has one, in both
// versions of control groups.
func TestMemoryGroup(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check := func(limit, used int64) {
		t.Helper()
		g := findMemoryGroup(root, filepath.Join(root, "self"))
		if g.limit != limit || limit != 0 && g.used() != used {
			t.Errorf("found %+v, want a limit of %d and %d used", g, limit, used)
		}
	}
	write("self", "4:memory:/x\n0::/outer/inner\n")
	write("outer/inner/memory.max", "max\n")
	write("outer/memory.max", "268435456\n")
	write("outer/memory.current", "3000\n")
	write("outer/memory.stat", "anon 1\ninactive_file 1000\nfile 2000\n")
	check(256<<20, 2000)
	write("outer/memory.max", "max\n")
	check(0, 0)

	// Version 1, with the controller mounted beside others.
	write("self", "7:cpu,cpuacct:/y\n4:memory:/x/z\n1:name=systemd:/x\n0::/\n")
	write("memory/memory.limit_in_bytes", "9223372036854771712\n") // no limit
	check(0, 0)
	write("memory/x/memory.limit_in_bytes", "134217728\n")
	write("memory/x/memory.usage_in_bytes", "5000\n")
	write("memory/x/memory.stat", "inactive_file 1\ntotal_inactive_file 1000\n")
	write("memory/x/z/memory.limit_in_bytes", "9223372036854771712\n")
	check(128<<20, 4000)
}

func TestDescriptorsAreLeft(t *testing.T) {
	for _, total := range []int{256, 1024, 1 << 20} {
		if s := descriptorShares(total); s.http+2*s.rtmp+s.media+reservedFiles > total || s.media < 1 || s.rtmp < 1 {
			t.Errorf("of %d descriptors, %+v", total, s)
		}
	}
	if n := descriptors(); n < 64 {
		t.Errorf("descriptors() = %d", n)
	}
}

// With few descriptors, the streams that are too many are refused and learn why;
// the one that was there first goes on, and so does the API.
func TestFewDescriptors(t *testing.T) {
	limited := func(c *exec.Cmd) {
		c.Args = append([]string{"sh", "-c", `ulimit -n 280 && exec "$0" "$@"`, c.Path}, c.Args[1:]...)
		c.Path = "/bin/sh"
	}
	s := startProcess(t, "", limited, "serve")
	clip, err := recordTestPattern(t.Context(), testPattern{Size: "320x180", FPS: 30, Bitrate: 200})
	if err != nil {
		t.Fatal(err)
	}
	first, key := s.channel(awsivs.CreateChannelInput{InsecureIngest: true})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- publishTo(ctx, rtmpURL(s.rtmp, key), &paced{source: clip.loop()}, nil) }()
	stream := s.live(first.Arn)
	for range 3 {
		_, key := s.channel(awsivs.CreateChannelInput{InsecureIngest: true})
		short, cancel := context.WithTimeout(t.Context(), patience)
		err := publishTo(short, rtmpURL(s.rtmp, key), &paced{source: clip.loop()}, nil)
		cancel()
		var refusal *rtmp.StatusError
		if !errors.As(err, &refusal) || !strings.Contains(refusal.Description, "no file descriptors are left") {
			t.Errorf("one stream too many: %v", err)
		}
	}
	if now := s.live(first.Arn); aws.ToString(now.StreamId) != aws.ToString(stream.StreamId) {
		t.Error("the first stream was cut")
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
