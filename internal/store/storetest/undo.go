package storetest

import (
	"database/sql"
	"testing"
)

// undo has what undoes each migration from undoFrom on, in their order. Each new one comes
// to it.
var undo = []string{
	"ALTER TABLE sessions DROP COLUMN lost",
	"ALTER TABLE nodes DROP COLUMN credentials",
}

// undoFrom is the number of a migration that changes the table sessions.
const undoFrom = 17

// Undo undoes migration 17, which changes the table sessions, and those after it, in a
// PostgreSQL database.
func Undo(t testing.TB, dsn string) {
	t.Helper()
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var newest int
	if err := db.QueryRowContext(t.Context(), "SELECT MAX(version) FROM migrations").Scan(&newest); err != nil {
		t.Fatal(err)
	}
	if want := undoFrom + len(undo) - 1; newest != want {
		t.Fatalf("the newest migration is %d, and storetest can undo %d to %d: add to undo in undo.go what undoes the others", newest, undoFrom, want)
	}
	for i := len(undo) - 1; i >= 0; i-- {
		if _, err := db.ExecContext(t.Context(), undo[i]); err != nil {
			t.Fatalf("%s: %v", undo[i], err)
		}
	}
	if _, err := db.ExecContext(t.Context(), "DELETE FROM migrations WHERE version >= $1", undoFrom); err != nil {
		t.Fatal(err)
	}
}
