package logs

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

const patience = 90 * time.Second

// start runs a Writer on one end of a pipe. stop ends it.
func start(t *testing.T) (w *Writer, reader *os.File, stop func()) {
	t.Helper()
	reader, file, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	w = NewWriter(file)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); w.Run(ctx) }()
	stop = func() { cancel(); <-done; file.Close() }
	t.Cleanup(func() { stop(); reader.Close() })
	return w, reader, stop
}

func wait(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %v for %s", patience, what)
		}
	}
}

// Lines come out in order, long ones cut, and those that are queued at the end
// are still written.
func TestLines(t *testing.T) {
	w, reader, stop := start(t)
	long := strings.Repeat("x", 2*maxLine) + "\n"
	fmt.Fprint(w, long)
	for n := range 100 {
		fmt.Fprintf(w, "line %d\n", n)
	}
	out := make(chan []byte)
	go func() { b, _ := io.ReadAll(reader); out <- b }()
	stop()
	lines := strings.Split(string(<-out), "\n")
	if len(lines) != 102 || lines[100] != "line 99" || lines[101] != "" {
		t.Fatalf("%d lines, the last are %q", len(lines), lines[max(0, len(lines)-3):])
	}
	if len(lines[0])+1 != maxLine || !strings.HasSuffix(lines[0], "x…") {
		t.Errorf("a line of %d bytes became one of %d", len(long), len(lines[0])+1)
	}
	if w.Dropped() != 0 || w.Err() != nil {
		t.Errorf("%d lines dropped, %v", w.Dropped(), w.Err())
	}
}

// A reader that stalls costs lines and no time. When it reads again it learns
// how many it missed, and the rest follows.
func TestStalledReader(t *testing.T) {
	w, reader, stop := start(t)
	line := []byte(strings.Repeat("y", 1023) + "\n")
	for range 3 * queueLines {
		w.Write(line)
	}
	dropped := w.Dropped()
	if dropped == 0 {
		t.Fatal("no line was dropped")
	}
	wait(t, "the stall to be noticed", func() bool { return w.Err() != nil })
	if got := w.Err().Error(); !strings.Contains(got, "stalled") {
		t.Errorf("Err() = %s", got)
	}
	// The log may say it in several lines: the pipe takes some before it is full.
	if err := reader.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	var said uint64
	lines := bufio.NewScanner(reader)
	for said < dropped && lines.Scan() {
		if _, n, ok := strings.Cut(lines.Text(), " lines="); ok && strings.Contains(lines.Text(), "dropped") {
			more, err := strconv.ParseUint(n, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			said += more
		}
	}
	if said != dropped {
		t.Errorf("%d lines were dropped; the log says %d: %v", dropped, said, lines.Err())
	}
	if err := reader.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, reader)
	wait(t, "the log to continue", func() bool { return w.Err() == nil })
	stop()
	if w.Dropped() != dropped {
		t.Errorf("%d lines dropped while the reader read", w.Dropped()-dropped)
	}
}

// A reader that never reads again does not hold up the end.
func TestStopWhileStalled(t *testing.T) {
	w, _, stop := start(t)
	line := []byte(strings.Repeat("z", 1023) + "\n")
	for range queueLines {
		w.Write(line)
	}
	began := time.Now()
	stop()
	if took := time.Since(began); took > patience {
		t.Errorf("the end took %v", took)
	}
	if w.Dropped() == 0 {
		t.Error("no line was counted as dropped")
	}
}

// The reader's end is an error that is counted, not the end of the program.
func TestReaderGone(t *testing.T) {
	signal.Ignore(syscall.SIGPIPE)
	defer signal.Reset(syscall.SIGPIPE)
	w, reader, stop := start(t)
	reader.Close()
	fmt.Fprintln(w, "nobody reads this")
	wait(t, "the line to be counted", func() bool { return w.Dropped() == 1 })
	wait(t, "the error", func() bool { return w.Err() != nil })
	if !strings.Contains(w.Err().Error(), "broken pipe") {
		t.Errorf("Err() = %v", w.Err())
	}
	stop()
}

// Limit passes on a burst, then some a second, and counts the rest; other messages pass.
func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		w := NewWriter(os.Stderr) // for its count alone
		log := slog.New(w.Limit(slog.NewTextHandler(&out, nil), "refused")).With("remote", "x")
		for range 100 {
			log.Info("refused")
		}
		for range 100 {
			log.Info("ours")
		}
		time.Sleep(time.Second)
		for range 100 {
			log.Info("refused")
		}
		if n := strings.Count(out.String(), "msg=refused"); n != limitBurst+limitRate {
			t.Errorf("%d lines of 200, want %d", n, limitBurst+limitRate)
		}
		if strings.Count(out.String(), "msg=ours") != 100 || !strings.Contains(out.String(), fmt.Sprintf("omitted=%d", 100-limitBurst)) {
			t.Errorf("logged:\n%s", out.String())
		}
		if got := w.Omitted(); got != 200-limitBurst-limitRate {
			t.Errorf("Omitted() = %d", got)
		}
	})
}

// Stream keys and playback tokens do not get into the log, in whatever they stand.
func TestSecretsAreMasked(t *testing.T) {
	const key = "sk_us-west-2_AbCd12345678_EfGh9012345678901234567890ab"
	const jwt = "eyJhbGciOiJFUzM4NCJ9.eyJleHAiOjF9.c2lnbmF0dXJl_-"
	for line, want := range map[string]string{
		key:                                      "sk_…",
		"path=/app/" + key + " x":                "path=/app/sk_… x",
		"path=%2fapp%2f" + key + "%3Fpriority=1": "path=%2fapp%2fsk_…%3Fpriority=1",
		"path=%2Fapp%2F" + key:                   "path=%2Fapp%2Fsk_…",
		`reason="` + key + `: unknown" b=` + key: `reason="sk_…: unknown" b=sk_…`,
		"url=/x.m3u8?token=" + jwt + "&a=b":      "url=/x.m3u8?token=eyJ…&a=b",
		"disk_full_for_us=1 task_a_b=2":          "disk_full_for_us=1 task_a_b=2",
		"sk_ eyJ risk_":                          "sk_ eyJ risk_",
	} {
		if got := string(masked([]byte(line))); got != want {
			t.Errorf("%q became %q, want %q", line, got, want)
		}
	}
	w, reader, stop := start(t)
	fmt.Fprintln(w, "publish refused", key)
	out := make(chan []byte)
	go func() { b, _ := io.ReadAll(reader); out <- b }()
	stop()
	if got := string(<-out); got != "publish refused sk_…\n" {
		t.Errorf("written %q", got)
	}
}
