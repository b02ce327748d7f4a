package transcode

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func takeTooMuchMemory() error {
	_, err := unix.Mmap(-1, 0, maxMemory+1, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	return err
}

// The end of the context is the end of the process, whose limits are those that
// were meant.
func TestConfined(t *testing.T) {
	if testing.Short() {
		t.Skip("ffmpeg takes its time")
	}
	j, sheets := job(t, Standard, Input{640, 360, 30, true})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	src := newTape(source(t, "640x360", 30, 4, 60))
	src.hold = true
	done := make(chan error, 1)
	go func() { done <- j.Run(ctx, src) }()
	for len(sheets[0].of(true)) == 0 {
		select {
		case err := <-done:
			t.Fatalf("Run = %v before anything came back", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	folders, err := filepath.Glob(filepath.Join(j.Folder, "transcode-*"))
	if err != nil || len(folders) != 1 {
		t.Fatalf("working folders: %v %v", folders, err)
	}
	pid := processIn(t, folders[0])
	proc := "/proc/" + strconv.Itoa(pid)
	limits, err := os.ReadFile(proc + "/limits")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Max file size 0 0", "Max core file size 0 0", "Max data size 3221225472 3221225472"} {
		if !strings.Contains(strings.Join(strings.Fields(string(limits)), " "), want) {
			t.Errorf("limits are\n%s\nwant %q", limits, want)
		}
	}
	if canUnshare() {
		devices, err := os.ReadFile(proc + "/net/dev")
		if err != nil || strings.Contains(string(devices), "eth") || strings.Count(string(devices), ":") > 1 {
			t.Errorf("it sees the network: %s %v", devices, err)
		}
	}
	environ, _ := os.ReadFile(proc + "/environ")
	if bytes.Contains(environ, []byte("HOME=")) {
		t.Errorf("it has our environment: %q", environ)
	}
	cancel()
	<-done
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the process outlives its broadcast: %v", err)
	}
}

// processIn finds the child that works in folder.
func processIn(t *testing.T, folder string) int {
	t.Helper()
	all, _ := filepath.Glob("/proc/[0-9]*/cwd")
	for _, link := range all {
		if dir, err := os.Readlink(link); err == nil && dir == folder {
			pid, _ := strconv.Atoi(strings.Split(link, "/")[2])
			return pid
		}
	}
	t.Fatalf("no process works in %s", folder)
	return 0
}
