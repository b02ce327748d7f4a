package main

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/store/storetest"
)

// A server that has to change the schema waits for other clients of the database, and
// says so.
func TestSchemaLocked(t *testing.T) {
	t.Parallel()
	dsn := storetest.Postgres(t)
	storetest.Open(t, dsn)
	storetest.Undo(t, dsn)
	backup := storetest.Hold(t, dsn, "SELECT 1 FROM sessions")
	said := make(lines, 100)
	opened := make(chan error, 1)
	go func() {
		db, err := openDatabase(t.Context(), dsn, slog.New(slog.NewTextHandler(said, nil)))
		if err == nil {
			err = db.Close()
		}
		opened <- err
	}()
	select {
	case line := <-said:
		if !strings.Contains(line, "waiting to change the schema") || !strings.Contains(line, "as a backup or a report") {
			t.Errorf("it says %q", line)
		}
	case err := <-opened:
		t.Fatalf("it does not wait: %v", err)
	}
	backup.Release()
	if err := <-opened; err != nil {
		t.Error(err)
	}
}

// lines are those of a log.
type lines chan string

func (l lines) Write(b []byte) (int, error) { l <- string(b); return len(b), nil }
