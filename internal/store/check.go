package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// quickCheck rejects a SQLite file that is truncated, damaged, or not of Millrace,
// before anything is written to it. PostgreSQL checks its own files.
func (db *DB) quickCheck(ctx context.Context) error {
	if db.dialect.dollars {
		return nil
	}
	found, err := collect(ctx, db, scanString, "PRAGMA quick_check(10)")
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		switch e.Code() & 0xff { // the rest of the code says why
		case sqlite3.SQLITE_NOTADB:
			return errors.New("the file is not a SQLite database: move it away to begin with an empty one, or restore a backup")
		case sqlite3.SQLITE_CORRUPT:
			return errDamaged(err.Error())
		}
	}
	if err != nil {
		return fmt.Errorf("check the file: %w", err)
	}
	if len(found) != 1 || found[0] != "ok" {
		return errDamaged(strings.Join(found, "; "))
	}
	tables, err := collect(ctx, unprepared{db}, scanString, "SELECT name FROM sqlite_schema WHERE type = 'table'")
	if err != nil {
		return fmt.Errorf("read the schema: %w", err)
	}
	if len(tables) > 0 && !strings.Contains(" "+strings.Join(tables, " ")+" ", " migrations ") {
		return fmt.Errorf("the database belongs to another program (it has a table %q): name another file", tables[0])
	}
	return nil
}

func errDamaged(what string) error {
	return fmt.Errorf("the database is damaged (%s): restore a backup, or save what can be saved with sqlite3's .recover. The file has not been changed", what)
}
