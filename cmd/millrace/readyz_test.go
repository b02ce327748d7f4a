package main

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/millrace/millrace/internal/logs/logstest"
	"github.com/millrace/millrace/internal/rtmp"
)

// health asks for /healthz or /readyz.
func health(t *testing.T, address string) (status int, body healthBody) {
	t.Helper()
	status, _, text := get(t, address)
	if err := json.Unmarshal(text, &body); err != nil {
		t.Fatalf("%s: %d %q: %v", address, status, text, err)
	}
	return status, body
}

// waitFailing waits until /readyz fails by exactly one check, which then says
// why, and checks that /healthz does not fail.
func (s *server) waitFailing(name, why string) {
	s.t.Helper()
	wait(s.t, "/readyz to fail by "+name, func() bool {
		status, body := health(s.t, s.api+"/readyz")
		return status == http.StatusServiceUnavailable && strings.Contains(body.Checks[name], why)
	})
	if status, body := health(s.t, s.api+"/healthz"); status != http.StatusOK {
		s.t.Errorf("/healthz fails by %v, which a restart does not repair", body)
	}
	if status, body := health(s.t, s.api+"/readyz/playback"); status != http.StatusOK || len(body.Checks) == 0 {
		s.t.Errorf("/readyz/playback fails by %v, which viewers do not need", body)
	}
}

func (s *server) waitReady() {
	s.t.Helper()
	wait(s.t, "/readyz to be ok", func() bool {
		status, body := health(s.t, s.api+"/readyz")
		return status == http.StatusOK && body.Status == "ok"
	})
}

// /readyz names what does not work, and is well again when that works again.
func TestReadiness(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	s.waitReady()

	away := s.data + ".away"
	if err := os.Rename(s.data, away); err != nil {
		t.Fatal(err)
	}
	s.waitFailing("disk", "no such file")
	if err := os.Rename(away, s.data); err != nil {
		t.Fatal(err)
	}
	s.waitReady()

	db, err := sql.Open("sqlite", filepath.Join(s.data, "millrace.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	lock, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	for _, q := range []string{"PRAGMA busy_timeout = 60000", "BEGIN IMMEDIATE"} {
		if _, err := lock.ExecContext(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	s.waitFailing("database", "")
	if _, err := lock.ExecContext(context.WithoutCancel(t.Context()), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	s.waitReady()
}

// startWithPipe starts a server that logs into a small pipe, and returns the end
// to read from, after the line that says that it is ready.
func startWithPipe(t *testing.T, flags ...string) (*server, *os.File) {
	t.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reader.Close() })
	if err := shrinkPipe(writer); err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, data: filepath.Join(t.TempDir(), "data"), log: &logstest.Buffer{}, exited: make(chan struct{})}
	s.process = millrace(append([]string{"serve", "--data", s.data, "--http", "127.0.0.1:0", "--rtmp", "127.0.0.1:0", "--rtmps", "127.0.0.1:0",
		"--access-key-id", testKey, "--secret-access-key", testSecret}, flags...)...)
	s.process.Stderr = writer
	if err := s.process.Start(); err != nil {
		t.Fatal(err)
	}
	writer.Close()
	go func() { s.process.Wait(); close(s.exited) }()
	t.Cleanup(s.stop)
	for lines := bufio.NewScanner(reader); s.api == "" && lines.Scan(); {
		if m := readyLine.FindStringSubmatch(lines.Text()); m != nil {
			s.api, s.rtmp, s.rtmps = m[1], m[2], m[3]
		}
	}
	if s.api == "" {
		t.Fatal("the server does not say that it is ready")
	}
	return s, reader
}

// refused publishes with an unknown key.
func (s *server) refused(t *testing.T) {
	t.Helper()
	client, err := rtmp.Dial(t.Context(), rtmpURL(s.rtmp, "sk_us-west-2_nosuchkey123_x"), nil)
	if err == nil {
		client.Close()
		t.Error("an encoder with an unknown key was let in")
	}
}

// A reader of the log that stalls costs log lines: encoders and API calls are
// answered, /readyz names it, and a stop works.
func TestLogStalls(t *testing.T) {
	t.Parallel()
	s, reader := startWithPipe(t, "--log-level", "debug")
	wait(t, "/readyz to name the log", func() bool {
		s.refused(t)
		_, body := health(t, s.api+"/readyz")
		return strings.Contains(body.Checks["log"], "stalled")
	})
	s.refused(t)
	if status, body := health(t, s.api+"/healthz"); status != http.StatusOK {
		t.Errorf("/healthz fails by %v", body)
	}
	s.process.Process.Signal(syscall.SIGTERM)
	<-s.exited
	if code := s.process.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit status %d", code)
	}
	reader.Close()
}

// A reader of the log that leaves stops nothing, and what was not
// written is counted. Refusals are written at a bounded rate.
func TestLogReaderLeaves(t *testing.T) {
	t.Parallel()
	s, reader := startWithPipe(t)
	go io.Copy(io.Discard, reader)
	for range 40 {
		s.refused(t)
	}
	wait(t, "refusals to be left out of the log", func() bool {
		_, _, body := get(t, s.api+"/metrics")
		return metric(t, body, `millrace_log_lines_dropped_total{reason="limit"}`) > 0
	})
	reader.Close()
	wait(t, "a line to be dropped", func() bool {
		s.refused(t)
		_, _, body := get(t, s.api+"/metrics")
		return metric(t, body, `millrace_log_lines_dropped_total{reason="slow"}`) > 0
	})
	s.waitFailing("log", "broken pipe")
	s.process.Process.Signal(syscall.SIGTERM)
	<-s.exited
	if code := s.process.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit status %d: %v", code, s.process.ProcessState)
	}
}
