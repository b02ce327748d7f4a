package event_test

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// withStdout makes a pipe the standard output while a target is made.
func withStdout(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	must(t, err)
	old := os.Stdout
	os.Stdout = w
	t.Cleanup(func() { os.Stdout = old; r.Close(); w.Close() })
	return r, w
}

func TestStdout(t *testing.T) {
	r, w := withStdout(t)
	out := target(t, "out=stdout")
	if sent, err := out.Sender.Send(t.Context(), append(oneEvent, oneEvent...)); sent != 2 || err != nil {
		t.Fatalf("Send = %d, %v", sent, err)
	}
	must(t, out.Sender.Flush())
	line, err := json.Marshal(oneEvent[0])
	must(t, err)
	lines := bufio.NewScanner(r)
	for range 2 {
		if !lines.Scan() || lines.Text() != string(line) {
			t.Errorf("read %q, want %s", lines.Text(), line)
		}
	}

	// Without a reader the pipe fills, and Send gives up with its context. What
	// it said to have sent, and nothing else, is in the pipe.
	var sent int
	for err == nil {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		var n int
		n, err = out.Sender.Send(ctx, append(oneEvent, oneEvent...))
		cancel()
		sent += n
	}
	if !strings.Contains(err.Error(), "no answer: standard output") || sent < 20 {
		t.Errorf("with a reader that sleeps %d events were sent, then: %v", sent, err)
	}
	for range sent {
		if !lines.Scan() || lines.Text() != string(line) {
			t.Fatalf("read %q, want %s", lines.Text(), line)
		}
	}

	// The reader is gone: an error, not the end of the program.
	must(t, r.Close(), w.Close())
	if n, err := out.Sender.Send(t.Context(), oneEvent); n != 0 || err == nil || !strings.Contains(err.Error(), syscall.EPIPE.Error()) {
		t.Errorf("Send without a reader = %d, %v", n, err)
	}
}

// A disk that is full is a target that is down.
func TestFullDisk(t *testing.T) {
	if sent, err := target(t, "f=file:/dev/full").Sender.Send(t.Context(), oneEvent); sent != 0 || err == nil || !strings.HasPrefix(err.Error(), "no answer: ") {
		t.Errorf("Send to a full disk = %d, %v", sent, err)
	}
}
