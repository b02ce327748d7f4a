package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"embed"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Migrations are numbered from 0001 without gaps. A published one never changes.
//
//go:embed migrations/*.sql
var migrations embed.FS

// migratePatiently retries migrate while other processes open the same new SQLite file:
// while one of them switches the journal to WAL, the others get SQLITE_BUSY immediately,
// whatever their busy_timeout.
func (db *DB) migratePatiently(ctx context.Context) error {
	const tries, pause = 200, 20 * time.Millisecond
	for try := 1; ; try++ {
		err := db.migrate(ctx)
		if err == nil || !isBusy(err) || try == tries {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
}

// migrate runs the pending migrations in one transaction, and reads the settings that
// all nodes share.
func (db *DB) migrate(ctx context.Context) error {
	return db.update(ctx, func(t *tx) error {
		if t.dialect.migrateLock != "" {
			if _, err := t.exec(ctx, t.dialect.migrateLock); err != nil {
				return fmt.Errorf("lock for migration: %w", err)
			}
		}
		if err := t.migrate(ctx); isLocked(err) {
			return fmt.Errorf("%w: %w", ErrSchemaLocked, err)
		} else if err != nil {
			return err
		}
		var err error
		db.tokenKey, err = t.loadTokenKey(ctx)
		return err
	})
}

func (t *tx) migrate(ctx context.Context) error {
	if _, err := t.exec(ctx, "CREATE TABLE IF NOT EXISTS migrations (version BIGINT PRIMARY KEY)"); err != nil {
		return fmt.Errorf("create migrations table: %w", err)
	}
	done, _, err := one(ctx, t, scanInt, "SELECT COALESCE(MAX(version), 0) FROM migrations")
	if err != nil {
		return fmt.Errorf("read schema version: %w", err)
	}
	files, err := migrations.ReadDir("migrations")
	if err != nil {
		return err
	}
	if done > int64(len(files)) {
		return t.checkNewer(ctx, done, int64(len(files)))
	}
	for i, f := range files[done:] {
		version := done + int64(i) + 1
		if !strings.HasPrefix(f.Name(), fmt.Sprintf("%04d_", version)) {
			return fmt.Errorf("migration %s has the place of number %d", f.Name(), version)
		}
		if err := t.apply(ctx, version, f.Name()); err != nil {
			return fmt.Errorf("migration %s: %w", f.Name(), err)
		}
	}
	return nil
}

// checkNewer accepts a database with migrations that this program does not know, if
// these have only added to the schema.
func (t *tx) checkNewer(ctx context.Context, done, known int64) error {
	minimum, ok, err := one(ctx, t, scanInt, "SELECT CAST(value AS BIGINT) FROM settings WHERE name = 'schema_minimum'")
	if err != nil {
		return fmt.Errorf("read the lowest schema version that will do: %w", err)
	}
	if !ok || known < minimum {
		return fmt.Errorf("the database has schema version %d, and this program knows only %d: it was written by a newer version", done, known)
	}
	return nil
}

func (t *tx) apply(ctx context.Context, version int64, name string) error {
	number, _, _ := strings.Cut(name, "_")
	if n, err := strconv.ParseInt(number, 10, 64); err != nil || n != version {
		return fmt.Errorf("expected number %04d", version)
	}
	text, err := migrations.ReadFile("migrations/" + name)
	if err != nil {
		return err
	}
	// Without parameters, both drivers run a text of several statements.
	if _, err := t.ExecContext(ctx, strings.ReplaceAll(string(text), "{{serial}}", t.dialect.serial)); err != nil {
		return err
	}
	_, err = t.exec(ctx, "INSERT INTO migrations (version) VALUES (?)", version)
	return err
}

// loadTokenKey reads the key that signs page tokens, and creates it at first use.
func (t *tx) loadTokenKey(ctx context.Context) ([]byte, error) {
	const q = "SELECT value FROM settings WHERE name = 'token_key'"
	s, ok, err := one(ctx, t, scanString, q)
	if err != nil {
		return nil, fmt.Errorf("read token key: %w", err)
	}
	if !ok {
		key := make([]byte, 32)
		rand.Read(key) // never fails
		s = hex.EncodeToString(key)
		if _, err := t.exec(ctx, "INSERT INTO settings (name, value) VALUES ('token_key', ?)", s); err != nil {
			return nil, fmt.Errorf("write token key: %w", err)
		}
	}
	key, err := hex.DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("token key: %w", err)
	}
	return key, nil
}

func scanInt(rows *sql.Rows) (n int64, err error) {
	err = rows.Scan(&n)
	return n, err
}

func scanString(rows *sql.Rows) (s string, err error) {
	err = rows.Scan(&s)
	return s, err
}
