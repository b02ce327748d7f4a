package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/millrace/millrace/internal/ivs"
)

// A Secret is shared by all nodes.
type Secret struct {
	Value    string
	Previous string        // before the last rotation; "" if there was none
	Age      time.Duration // since the last rotation, by the database's clock; without meaning if there was none
}

func scanSecret(rows *sql.Rows) (s Secret, err error) {
	var age int64
	err = rows.Scan(&s.Value, &s.Previous, &age)
	s.Age = time.Duration(age) * time.Millisecond
	return s, err
}

// Secret returns the secret of that name. The first call on any node stores the result of
// create.
func (db *DB) Secret(ctx context.Context, name string, create func() string) (s Secret, err error) {
	defer wrap(&err, "Secret(%s)", name)
	q := secretQuery(db.dialect)
	s, ok, err := one(ctx, db, scanSecret, q, name)
	if err != nil || ok {
		return s, err
	}
	err = db.update(ctx, func(t *tx) error {
		if _, err := t.exec(ctx, "INSERT INTO secrets (name, value, previous, rotated_at) VALUES (?, ?, '', 0) ON CONFLICT (name) DO NOTHING", name, create()); err != nil {
			return err
		}
		s, _, err = one(ctx, t, scanSecret, q, name)
		return err
	})
	return s, err
}

// RotateSecret replaces the secret of that name, which stays as the previous one. There is
// room for one, so it returns Conflict while the last rotation is less than kept ago. It
// returns NotFound if there is no such secret.
func (db *DB) RotateSecret(ctx context.Context, name, value string, kept time.Duration) (err error) {
	defer wrap(&err, "RotateSecret(%s)", name)
	return db.update(ctx, func(t *tx) error {
		n, err := t.exec(ctx, "UPDATE secrets SET previous = value, value = ?, rotated_at = "+t.dialect.now+" WHERE name = ? AND (previous = '' OR rotated_at <= "+t.dialect.now+" - ?)",
			value, name, kept.Milliseconds())
		if err != nil || n > 0 {
			return err
		}
		s, ok, err := one(ctx, t, scanSecret, secretQuery(t.dialect), name)
		if err == nil && !ok {
			err = ivs.Errorf(ivs.NotFound, "There is no secret %s", name)
		}
		if err == nil {
			err = ivs.Errorf(ivs.Conflict, "The secret %s was rotated %v ago. The previous value is accepted until %v after that, and what it signed would not be any more: rotate the secret again then", name, s.Age.Round(time.Minute), kept)
		}
		return err
	})
}

func secretQuery(d dialect) string {
	return "SELECT value, previous, " + d.now + " - rotated_at FROM secrets WHERE name = ?"
}
