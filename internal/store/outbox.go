package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/ivs"
)

// forgetTarget is how long events are kept for a target that no node has in
// its configuration any more.
const forgetTarget = 7 * 24 * time.Hour

// A Target is a place that events are delivered to.
type Target struct {
	Name string
	Kind string // such as webhook
}

// RegisterTargets makes sure that events are kept for the targets from now on,
// and notes that they are in use. It forgets those that have not been for a
// week, with what they have not got.
func (db *DB) RegisterTargets(ctx context.Context, targets []Target, now time.Time) (err error) {
	defer wrap(&err, "RegisterTargets")
	return db.update(ctx, func(t *tx) error {
		for _, target := range targets {
			if _, err := t.exec(ctx, `INSERT INTO targets (name, kind, seen_at) VALUES (?, ?, ?)
				ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, seen_at = excluded.seen_at`, target.Name, target.Kind, millis(now)); err != nil {
				return err
			}
		}
		for _, q := range []string{
			"DELETE FROM outbox WHERE target IN (SELECT name FROM targets WHERE seen_at < ?)",
			"DELETE FROM dead_letters WHERE target IN (SELECT name FROM targets WHERE seen_at < ?)",
			"DELETE FROM targets WHERE seen_at < ?",
		} {
			if _, err := t.exec(ctx, q, millis(now.Add(-forgetTarget))); err != nil {
				return err
			}
		}
		return nil
	})
}

// A Lane is what one target has not got yet of one channel, claimed by a node.
type Lane struct {
	Name     string
	Attempts int         // that failed, of the first event
	Events   []FeedEvent // the first of them, oldest first; none if they are too old to be kept
	last     int64       // number of the lane's last event
}

// laneEvents bounds the events of one Lane.
const laneEvents = 20

// A Claim asks for lanes of a target.
type Claim struct {
	Target string
	Owner  string    // the node
	Idle   bool      // Owner works on no lane of the target: what is claimed in its name was by a process that died, or in a transaction whose answer was lost
	Now    time.Time // lanes that are not due yet stay
	Until  time.Time // from then on another node may claim them
	Fresh  int       // at most so many of those that have had no failure
	Failed int       // at most so many of those that have

	// Done are the results of lanes that Owner had. It is recorded in the same
	// transaction, or not at all if there is an error.
	Done []Delivery
}

// A Delivery is the result of a Lane.
type Delivery struct {
	Lane     Lane
	Sent     int       // of its events, so many were delivered or are dead letters
	Attempts int       // that failed, of the event after those
	Due      time.Time // for that one; the zero time is at once
	Error    string    // why the last attempt failed
	Dead     *DeadLetter
}

// A DeadLetter is an event that was given up for a target.
type DeadLetter struct {
	Event    ivs.Event
	Attempts int
	At       time.Time
	Error    string // of the last attempt
}

