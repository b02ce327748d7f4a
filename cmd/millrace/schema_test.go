package main

import (
	"database/sql"
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
	raw, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	for _, query := range []string{"DELETE FROM migrations WHERE version >= 17", "ALTER TABLE sessions DROP COLUMN lost", "ALTER TABLE nodes DROP COLUMN credentials"} {
		if _, err := raw.ExecContext(t.Context(), query); err != nil {
			t.Fatal(err)
		}
	}
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
