package store

import (
	"context"
	"time"
)

// ProbeWrite reports whether the database takes a write now, onto its disk.
func (db *DB) ProbeWrite(ctx context.Context) (err error) {
	defer wrap(&err, "ProbeWrite")
	return db.update(ctx, func(t *tx) error {
		_, err := t.exec(ctx, `INSERT INTO settings (name, value) VALUES ('probe', ?)
			ON CONFLICT (name) DO UPDATE SET value = excluded.value`, time.Now().UTC().Format(time.RFC3339Nano))
		return err
	})
}
