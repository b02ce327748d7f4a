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

// forgetTarget is how long events are kept for a target that is no longer in the
// configuration of any node.
const forgetTarget = 7 * 24 * time.Hour

// A Target is a destination of events.
type Target struct {
	Name string
	Kind string // such as webhook
}

// RegisterTargets records that the targets are in use: from now on events are kept for
// them. It deletes targets that have not been in use for forgetTarget, with their
// pending events.
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

// A Lane has the events of one channel that are pending for one target, claimed by a
// node.
type Lane struct {
	Name     string
	Attempts int         // failed attempts for the first event
	Events   []FeedEvent // the oldest pending ones, oldest first; none if their retention has ended
	last     int64       // number of the lane's last event
}

// laneEvents bounds the events of one Lane.
const laneEvents = 20

// A Claim asks for lanes of a target.
type Claim struct {
	Target string
	Owner  string    // the node
	Idle   bool      // Owner works on no lane of the target: claims in its name are of a process that died, or of a transaction whose result was lost
	Now    time.Time // lanes that are due later are not claimed
	Until  time.Time // from then on another node may claim them
	Fresh  int       // limit of lanes without a failure
	Failed int       // limit of lanes with a failure

	// Done are the results of lanes that Owner had claimed, recorded in the same
	// transaction.
	Done []Delivery
}

// A Delivery is the result of a Lane.
type Delivery struct {
	Lane     Lane
	Sent     int       // events that were delivered or are dead letters
	Attempts int       // failed attempts for the next event
	Due      time.Time // for the next attempt; the zero time is at once
	Error    string    // of the last attempt
	Dead     *DeadLetter
}

// A DeadLetter is an event that is not retried any more for a target.
type DeadLetter struct {
	Event    ivs.Event
	Attempts int
	At       time.Time
	Error    string // of the last attempt
}

// RecordAndClaim records the results of each claim and claims more lanes, all in one
// transaction. It returns lanes in the order of claims.
func (db *DB) RecordAndClaim(ctx context.Context, claims ...Claim) (lanes [][]Lane, err error) {
	defer wrap(&err, "RecordAndClaim")
	// Most calls find nothing, and do not need the write connection.
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
	// Rows are locked in this order everywhere, which prevents deadlocks.
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

// dueLanes selects lanes that may be claimed; one more condition follows.
const dueLanes = "SELECT lane FROM outbox WHERE target = ? AND due <= ? AND (claimed_until <= ? OR owner = ?) AND "

// dueArgs are the parameters of dueLanes. A lane without an owner is always free.
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

// firstEvents selects the first events of each of n lanes.
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

// recordDone records the results of lanes that owner still holds.
func (t *tx) recordDone(ctx context.Context, target, owner string, done []Delivery) error {
	if len(done) == 0 {
		return nil
	}
	names := []any{target}
	args := []any{}
	for _, d := range done {
		names = append(names, d.Lane.Name)
		args = append(args, d.Lane.Name, d.reached(), d.Attempts, millis(d.Due), reasonText(d.Error))
	}
	in := "(" + placeholders(len(done)) + ")"
	if t.dialect.forUpdate != "" { // in the order in which NumberEvents locks them
		if _, err := t.exec(ctx, "SELECT lane FROM outbox WHERE target = ? AND lane IN "+in+" ORDER BY lane"+t.dialect.forUpdate, names...); err != nil {
			return err
		}
	}
	rows := strings.TrimSuffix(strings.Repeat("(?, CAST(? AS BIGINT), CAST(? AS BIGINT), CAST(? AS BIGINT), ?), ", len(done)), ", ")
	// The lane may have been sent again, or have grown, since it was claimed.
	held, err := collect(ctx, t, scanString, `UPDATE outbox SET after_feed = v.column2, attempts = v.column3, due = v.column4, error = v.column5, owner = '', claimed_until = 0
		FROM (VALUES `+rows+`) AS v WHERE target = ? AND lane = v.column1 AND owner = ? RETURNING lane`, append(args, target, owner)...)
	if err != nil {
		return err
	}
	if _, err := t.exec(ctx, "DELETE FROM outbox WHERE target = ? AND lane IN "+in+" AND after_feed >= last_feed AND owner = ''", names...); err != nil {
		return err
	}
	for _, d := range done {
		if !slices.Contains(held, d.Lane.Name) { // the claim of this node had expired: another node has the lane, or has delivered it
			continue
		}
		if err := t.recordDead(ctx, target, d); err != nil {
			return err
		}
	}
	return nil
}

// reached returns the number of the last event that is delivered or dead.
func (d Delivery) reached() int64 {
	switch {
	case len(d.Lane.Events) == 0: // its events have been deleted
		return d.Lane.last
	case d.Sent == 0:
		return d.Lane.Events[0].Number - 1
	}
	return d.Lane.Events[d.Sent-1].Number
}

// resendPrefix is the prefix of the names of lanes for events that are sent again.
const resendPrefix = "resend/"

func (t *tx) recordDead(ctx context.Context, target string, d Delivery) error {
	if d.Dead != nil {
		e := d.Dead.Event
		_, err := t.exec(ctx, `INSERT INTO dead_letters (target, event_id, account, region, attempts, at, error) VALUES (?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (target, event_id) DO UPDATE SET attempts = excluded.attempts, at = excluded.at, error = excluded.error`,
			target, e.ID, e.Account, e.Region, d.Dead.Attempts, millis(d.Dead.At), reasonText(d.Dead.Error))
		return err
	}
	id, resent := strings.CutPrefix(d.Lane.Name, resendPrefix)
	if !resent || d.Sent == 0 {
		return nil
	}
	_, err := t.exec(ctx, "DELETE FROM dead_letters WHERE target = ? AND event_id = ?", target, id)
	return err
}

// Resend sends an event of the caller again, to one target or, if target is "", to all,
// independently of the other events of its channel. It returns NotFound if there is no
// such event or target.
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

// ResendDead sends every dead letter of a target again, as Resend does, and returns
// their number.
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
