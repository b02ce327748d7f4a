package event_test

import (
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A disk that becomes full in the middle of an event takes nothing of it: the
// file never has half a line.
//
// The limit counts for a whole process, and the test binary writes files of its
// own (the log of what a cached result depends on): the test runs in a child.
func TestFileOnFullDisk(t *testing.T) {
	const child = "MILLRACE_TEST_FULL_DISK"
	if os.Getenv(child) == "" {
		c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFileOnFullDisk$", "-test.v")
		c.Env = append(os.Environ(), child+"=1")
		out, err := c.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: TestFileOnFullDisk") {
			t.Errorf("%v: %v\n%s", c, err, out)
		}
		return
	}
	path := filepath.Join(t.TempDir(), "events.jsonl")
	f := target(t, "f=file:"+path)
	for range 2 {
		if _, err := f.Sender.Send(t.Context(), oneEvent); err != nil {
			t.Fatal(err)
		}
	}
	must(t, f.Sender.Flush())
	before, err := os.ReadFile(path)
	must(t, err)

	setFileSizeLimit(t, uint64(len(before)+10))
	if sent, err := f.Sender.Send(t.Context(), oneEvent); sent != 0 || err == nil {
		t.Errorf("Send to a full disk = %d, %v", sent, err)
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("the file has %q, %v; before it had %q", after, err, before)
	}
}

// setFileSizeLimit lets no file of this process grow beyond the limit; the write fails.
func setFileSizeLimit(t *testing.T, limit uint64) {
	t.Helper()
	signal.Ignore(syscall.SIGXFSZ)
	var l unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_FSIZE, &l))
	l.Cur = limit
	must(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &l))
}
