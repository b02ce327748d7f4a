package store

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"time"
)

// Metrics are a row of a session's measurements, opaque to this package.
type Metrics struct {
	StreamID string
	Period   int64 // seconds between two points
	Start    int64 // Unix seconds
	Data     []byte
}

// metricsBatch bounds the rows that PutMetrics writes in one transaction, and so the
// wait of other writers.
const metricsBatch = 100

// PutMetrics writes rows, replacing those of the same session, period and start. Those of
// a session that was lost to another node, or is not kept any more, are left out.
func (db *DB) PutMetrics(ctx context.Context, rows []Metrics) (err error) {
	defer wrap(&err, "PutMetrics(%d rows)", len(rows))
	// In the order in which ChangeSessions locks sessions: no two transactions wait for each other.
	rows = slices.SortedStableFunc(slices.Values(rows), func(a, b Metrics) int { return cmp.Compare(a.StreamID, b.StreamID) })
	for batch := range slices.Chunk(rows, metricsBatch) {
		err := db.update(ctx, func(t *tx) error {
			for _, m := range batch {
				if _, err := t.exec(ctx, `INSERT INTO metrics (stream_id, channel_arn, period, start, data)
					SELECT stream_id, channel_arn, ?, ?, ? FROM sessions WHERE stream_id = ? AND NOT lost`+t.dialect.forShare+`
					ON CONFLICT (stream_id, period, start) DO UPDATE SET data = excluded.data`,
					m.Period, m.Start, m.Data, m.StreamID); err != nil {
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

func scanMetrics(rows *sql.Rows) (m Metrics, err error) {
	err = rows.Scan(&m.StreamID, &m.Period, &m.Start, &m.Data)
	return m, err
}

// Metrics returns the channel's rows of a period whose start is in [from, to),
// Unix seconds, oldest first.
func (db *DB) Metrics(ctx context.Context, channelARN string, period, from, to int64) (_ []Metrics, err error) {
	defer wrap(&err, "Metrics(%s, %d)", channelARN, period)
	return collect(ctx, db, scanMetrics, `SELECT stream_id, period, start, data FROM metrics
		WHERE channel_arn = ? AND period = ? AND start >= ? AND start < ? ORDER BY start, stream_id`, channelARN, period, from, to)
}

// DeleteMetrics deletes the rows of a period that start before a time, and returns their
// number.
func (db *DB) DeleteMetrics(ctx context.Context, period int64, before time.Time) (total int64, err error) {
	defer wrap(&err, "DeleteMetrics(%d)", period)
	for {
		var n int64
		err := db.update(ctx, func(t *tx) (err error) {
			n, err = t.exec(ctx, `DELETE FROM metrics WHERE (stream_id, period, start) IN
				(SELECT stream_id, period, start FROM metrics WHERE period = ? AND start < ? LIMIT ?)`, period, before.Unix(), 10*cleanupBatch)
			return err
		})
		if err != nil || n == 0 {
			return total, err
		}
		total += n
	}
}
