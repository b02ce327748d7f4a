package store

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"slices"

	"github.com/millrace/millrace/internal/ivs"
)

// A SessionChange is an update of a live session: its current health, the events since the
// last update, and its encoder's configuration.
type SessionChange struct {
	StreamID string
	Health   string                    // such as ivs.HealthStarving
	Events   []Event                   // oldest first
	Ingest   *ivs.IngestConfigurations // nil if unchanged
}

// ChangeSessions records changes, one of each session and each as a whole. It does nothing
// for a session whose encoder has left.
func (db *DB) ChangeSessions(ctx context.Context, changes []SessionChange) (err error) {
	defer wrap(&err, "ChangeSessions(%d)", len(changes))
	changes = slices.SortedStableFunc(slices.Values(changes), func(a, b SessionChange) int { return cmp.Compare(a.StreamID, b.StreamID) })
	for batch := range slices.Chunk(changes, sessionBatch) {
		err := db.update(ctx, func(t *tx) error {
			for _, c := range batch {
				if err := t.changeSession(ctx, c); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) changeSession(ctx context.Context, c SessionChange) error {
	s, err := t.session(ctx, c.StreamID)
	if err != nil || s.leftAt != 0 || s.endedAt != 0 {
		return err
	}
	if _, err := t.exec(ctx, "UPDATE sessions SET health = ? WHERE stream_id = ?", c.Health, c.StreamID); err != nil {
		return err
	}
	if c.Ingest != nil {
		if _, err := t.exec(ctx, "UPDATE sessions SET ingest = ? WHERE stream_id = ?", asJSON{c.Ingest}, c.StreamID); err != nil {
			return err
		}
	}
	for _, e := range c.Events {
		if err := t.insertEvent(ctx, s, e); err != nil {
			return err
		}
	}
	return nil
}

// checkOpen returns QuotaExceeded if more than limit sessions of the account and region
// are open. It also counts sessions that other transactions are opening.
func (t *tx) checkOpen(ctx context.Context, account, region string, limit int) error {
	if limit <= 0 {
		return nil
	}
	if t.dialect.dollars { // SQLite has one writer at a time
		if _, err := t.exec(ctx, "SELECT pg_advisory_xact_lock(hashtext(?))", "sessions of "+account+" "+region); err != nil {
			return err
		}
	}
	n, _, err := one(ctx, t, scanInt, "SELECT COUNT(*) FROM sessions WHERE account = ? AND region = ? AND ended_at = 0", account, region)
	if err == nil && n > int64(limit) {
		err = ivs.Errorf(ivs.QuotaExceeded, "%d streams are live, which is the limit", limit)
	}
	return err
}

// A ScopeCount is a number for each account and region that has one.
type ScopeCount map[Scope]int

// Views returns how many viewers the live streams of other nodes have.
func (db *DB) Views(ctx context.Context, exceptOwner string) (_ ScopeCount, err error) {
	defer wrap(&err, "Views")
	type row struct {
		scope Scope
		views int
	}
	rows, err := collect(ctx, db, func(rows *sql.Rows) (r row, err error) {
		err = rows.Scan(&r.scope.Account, &r.scope.Region, &r.views)
		return r, err
	}, "SELECT account, region, CAST(SUM(viewer_count) AS BIGINT) FROM sessions WHERE ended_at = 0 AND owner <> ? GROUP BY account, region", exceptOwner)
	views := make(ScopeCount, len(rows))
	for _, r := range rows {
		views[r.scope] = r.views
	}
	return views, err
}

// Key returns a secret for a purpose, the same on every node and after a
// restart.
func (db *DB) Key(purpose string) []byte {
	h := hmac.New(sha256.New, db.tokenKey)
	h.Write([]byte("key for " + purpose)) // no page token begins like this
	return h.Sum(nil)
}
