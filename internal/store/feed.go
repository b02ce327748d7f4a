package store

import (
	"context"
	"database/sql"
	"fmt"
	"sync"

	"github.com/millrace/millrace/internal/ivs"
)

// A FeedEvent is an event with its number in the feed. Events are numbered after their
// commit, in increasing order, so that a reader never misses a lower number.
type FeedEvent struct {
	Number int64 // from 1
	ivs.Event
}

const feedColumns = "e.feed, e.id, e.type, e.name, e.code, e.account, e.region, e.channel_arn, e.channel_name, e.stream_id, e.time, e.detail"

// fields returns the destinations of feedColumns.
func (e *FeedEvent) fields(at *int64) []any {
	return []any{&e.Number, &e.ID, &e.Type, &e.Name, &e.Code, &e.Account, &e.Region, &e.ChannelARN, &e.Channel, &e.StreamID, at, asJSON{&e.Extra}}
}

func scanFeedEvent(rows *sql.Rows) (e FeedEvent, err error) {
	var at int64
	err = rows.Scan(e.fields(&at)...)
	e.Time = fromMillis(at).Time
	return e, err
}

// A FeedFilter selects events of one account and region; an empty member matches any.
type FeedFilter struct {
	Scope
	ChannelARN string
	StreamID   string
	Type       string
	Name       string
}

// Feed returns the events that match the filter and have a number above after, oldest
// first, and the number from which to continue. If that equals after, there are no more
// events yet.
func (db *DB) Feed(ctx context.Context, f FeedFilter, after int64, limit int) (events []FeedEvent, seen int64, err error) {
	defer wrap(&err, "Feed(after %d)", after)
	if seen, err = db.FeedEnd(ctx); err != nil || seen == after {
		return nil, after, err
	}
	q := "SELECT " + feedColumns + " FROM events e WHERE e.feed > 0 AND e.feed > ? AND e.feed <= ? AND e.account = ? AND e.region = ?"
	args := []any{after, seen, f.Account, f.Region}
	for _, c := range []struct{ column, value string }{
		{"channel_arn", f.ChannelARN}, {"stream_id", f.StreamID}, {"type", f.Type}, {"name", f.Name},
	} {
		if c.value != "" {
			q += " AND e." + c.column + " = ?"
			args = append(args, c.value)
		}
	}
	events, err = collect(ctx, db, scanFeedEvent, q+" ORDER BY e.feed LIMIT ?", append(args, limit)...)
	if len(events) == limit {
		seen = events[limit-1].Number
	}
	return events, seen, err
}

// FeedEnd returns the highest number in the feed, 0 if it is empty.
func (db *DB) FeedEnd(ctx context.Context) (int64, error) {
	n, _, err := one(ctx, db, scanInt, "SELECT COALESCE(MAX(feed), 0) FROM events WHERE feed > 0")
	return n, err
}

// FeedEventByID returns an event of the caller. It returns NotFound if there is none, or
// if it has no number yet.
func (db *DB) FeedEventByID(ctx context.Context, s Scope, id string) (e FeedEvent, err error) {
	defer wrap(&err, "FeedEventByID(%s)", id)
	e, ok, err := one(ctx, db, scanFeedEvent,
		"SELECT "+feedColumns+" FROM events e WHERE e.id = ? AND e.feed > 0 AND e.account = ? AND e.region = ?", id, s.Account, s.Region)
	if err == nil && !ok {
		err = ivs.Errorf(ivs.NotFound, "Event %s does not exist", id)
	}
	return e, err
}

// EventWritten is closed when the next event has been committed by this
// process; it has no number in the feed yet.
func (db *DB) EventWritten() <-chan struct{} { return db.written.next() }

// EventNumbered is closed when this process has next numbered events.
func (db *DB) EventNumbered() <-chan struct{} { return db.numbered.next() }

// A signal wakes any number of waiters. The zero signal is ready to use.
type signal struct {
	mu sync.Mutex
	ch chan struct{} // guarded by mu; nil without waiters
}

// next is closed at the next raise.
func (s *signal) next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

func (s *signal) raise() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}

// numberUnnumbered numbers so many events, from one number on.
const numberUnnumbered = `UPDATE events SET feed = v.n FROM (SELECT seq AS s, CAST(? AS BIGINT) + ROW_NUMBER() OVER (ORDER BY seq) AS n
	FROM events WHERE feed = 0 ORDER BY seq LIMIT ?) AS v WHERE events.seq = v.s`

// fillLanes adds the events with a number above one to the lanes of every target. Rows
// are locked in this order everywhere, which prevents deadlocks. The condition feed > 0
// makes the engine use the partial index.
const fillLanes = `INSERT INTO outbox (target, lane, channel_arn, after_feed, last_feed, attempts, due, owner, claimed_until, error)
	SELECT t.name, e.channel_arn, e.channel_arn, MIN(e.feed) - 1, MAX(e.feed), 0, 0, '', 0, ''
	FROM targets t, events e WHERE e.feed > 0 AND e.feed > ? GROUP BY t.name, e.channel_arn ORDER BY t.name, e.channel_arn
	ON CONFLICT (target, lane) DO UPDATE SET last_feed = excluded.last_feed`

// numberBatch bounds the events that one transaction numbers.
const numberBatch = 500

// NumberEvents assigns the next numbers of the feed to events without one, and adds
// them to the lanes of every target, in one transaction. It returns how many it has
// numbered; there may be more.
func (db *DB) NumberEvents(ctx context.Context) (n int64, err error) {
	defer wrap(&err, "NumberEvents")
	// Most calls find nothing, and do not need the write connection.
	if _, ok, err := one(ctx, db, scanInt, "SELECT seq FROM events WHERE feed = 0 LIMIT 1"); err != nil || !ok {
		return 0, err
	}
	err = db.update(ctx, func(t *tx) error {
		n, err = t.numberEvents(ctx)
		return err
	})
	if err == nil && n > 0 {
		db.numbered.raise()
	}
	return n, err
}

func (t *tx) numberEvents(ctx context.Context) (n int64, err error) {
	if t.dialect.feedLock != "" {
		if _, err := t.exec(ctx, t.dialect.feedLock); err != nil {
			return 0, fmt.Errorf("lock the feed: %w", err)
		}
	}
	last, _, err := one(ctx, t, scanInt, "SELECT COALESCE(MAX(feed), 0) FROM events WHERE feed > 0")
	if err != nil {
		return 0, err
	}
	if n, err = t.exec(ctx, numberUnnumbered, last, numberBatch); err != nil || n == 0 {
		return n, err
	}
	_, err = t.exec(ctx, fillLanes, last)
	return n, err
}
