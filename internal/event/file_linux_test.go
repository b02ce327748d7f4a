package event_test

import (
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A disk that becomes full in the middle of an event takes nothing of it: the
// file never has half a line.
func TestFileOnFullDisk(t *testing.T) {
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

	signal.Ignore(syscall.SIGXFSZ) // the write fails instead
	defer signal.Reset(syscall.SIGXFSZ)
	var limit unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_FSIZE, &limit))
	full := limit
	full.Cur = uint64(len(before) + 10)
	must(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &full))
	sent, err := f.Sender.Send(t.Context(), oneEvent)
	must(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &limit))
	if sent != 0 || err == nil {
		t.Errorf("Send to a full disk = %d, %v", sent, err)
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("the file has %q, %v; before it had %q", after, err, before)
	}
}
