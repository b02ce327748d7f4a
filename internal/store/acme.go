package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/base64"
	"io/fs"
	"strings"
	"time"
	"unicode/utf8"
)

// An ACMEValue is the value of a key: a certificate, a private key, an account or a
// challenge.
type ACMEValue struct {
	Key      string // a path, without a slash at either end
	Value    []byte
	Modified time.Time
}

// inBase64 begins the column of a value that is not text, such as an OCSP response:
// PostgreSQL accepts only UTF-8 without zeros as text.
const inBase64 = "base64:"

func scanACME(rows *sql.Rows) (v ACMEValue, err error) {
	var text string
	var modified int64
	if err = rows.Scan(&v.Key, &text, &modified); err != nil {
		return v, err
	}
	v.Modified = time.UnixMilli(modified)
	if coded, ok := strings.CutPrefix(text, inBase64); ok {
		v.Value, err = base64.StdEncoding.DecodeString(coded)
		return v, err
	}
	v.Value = []byte(text)
	return v, nil
}

func acmeColumn(value []byte) string {
	if !utf8.Valid(value) || bytes.IndexByte(value, 0) >= 0 || bytes.HasPrefix(value, []byte(inBase64)) {
		return inBase64 + base64.StdEncoding.EncodeToString(value)
	}
	return string(value)
}

// PutACME sets the value of a key.
func (db *DB) PutACME(ctx context.Context, key string, value []byte) (err error) {
	defer wrap(&err, "PutACME(%s)", key)
	return db.update(ctx, func(t *tx) error {
		_, err := t.exec(ctx, `INSERT INTO acme (key, value, modified_at) VALUES (?, ?, ?)
			ON CONFLICT (key) DO UPDATE SET value = excluded.value, modified_at = excluded.modified_at`, key, acmeColumn(value), millis(time.Now()))
		return err
	})
}

// ACME returns the value of a key, or fs.ErrNotExist.
func (db *DB) ACME(ctx context.Context, key string) (v ACMEValue, err error) {
	defer wrap(&err, "ACME(%s)", key)
	v, ok, err := one(ctx, db, scanACME, "SELECT key, value, modified_at FROM acme WHERE key = ?", key)
	if err == nil && !ok {
		err = fs.ErrNotExist
	}
	return v, err
}

// ListACME returns the keys below a folder, "" for all, in order.
func (db *DB) ListACME(ctx context.Context, folder string) (keys []string, err error) {
	defer wrap(&err, "ListACME(%s)", folder)
	if folder == "" {
		return collect(ctx, db, scanString, "SELECT key FROM acme ORDER BY key")
	}
	prefix := folder + "/"
	return collect(ctx, db, scanString, "SELECT key FROM acme WHERE substr(key, 1, ?) = ? ORDER BY key", len([]rune(prefix)), prefix)
}

// DeleteACME deletes a key, and all below it.
func (db *DB) DeleteACME(ctx context.Context, key string) (err error) {
	defer wrap(&err, "DeleteACME(%s)", key)
	prefix := key + "/"
	return db.update(ctx, func(t *tx) error {
		_, err := t.exec(ctx, "DELETE FROM acme WHERE key = ? OR substr(key, 1, ?) = ?", key, len([]rune(prefix)), prefix)
		return err
	})
}

// LockACME acquires or extends a lock for owner; it expires by the clock of the
// database. It reports whether owner holds the lock.
func (db *DB) LockACME(ctx context.Context, name, owner string, lease time.Duration) (ok bool, err error) {
	defer wrap(&err, "LockACME(%s)", name)
	err = db.update(ctx, func(t *tx) error {
		n, err := t.exec(ctx, "INSERT INTO acme_locks (name, owner, expires_at) VALUES (?, ?, "+t.dialect.now+` + ?)
			ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, expires_at = excluded.expires_at
			WHERE acme_locks.owner = excluded.owner OR acme_locks.expires_at < `+t.dialect.now, name, owner, lease.Milliseconds())
		ok = n > 0
		return err
	})
	return ok, err
}

// UnlockACME releases a lock of owner.
func (db *DB) UnlockACME(ctx context.Context, name, owner string) (err error) {
	defer wrap(&err, "UnlockACME(%s)", name)
	return db.update(ctx, func(t *tx) error {
		_, err := t.exec(ctx, "DELETE FROM acme_locks WHERE name = ? AND owner = ?", name, owner)
		return err
	})
}
