package main

import (
	"database/sql"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A disk that takes no more of SQLite's log is no reason to cut a stream. The
// kernel refuses the writes: files may not grow beyond what that log has already.
func TestFullDisk(t *testing.T) {
	t.Parallel() // it mostly waits
	s := startServer(t, "")
	db, err := sql.Open("sqlite", filepath.Join(s.data, "millrace.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	reader, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	exec := func(q string) {
		t.Helper()
		if _, err := reader.ExecContext(t.Context(), q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
	fileSize := func(limit uint64) {
		t.Helper()
		if err := unix.Prlimit(s.process.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: limit, Max: unix.RLIM_INFINITY}, nil); err != nil {
			t.Fatal(err)
		}
	}
	const full = 2 << 20                                   // more than a segment, which is a file as well
	testUnreachableDatabase(t, s, 17*time.Second, func() { // longer than a lease
		exec("PRAGMA busy_timeout = 60000")
		exec("BEGIN")
		exec("SELECT count(*) FROM channels") // the log cannot begin again from its start
		if _, err := db.ExecContext(t.Context(), "PRAGMA busy_timeout = 60000; CREATE TABLE filler AS SELECT zeroblob(3000000)"); err != nil {
			t.Fatal(err)
		}
		if log, err := os.Stat(filepath.Join(s.data, "millrace.db-wal")); err != nil || log.Size() < full {
			t.Fatalf("the log has %d bytes, %v", log.Size(), err)
		}
		fileSize(full)
	}, func() {
		fileSize(unix.RLIM_INFINITY)
		exec("ROLLBACK")
	})
	var result string
	if err := db.QueryRowContext(t.Context(), "PRAGMA quick_check").Scan(&result); err != nil || result != "ok" {
		t.Errorf("quick_check: %s, %v", result, err)
	}
}
