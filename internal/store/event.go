package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/millrace/millrace/internal/ivs"
)

// An Event is something that happened to a session.
type Event struct {
	Type   string // such as ivs.EventLimitBreach
	Name   string // such as ivs.StreamFailure; the limit's name for a breach
	Code   string // the reason, if there is a code for it
	At     time.Time
	Detail map[string]any // more members of detail on EventBridge; may be nil
}

// insertEvent adds e to the history of s, with a time that is not before that of the
// last event: clocks are set back, and events are written late.
func (t *tx) insertEvent(ctx context.Context, s session, e Event) error {
	t.wroteEvent = true
	at := millis(e.At)
	_, err := t.exec(ctx, `INSERT INTO events (id, account, region, channel_arn, channel_name, stream_id, type, name, time, code, detail)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, COALESCE((SELECT CASE WHEN b.time > CAST(? AS BIGINT) THEN b.time END FROM events b
			WHERE b.stream_id = ? AND b.stream_id <> '' ORDER BY b.seq DESC LIMIT 1), CAST(? AS BIGINT)), ?, ?)`,
		ivs.NewUUID(), s.account, s.region, s.channelARN, s.channelName, s.streamID, e.Type, e.Name, at, s.streamID, at, e.Code, asJSON{e.Detail})
	if err == nil && (ivs.StreamEvent{Name: e.Name, Type: e.Type}).IsError() {
		_, err = t.exec(ctx, "UPDATE sessions SET has_error = TRUE WHERE stream_id = ?", s.streamID)
	}
	return err
}

// stateEvent is a change of a stream's state.
func stateEvent(name, code string, at time.Time) Event {
	return Event{Type: ivs.EventStreamState, Name: name, Code: code, At: at}
}

// AddAccountEvent records an event of a whole account instead of one channel, such as
// the breach of a limit of the account.
func (db *DB) AddAccountEvent(ctx context.Context, s Scope, e Event) (err error) {
	defer wrap(&err, "AddAccountEvent(%s, %s)", s.Account, e.Name)
	return db.update(ctx, func(t *tx) error {
		return t.insertEvent(ctx, session{account: s.Account, region: s.Region}, e)
	})
}

func scanEvent(rows *sql.Rows) (e ivs.StreamEvent, err error) {
	var at int64
	err = rows.Scan(&e.Name, &e.Type, &at, &e.Code)
	e.EventTime = fromMillis(at)
	return e, err
}

// sessionEvents returns the newest events of a session, newest first.
func sessionEvents(ctx context.Context, db *DB, streamID string) ([]ivs.StreamEvent, error) {
	return collect(ctx, db, scanEvent,
		"SELECT name, type, time, code FROM events WHERE stream_id = ? ORDER BY seq DESC LIMIT ?", streamID, ivs.MaxSessionEvents)
}
