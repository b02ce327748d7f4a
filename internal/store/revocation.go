package store

import (
	"context"
	"time"

	"github.com/millrace/millrace/internal/ivs"
)

// RevokeViewer records that the sessions of a viewer up to a version are over.
// A lower version than before changes nothing. It is NotFound without the
// channel.
func (db *DB) RevokeViewer(ctx context.Context, v ivs.ViewerSession, at time.Time) (err error) {
	defer wrap(&err, "RevokeViewer(%s, %q)", v.ChannelARN, v.ViewerID)
	return db.update(ctx, func(t *tx) error {
		if _, err := channel(ctx, t, v.ChannelARN, t.dialect.forShare); err != nil {
			return err
		}
		_, err := t.exec(ctx, `INSERT INTO revocations (channel_arn, viewer_id, version, at) VALUES (?, ?, ?, ?)
			ON CONFLICT (channel_arn, viewer_id) DO UPDATE SET at = excluded.at,
				version = CASE WHEN excluded.version > revocations.version THEN excluded.version ELSE revocations.version END`,
			v.ChannelARN, v.ViewerID, v.Version, millis(at))
		return err
	})
}

// RevokedVersion returns the highest version of a viewer's sessions that has
// been revoked on a channel; revoked is false if none has.
func (db *DB) RevokedVersion(ctx context.Context, channelARN, viewerID string) (version int64, revoked bool, err error) {
	defer wrap(&err, "RevokedVersion(%s, %q)", channelARN, viewerID)
	return one(ctx, db, scanInt, "SELECT version FROM revocations WHERE channel_arn = ? AND viewer_id = ?", channelARN, viewerID)
}

// ForgetRevocations deletes those from before a moment: when no token and no
// session can be as old.
func (db *DB) ForgetRevocations(ctx context.Context, before time.Time) (err error) {
	defer wrap(&err, "ForgetRevocations")
	return db.update(ctx, func(t *tx) error {
		_, err := t.exec(ctx, "DELETE FROM revocations WHERE at < ?", millis(before))
		return err
	})
}
