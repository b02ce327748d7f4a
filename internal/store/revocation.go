package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/millrace/millrace/internal/ivs"
)

// maxRevocations bounds the revocations that are kept. Beyond it new ones are refused
// until old ones have expired: none is deleted early.
const maxRevocations = 2_000_000

// usedKept is how long used ids are kept after their tokens have expired: the clock of
// another node may be behind, by which the token is still valid.
const usedKept = 10 * time.Minute

// A Revocation ends the sessions of a viewer of a channel up to a version.
type Revocation struct {
	ivs.ViewerSession
	At  time.Time
	Seq int64 // grows with each revocation that is made
}

// RevokeViewer records that the sessions of a viewer up to a version are revoked. A lower
// version than before only changes the time. It returns NotFound if there is no such
// channel, and Throttling if too many revocations are kept.
func (db *DB) RevokeViewer(ctx context.Context, v ivs.ViewerSession, at time.Time) (err error) {
	defer wrap(&err, "RevokeViewer(%s, %q)", v.ChannelARN, v.ViewerID)
	err = db.update(ctx, func(t *tx) error {
		if _, err := channel(ctx, t, v.ChannelARN, t.dialect.forShare); err != nil {
			return err
		}
		if _, err := t.exec(ctx, "UPDATE revocation_seq SET last = last + 1"); err != nil {
			return err
		}
		n, err := t.exec(ctx, `UPDATE revocations SET at = ?, seq = (SELECT last FROM revocation_seq),
			version = CASE WHEN CAST(? AS BIGINT) > version THEN ? ELSE version END
			WHERE channel_arn = ? AND viewer_id = ?`, millis(at), v.Version, v.Version, v.ChannelARN, v.ViewerID)
		if err != nil || n > 0 {
			return err
		}
		return t.insertRevocation(ctx, v, at)
	})
	if err == nil {
		db.revoked.raise()
	}
	return err
}

func (t *tx) insertRevocation(ctx context.Context, v ivs.ViewerSession, at time.Time) error {
	n, err := t.exec(ctx, "UPDATE revocation_seq SET kept = kept + 1 WHERE kept < ?", maxRevocations)
	if err != nil {
		return err
	}
	if n == 0 {
		return ivs.Errorf(ivs.Throttling, "%d revocations are in force, the most that are kept; try again when old ones have expired", maxRevocations)
	}
	_, err = t.exec(ctx, `INSERT INTO revocations (channel_arn, viewer_id, version, at, seq)
		VALUES (?, ?, ?, ?, (SELECT last FROM revocation_seq))`, v.ChannelARN, v.ViewerID, v.Version, millis(at))
	return err
}

// RevocationMade is closed when the next revocation has been made here. Those
// of other nodes are found by asking.
func (db *DB) RevocationMade() <-chan struct{} { return db.revoked.next() }

// Revocations calls each with the revocations after seq, in order. Those of versions
// that did not number them have 0.
func (db *DB) Revocations(ctx context.Context, seq int64, each func(Revocation)) (err error) {
	defer wrap(&err, "Revocations(%d)", seq)
	scan := func(rows *sql.Rows) (struct{}, error) {
		var r Revocation
		var at int64
		err := rows.Scan(&r.ChannelARN, &r.ViewerID, &r.Version, &at, &r.Seq)
		r.At = time.UnixMilli(at)
		if err == nil {
			each(r)
		}
		return struct{}{}, err
	}
	_, err = collect(ctx, db, scan, "SELECT channel_arn, viewer_id, version, at, seq FROM revocations WHERE seq > ? ORDER BY seq", seq)
	return err
}

// UseToken records that a single-use id, which names one token, has started
// playback. It reports false if it had before. The row is kept until some time
// after expires, when the token is not valid any more by any node's clock.
func (db *DB) UseToken(ctx context.Context, id string, expires time.Time) (first bool, err error) {
	defer wrap(&err, "UseToken")
	err = db.update(ctx, func(t *tx) error {
		n, err := t.exec(ctx, "INSERT INTO used_tokens (id, expires) VALUES (?, ?) ON CONFLICT (id) DO NOTHING", id, millis(expires))
		first = n == 1
		return err
	})
	return first, err
}

// TokenUsed reports whether UseToken has recorded the id.
func (db *DB) TokenUsed(ctx context.Context, id string) (used bool, err error) {
	defer wrap(&err, "TokenUsed")
	_, used, err = one(ctx, db, scanInt, "SELECT expires FROM used_tokens WHERE id = ?", id)
	return used, err
}

// ForgetAccess deletes used ids of expired tokens, and revocations that were last
// requested longer ago than kept.
func (db *DB) ForgetAccess(ctx context.Context, now time.Time, kept time.Duration) (err error) {
	defer wrap(&err, "ForgetAccess")
	return db.update(ctx, func(t *tx) error {
		if _, err := t.exec(ctx, "DELETE FROM used_tokens WHERE expires < ?", millis(now.Add(-usedKept))); err != nil {
			return err
		}
		if _, err := t.exec(ctx, "DELETE FROM revocations WHERE at < ?", millis(now.Add(-kept))); err != nil {
			return err
		}
		// Those of deleted channels are deleted by cascade, without being counted.
		_, err := t.exec(ctx, "UPDATE revocation_seq SET kept = (SELECT COUNT(*) FROM revocations)")
		return err
	})
}
