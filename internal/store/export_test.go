package store

import "context"

// Hang locks a session and then does nothing until ctx is done, as a node does that
// was suspended or cut off in the middle of a transaction.
func (db *DB) Hang(ctx context.Context, streamID string, locked func()) error {
	return db.update(ctx, func(t *tx) error {
		if _, err := t.exec(ctx, "UPDATE sessions SET renewals = renewals WHERE stream_id = ?", streamID); err != nil {
			return err
		}
		locked()
		<-ctx.Done()
		return nil
	})
}
