package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
	"github.com/aws/aws-sdk-go-v2/service/ivs/types"

	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/rtmp"
)

// In a control group of 256 MiB, of 25 encoders that come together those are refused, in
// words, for which there is no room. The others are not cut, though they send many times
// what was reserved for them, and the server stays below the limit. Where no control group
// can be made, its files are pretended, and nothing but the server heeds the limit.
func TestSmallGroup(t *testing.T) {
	const limit = 256 << 20
	clip, err := recordTestPattern(t.Context(), testPattern{Size: "160x90", FPS: 10, Bitrate: 60})
	if err != nil {
		t.Fatal(err)
	}
	s := startProcess(t, "", inMemoryGroup(t, limit), "serve", "--max-bitrate-basic", "100000000", "--max-bitrate-basic-sd", "100000000")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	const encoders = 25
	var sent atomic.Int64
	ended := make(chan error, encoders)
	for range encoders {
		_, key := s.channel(awsivs.CreateChannelInput{InsecureIngest: true, Type: types.ChannelTypeBasicChannelType})
		go func() {
			ended <- publishTo(ctx, rtmpURL(s.rtmp, key), &paced{source: &padded{source: clip.loop(), sent: &sent}}, nil)
		}()
	}
	streams := func() map[string]bool {
		list, err := s.ivs().ListStreams(t.Context(), &awsivs.ListStreamsInput{MaxResults: aws.Int32(100)})
		if err != nil {
			t.Fatal(err)
		}
		ids := map[string]bool{}
		for _, stream := range list.Streams {
			ids[*stream.StreamId] = true
		}
		return ids
	}
	room := (&capacity{files: 1 << 20, memory: limit, peers: divide(descriptors(), limit).peers}).streams()
	refused := 0
	var before map[string]bool
	wait(t, "each encoder to be live or refused", func() bool {
		for len(ended) > 0 {
			var refusal *rtmp.StatusError
			if err := <-ended; !errors.As(err, &refusal) || !strings.Contains(refusal.Description, "no memory is left") {
				t.Fatalf("one of %d encoders, of which %d have room: %v", encoders, room, err)
			}
			refused++
		}
		before = streams()
		return len(before)+refused == encoders
	})
	admitted := len(before) // fewer than have room where the kernel counts its own memory
	most := 0.0
	wait(t, "more media than there is memory", func() bool {
		status, _, text := get(t, s.api+"/metrics")
		if status != 200 {
			t.Fatalf("/metrics = %d %s", status, text)
		}
		most = max(most, s.memory()+metric(t, text, "millrace_media_bytes"))
		select {
		case err := <-ended:
			t.Fatalf("an encoder that was admitted: %v", err)
		default:
		}
		return sent.Load() > limit*5/4
	})
	t.Logf("%d streams were admitted, and took %.0f MiB at most", admitted, most/(1<<20))
	if admitted < 4 || admitted > room || most > limit || most < 64<<20 {
		t.Errorf("%d streams were admitted, and took %.0f MiB at most", admitted, most/(1<<20))
	}
	for id := range streams() {
		if !before[id] {
			t.Errorf("stream %s is another one: one of the first was cut", id)
		}
	}
	stop()
	for range admitted {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// inMemoryGroup has a process run in a control group with a limit of memory, or, where none
// can be made, see the files of one.
func inMemoryGroup(t *testing.T, limit int64) func(*exec.Cmd) {
	t.Helper()
	group, err := newMemoryGroup(limit)
	if err != nil {
		t.Logf("no control group can be made: %v", err)
		root := t.TempDir()
		for name, text := range map[string]string{"memory.max": fmt.Sprint(limit), "memory.current": "0", "memory.stat": "inactive_file 0\n"} {
			if err := os.WriteFile(filepath.Join(root, name), []byte(text+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return func(c *exec.Cmd) { c.Env = append(c.Env, cgroupRoot+"="+root) }
	}
	t.Cleanup(func() { // after the process has ended
		if err := os.Remove(group); err != nil {
			t.Error(err)
		}
	})
	return func(c *exec.Cmd) {
		c.Args = append([]string{"sh", "-c", `echo $$ >"$GROUP/cgroup.procs" && exec "$0" "$@"`, c.Path}, c.Args[1:]...)
		c.Path = "/bin/sh"
		c.Env = append(c.Env, "GROUP="+group)
	}
}

// newMemoryGroup makes a control group below that of this process.
func newMemoryGroup(limit int64) (path string, err error) {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	err = errors.New("there is no controller of memory")
	for line := range strings.Lines(string(text)) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		root, file := "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
		switch {
		case len(part) == 3 && part[0] == "0" && part[1] == "":
			root, file = "/sys/fs/cgroup", "memory.max"
		case len(part) != 3 || part[1] != "memory":
			continue
		}
		path = filepath.Join(root, part[2], fmt.Sprintf("millrace-test-%d-%d", os.Getpid(), time.Now().UnixNano()))
		if err = os.Mkdir(path, 0o700); err != nil {
			continue
		}
		if err = setLimit(filepath.Join(path, file), limit); err == nil {
			return path, nil
		}
		_ = os.Remove(path)
	}
	return "", err
}

// setLimit writes to a file that there is already: in a folder that is no control group, or
// one without the controller, there is none.
func setLimit(file string, limit int64) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(f, limit)
	return errors.Join(err, f.Close())
}

// A padded source has filler data (H.264, 7.3.2.7) behind each frame of video: 40 Mbit/s at
// 10 frames a second.
type padded struct {
	source
	data []byte
	sent *atomic.Int64
}

var filler = func() []byte {
	const size = 500 << 10
	unit := append([]byte{12}, bytes.Repeat([]byte{0xff}, size)...)
	unit = append(unit, 0x80)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(unit))), unit...)
}()

func (p *padded) ReadFrame() (media.Frame, error) {
	f, err := p.source.ReadFrame()
	if err == nil && f.Track.IsVideo() {
		p.data = append(append(p.data[:0], f.Data...), filler...)
		f.Data = p.data
		p.sent.Add(int64(len(f.Data)))
	}
	return f, err
}