// RecordAndClaim records the results of lanes, and claims more, for each of the
// claims; those of one call share a transaction. Lanes come in the order of the
// claims.
func (db *DB) RecordAndClaim(ctx context.Context, claims ...Claim) (lanes [][]Lane, err error) {
	defer wrap(&err, "RecordAndClaim")
	// Most calls find nothing, and need not wait for the writer.
	var work []int
	for i, c := range claims {
		ok := len(c.Done) > 0
		if !ok {
			_, ok, err = one(ctx, db, scanString, dueLanes+"TRUE LIMIT 1", c.dueArgs()...)
			if err != nil {
				return nil, err
			}
		}
		if ok {
			work = append(work, i)
		}
	}
	lanes = make([][]Lane, len(claims))
	if len(work) == 0 {
		return lanes, nil
	}
	// Rows are locked in this order everywhere, so nobody waits in a circle.
	slices.SortFunc(work, func(i, j int) int { return cmp.Compare(claims[i].Target, claims[j].Target) })
	err = db.update(ctx, func(t *tx) error {
		for _, i := range work {
			if lanes[i], err = t.claimLanes(ctx, claims[i]); err != nil {
				return fmt.Errorf("target %s: %w", claims[i].Target, err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return lanes, nil
}

func (t *tx) claimLanes(ctx context.Context, c Claim) (lanes []Lane, err error) {
	if err := t.recordDone(ctx, c.Target, c.Owner, c.Done); err != nil {
		return nil, err
	}
	for _, part := range []struct {
		limit int
		which string
	}{{c.Fresh, "attempts = 0"}, {c.Failed, "attempts > 0"}} {
		if part.limit <= 0 {
			continue
		}
		claimed, err := t.claim(ctx, c, part.which, part.limit)
		if err != nil {
			return nil, err
		}
		lanes = append(lanes, claimed...)
	}
	return lanes, t.laneEvents(ctx, c.Target, lanes)
}

// dueLanes finds what may be claimed; one more condition follows.
const dueLanes = "SELECT lane FROM outbox WHERE target = ? AND due <= ? AND (claimed_until <= ? OR owner = ?) AND "

// dueArgs are the parameters of dueLanes. A lane without an owner is free in
// any case.
func (c Claim) dueArgs() []any {
	owner := ""
	if c.Idle {
		owner = c.Owner
	}
	return []any{c.Target, millis(c.Now), millis(c.Now), owner}
}

func (t *tx) claim(ctx context.Context, c Claim, which string, limit int) ([]Lane, error) {
	scan := func(rows *sql.Rows) (l Lane, err error) {
		err = rows.Scan(&l.Name, &l.Attempts, &l.last)
		return l, err
	}
	return collect(ctx, t, scan, `UPDATE outbox SET owner = ?, claimed_until = ? WHERE target = ? AND lane IN (`+dueLanes+which+`
		ORDER BY due, after_feed LIMIT ?`+t.dialect.skipLocked+`) RETURNING lane, attempts, last_feed`,
		slices.Concat([]any{c.Owner, millis(c.Until), c.Target}, c.dueArgs(), []any{limit})...)
}

// firstEvents finds so many events of each of n lanes.
func firstEvents(n int) string {
	return "SELECT " + feedColumns + `, e.lane FROM (
		SELECT o.lane, x.*, ROW_NUMBER() OVER (PARTITION BY o.lane ORDER BY x.feed) AS place
		FROM outbox o JOIN events x ON x.channel_arn = o.channel_arn AND x.feed > o.after_feed AND x.feed <= o.last_feed
		WHERE o.target = ? AND o.lane IN (` + placeholders(n) + `)) AS e WHERE e.place <= ? ORDER BY e.feed`
}

// laneEvents reads the first events of each lane.
func (t *tx) laneEvents(ctx context.Context, target string, lanes []Lane) error {
	if len(lanes) == 0 {
		return nil
	}
	args := []any{target}
	byName := make(map[string]*Lane, len(lanes))
	for i := range lanes {
		args = append(args, lanes[i].Name)
		byName[lanes[i].Name] = &lanes[i]
	}
	type laneEvent struct {
		lane string
		FeedEvent
	}
	scan := func(rows *sql.Rows) (e laneEvent, err error) {
		var at int64
		err = rows.Scan(append(e.fields(&at), &e.lane)...)
		e.Time = fromMillis(at).Time
		return e, err
	}
	events, err := collect(ctx, t, scan, firstEvents(len(lanes)), append(args, laneEvents)...)
	for _, e := range events {
		l := byName[e.lane]
		l.Events = append(l.Events, e.FeedEvent)
	}
	return err
}

// recordDone records the results of lanes, as far as owner still has them.
func (t *tx) recordDone(ctx context.Context, target, owner string, done []Delivery) error {
	if len(done) == 0 {
		return nil
	}
	names := []any{target}
	args := []any{}
	for _, d := range done {
		names = append(names, d.Lane.Name)
		args = append(args, d.Lane.Name, d.reached(), d.Attempts, millis(d.Due), d.Error)
	}
	in := "(" + placeholders(len(done)) + ")"
	if t.dialect.forUpdate != "" { // in the order in which NumberEvents locks them
		if _, err := t.exec(ctx, "SELECT lane FROM outbox WHERE target = ? AND lane IN "+in+" ORDER BY lane"+t.dialect.forUpdate, names...); err != nil {
			return err
		}
	}
	rows := strings.TrimSuffix(strings.Repeat("(?, CAST(? AS BIGINT), CAST(? AS BIGINT), CAST(? AS BIGINT), ?), ", len(done)), ", ")
	// The lane may have been sent again, or have grown, meanwhile.
	if _, err := t.exec(ctx, `UPDATE outbox SET after_feed = v.column2, attempts = v.column3, due = v.column4, error = v.column5, owner = '', claimed_until = 0
		FROM (VALUES `+rows+`) AS v WHERE target = ? AND lane = v.column1 AND owner = ?`, append(args, target, owner)...); err != nil {
		return err
	}
	if _, err := t.exec(ctx, "DELETE FROM outbox WHERE target = ? AND lane IN "+in+" AND after_feed >= last_feed AND owner = ''", names...); err != nil {
		return err
	}
	for _, d := range done {
		if err := t.recordDead(ctx, target, d); err != nil {
			return err
		}
	}
	return nil
}

// reached is the number of the last event that is delivered or dead.
func (d Delivery) reached() int64 {
	switch {
	case len(d.Lane.Events) == 0: // nothing is left of it
		return d.Lane.last
	case d.Sent == 0:
		return d.Lane.Events[0].Number - 1
	}
	return d.Lane.Events[d.Sent-1].Number
}

// resendPrefix begins the names of lanes for events that are sent again.
const resendPrefix = "resend/"

func (t *tx) recordDead(ctx context.Context, target string, d Delivery) error {
	if d.Dead != nil {
		e := d.Dead.Event
		_, err := t.exec(ctx, `INSERT INTO dead_letters (target, event_id, account, region, attempts, at, error) VALUES (?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (target, event_id) DO UPDATE SET attempts = excluded.attempts, at = excluded.at, error = excluded.error`,
			target, e.ID, e.Account, e.Region, d.Dead.Attempts, millis(d.Dead.At), d.Dead.Error)
		return err
	}
	id, resent := strings.CutPrefix(d.Lane.Name, resendPrefix)
	if !resent || d.Sent == 0 {
		return nil
	}
	_, err := t.exec(ctx, "DELETE FROM dead_letters WHERE target = ? AND event_id = ?", target, id)
	return err
}

// Resend sends an event of the caller once more, to one target or, if target
// is "", to all. It goes out apart from the other events of its channel. It is
// NotFound without the event or the target.
func (db *DB) Resend(ctx context.Context, s Scope, id, target string) (err error) {
	defer wrap(&err, "Resend(%s, %q)", id, target)
	e, err := db.FeedEventByID(ctx, s, id)
	if err != nil {
		return err
	}
	err = db.update(ctx, func(t *tx) error {
		n, err := t.exec(ctx, `INSERT INTO outbox (target, lane, channel_arn, after_feed, last_feed, attempts, due, owner, claimed_until, error)
			SELECT name, ?, ?, CAST(? AS BIGINT), CAST(? AS BIGINT), 0, 0, '', 0, '' FROM targets WHERE ? = '' OR name = ?
			ON CONFLICT (target, lane) DO UPDATE SET due = 0`, resendPrefix+id, e.ChannelARN, e.Number-1, e.Number, target, target)
		if err == nil && n == 0 {
			err = ivs.Errorf(ivs.NotFound, "There is no target %q to send events to", target)
		}
		return err
	})
	if err == nil {
		db.numbered.raise()
	}
	return err
}

// ResendDead sends every dead letter of a target once more, as Resend does, and
// returns how many they are.
func (db *DB) ResendDead(ctx context.Context, s Scope, target string) (n int64, err error) {
	defer wrap(&err, "ResendDead(%s)", target)
	err = db.update(ctx, func(t *tx) error {
		if _, ok, err := one(ctx, t, scanString, "SELECT name FROM targets WHERE name = ?", target); err != nil {
			return err
		} else if !ok {
			return ivs.Errorf(ivs.NotFound, "There is no target %q to send events to", target)
		}
		n, err = t.exec(ctx, `INSERT INTO outbox (target, lane, channel_arn, after_feed, last_feed, attempts, due, owner, claimed_until, error)
			SELECT d.target, ? || d.event_id, e.channel_arn, e.feed - 1, e.feed, 0, 0, '', 0, '' FROM dead_letters d JOIN events e ON e.id = d.event_id
			WHERE d.account = ? AND d.region = ? AND d.target = ? ORDER BY e.feed
			ON CONFLICT (target, lane) DO UPDATE SET due = 0`, resendPrefix, s.Account, s.Region, target)
		return err
	})
	if err == nil {
		db.numbered.raise()
	}
	return n, err
}
