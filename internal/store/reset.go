package store

import "context"

// OpenChannels returns the ARNs of the account's channels that have an open
// session, in every region.
func (db *DB) OpenChannels(ctx context.Context, account string) (arns []string, err error) {
	defer wrap(&err, "OpenChannels(%s)", account)
	return collect(ctx, db, scanString, "SELECT channel_arn FROM sessions WHERE ended_at = 0 AND account = ?", account)
}

// ForgetResources deletes all resources of the account, stream keys included, in every
// region. Sessions stay.
func (db *DB) ForgetResources(ctx context.Context, account string) (err error) {
	defer wrap(&err, "ForgetResources(%s)", account)
	defer db.resources.Add(1)
	return db.update(ctx, func(t *tx) error {
		for _, table := range []string{"channels", "resources"} { // keys and revocations are deleted by cascade
			if _, err := t.exec(ctx, "DELETE FROM "+table+" WHERE account = ?", account); err != nil {
				return err
			}
		}
		return nil
	})
}

// ForgetHistory deletes the sessions of the account, with their measurements and events,
// delivered or not. The last event of the feed stays, without an account: the next one
// is numbered after it.
func (db *DB) ForgetHistory(ctx context.Context, account string) (err error) {
	defer wrap(&err, "ForgetHistory(%s)", account)
	return db.update(ctx, func(t *tx) error {
		for _, q := range []string{
			"DELETE FROM metrics WHERE stream_id IN (SELECT stream_id FROM sessions WHERE account = ?)",
			"DELETE FROM outbox WHERE channel_arn IN (SELECT channel_arn FROM sessions WHERE account = ?)",
			"DELETE FROM dead_letters WHERE account = ?",
			"UPDATE events SET account = '', channel_arn = '', stream_id = '' WHERE feed = (SELECT MAX(feed) FROM events WHERE feed > 0) AND account = ?",
			"DELETE FROM events WHERE account = ?",
			"DELETE FROM sessions WHERE account = ?",
			"DELETE FROM recordings WHERE account = ? AND ended_at > 0", // one that is open still has objects to write
		} {
			if _, err := t.exec(ctx, q, account); err != nil {
				return err
			}
		}
		return nil
	})
}
