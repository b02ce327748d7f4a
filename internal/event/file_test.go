package event_test

import (
	"encoding/json"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	must(t, os.WriteFile(path, []byte(`{"cut":`), 0o600)) // as a loss of power leaves it
	f := target(t, "f=file:"+path)
	send := func() {
		t.Helper()
		if sent, err := f.Sender.Send(t.Context(), oneEvent); sent != 1 || err != nil {
			t.Fatalf("Send = %d, %v", sent, err)
		}
	}
	send()
	send()
	must(t, f.Sender.Flush())
	must(t, os.Rename(path, path+".1"))
	send()
	must(t, f.Sender.Flush(), f.Sender.Flush())

	line, err := json.Marshal(oneEvent[0])
	must(t, err)
	for name, want := range map[string][]string{path + ".1": {`{"cut":`, string(line), string(line), ""}, path: {string(line), ""}} {
		got, err := os.ReadFile(name)
		if err != nil || string(got) != strings.Join(want, "\n") {
			t.Errorf("%s has %q, %v", name, got, err)
		}
	}

	must(t, os.Remove(path), os.Mkdir(path, 0o700))
	if sent, err := f.Sender.Send(t.Context(), oneEvent); sent != 0 || err == nil {
		t.Errorf("Send to what is a folder now = %d, %v", sent, err)
	}
}

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
