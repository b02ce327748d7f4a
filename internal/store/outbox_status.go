package store

import (
	"context"
	"database/sql"
	"time"
)

// A TargetStatus describes the backlog of a target.
type TargetStatus struct {
	Target
	Pending int       // events not delivered yet
	Oldest  time.Time // of the pending events, without those sent again by request; zero if there is none
	Dead    int       // dead letters
	Error   string    // of an attempt, while events wait for the next
}

// Targets returns every target by name, with the status of the events of an account and
// region, or of all events if s is nil.
func (db *DB) Targets(ctx context.Context, s *Scope) (all []TargetStatus, err error) {
	defer wrap(&err, "Targets")
	scoped := func(table string) string { return "" }
	var args []any
	if s != nil {
		scoped = func(table string) string { return " AND " + table + ".account = ? AND " + table + ".region = ?" }
		args = []any{s.Account, s.Region, s.Account, s.Region}
	}
	scan := func(rows *sql.Rows) (st TargetStatus, err error) {
		var oldest int64
		err = rows.Scan(&st.Name, &st.Kind, &st.Dead, &st.Pending, &oldest, &st.Error)
		st.Oldest = fromMillis(oldest).Time
		return st, err
	}
	return collect(ctx, db, scan, `SELECT t.name, t.kind,
			(SELECT COUNT(*) FROM dead_letters d WHERE d.target = t.name`+scoped("d")+`), COUNT(e.id),
			COALESCE(MIN(CASE WHEN o.lane = o.channel_arn THEN e.time END), 0), COALESCE(MAX(CASE WHEN e.id IS NULL THEN '' ELSE o.error END), '')
		FROM targets t LEFT JOIN outbox o ON o.target = t.name
		LEFT JOIN events e ON e.channel_arn = o.channel_arn AND e.feed > o.after_feed AND e.feed <= o.last_feed`+scoped("e")+`
		GROUP BY t.name, t.kind ORDER BY t.name`, args...)
}

// DeadLetters returns the dead letters of a target, newest first.
func (db *DB) DeadLetters(ctx context.Context, s Scope, target string, limit int) (letters []DeadLetter, err error) {
	defer wrap(&err, "DeadLetters(%s)", target)
	scan := func(rows *sql.Rows) (d DeadLetter, err error) {
		var e FeedEvent
		var at, eventAt int64
		err = rows.Scan(append(e.fields(&eventAt), &d.Attempts, &at, &d.Error)...)
		d.Event, d.At = e.Event, fromMillis(at).Time
		d.Event.Time = fromMillis(eventAt).Time
		return d, err
	}
	return collect(ctx, db, scan, "SELECT "+feedColumns+`, d.attempts, d.at, d.error FROM dead_letters d JOIN events e ON e.id = d.event_id
		WHERE d.account = ? AND d.region = ? AND d.target = ? ORDER BY d.at DESC, e.feed DESC LIMIT ?`, s.Account, s.Region, target, limit)
}

// CleanupEvents deletes events of whole accounts and dead letters that are older than
// Retention; Cleanup deletes the events of sessions.
func (db *DB) CleanupEvents(ctx context.Context, now time.Time) (err error) {
	defer wrap(&err, "CleanupEvents")
	before := millis(now.Add(-Retention))
	return db.update(ctx, func(t *tx) error {
		if _, err := t.exec(ctx, "DELETE FROM events WHERE stream_id = '' AND feed > 0 AND time < ?", before); err != nil {
			return err
		}
		_, err := t.exec(ctx, "DELETE FROM dead_letters WHERE at < ?", before)
		return err
	})
}
