package store

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/ivs"
)

// A Recording is a prefix in a bucket with the media of one stream, or of several that
// were merged.
type Recording struct {
	ID         string // the last element of Prefix
	SessionID  string // recording_session_id of its events
	ChannelARN string
	Owner      string // the node that writes it and has its spool
	WantedBy   string // the node that has requested it from Owner; "" if none has
	Bucket     string
	Prefix     string   // without a slash at the end
	Streams    []string // stream ids, oldest first

	CreatedAt, StartedAt, EndedAt time.Time // zero if not yet
	RecordingResult
}

// A RecordingResult has the totals of a recording.
type RecordingResult struct {
	Failure    string        // the reason; "" if it has not failed
	Duration   time.Duration // of the longest rendition
	Bytes      int64         // of media
	Lost       time.Duration // media that was live and is not in the bucket
	MediaEnd   time.Time     // the program date at which the last stream ends; zero while it is live
	Renditions []RecordedRendition

	Thumbnails        int           // numbered from 0 on
	ThumbnailInterval time.Duration // between two of them, as far as key frames allow
}

// A RecordedRendition is one rendition of a recording.
type RecordedRendition struct {
	Path   string `json:"path"` // below media/hls
	Width  int    `json:"width,omitempty"`
	Height int    `json:"height,omitempty"`
}

const recordingColumns = `id, session_id, channel_arn, owner, bucket, prefix, streams, created_at, started_at, ended_at,
	failure, duration_ms, bytes, renditions, thumbnails, thumbnail_ms, lost_ms, wanted_by, media_end`

func scanRecording(rows *sql.Rows) (r Recording, err error) {
	var created, started, ended, duration, interval, lost, mediaEnd int64
	err = rows.Scan(&r.ID, &r.SessionID, &r.ChannelARN, &r.Owner, &r.Bucket, &r.Prefix, asJSON{&r.Streams}, &created, &started, &ended,
		&r.Failure, &duration, &r.Bytes, asJSON{&r.Renditions}, &r.Thumbnails, &interval, &lost, &r.WantedBy, &mediaEnd)
	r.CreatedAt, r.StartedAt, r.EndedAt = fromMillis(created).Time, fromMillis(started).Time, fromMillis(ended).Time
	r.MediaEnd = fromMillis(mediaEnd).Time
	r.Duration, r.ThumbnailInterval, r.Lost = time.Duration(duration)*time.Millisecond, time.Duration(interval)*time.Millisecond, time.Duration(lost)*time.Millisecond
	return r, err
}

// CreateRecording adds a recording that has not started.
func (db *DB) CreateRecording(ctx context.Context, r Recording) (err error) {
	defer wrap(&err, "CreateRecording(%s)", r.ID)
	a, _ := ivs.ParseARN(r.ChannelARN)
	return db.update(ctx, func(t *tx) error {
		_, err := t.exec(ctx, `INSERT INTO recordings (id, session_id, account, region, channel_arn, owner, bucket, prefix, streams,
			created_at, started_at, ended_at, failure, duration_ms, bytes, renditions) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, '', 0, 0, '[]')`,
			r.ID, r.SessionID, a.Account, a.Region, r.ChannelARN, r.Owner, r.Bucket, r.Prefix, asJSON{r.Streams}, millis(r.CreatedAt))
		return err
	})
}

// StartRecording records that a stream is being recorded: Recording Start. A stream that
// was merged into the recording is added to it. result describes the recording so far. It
// does nothing if the recording has ended or is another owner's, or the stream has had its
// Recording Start.
func (db *DB) StartRecording(ctx context.Context, id, owner, streamID string, at time.Time, result RecordingResult) (err error) {
	defer wrap(&err, "StartRecording(%s, %s)", id, streamID)
	return db.update(ctx, func(t *tx) error {
		r, err := t.openRecording(ctx, id, owner)
		if err != nil || r == nil {
			return err
		}
		known := slices.Contains(r.Streams, streamID)
		if known && !r.StartedAt.IsZero() {
			return nil
		}
		if !known {
			r.Streams = append(r.Streams, streamID)
		}
		if r.StartedAt.IsZero() {
			r.StartedAt = at
		}
		if _, err := t.exec(ctx, "UPDATE recordings SET streams = ?, started_at = ? WHERE id = ?", asJSON{r.Streams}, millis(r.StartedAt), id); err != nil {
			return err
		}
		if err := t.setResult(ctx, id, owner, result); err != nil {
			return err
		}
		r.RecordingResult = RecordingResult{} // the event has none of it
		return t.recordingEvent(ctx, r, ivs.RecordingStart, "", at)
	})
}

// progressBatch bounds the recordings that one statement of RecordingProgress updates.
const progressBatch = 250

// RecordingProgress records what recordings of owner have so far, by their ids, for
// other nodes to list. It does nothing to one that has not started or has ended.
func (db *DB) RecordingProgress(ctx context.Context, owner string, results map[string]RecordingResult) (err error) {
	defer wrap(&err, "RecordingProgress(%s)", owner)
	return db.update(ctx, func(t *tx) error {
		for ids := range slices.Chunk(slices.Sorted(maps.Keys(results)), progressBatch) { // sorted: no two transactions wait for each other
			args := make([]any, 0, 8*len(ids)+1)
			for _, id := range ids {
				r := results[id]
				args = append(args, id, r.Duration.Milliseconds(), r.Bytes, asJSON{r.Renditions}, r.Thumbnails, r.ThumbnailInterval.Milliseconds(), r.Lost.Milliseconds(), millis(r.MediaEnd))
			}
			const row = "(?, CAST(? AS BIGINT), CAST(? AS BIGINT), ?, CAST(? AS BIGINT), CAST(? AS BIGINT), CAST(? AS BIGINT), CAST(? AS BIGINT)), "
			rows := strings.TrimSuffix(strings.Repeat(row, len(ids)), ", ")
			if _, err := t.exec(ctx, `WITH v AS (VALUES `+rows+`)
				UPDATE recordings SET duration_ms = v.column2, bytes = v.column3, renditions = v.column4, thumbnails = v.column5, thumbnail_ms = v.column6, lost_ms = v.column7,
				media_end = v.column8 FROM v WHERE id = v.column1 AND owner = ? AND started_at > 0 AND ended_at = 0`, append(args, owner)...); err != nil {
				return err
			}
		}
		return nil
	})
}

// EndRecording records the end of a recording: Recording End; Recording End
// Failure, or Recording Start Failure if it had not started, where there is a
// reason for one. It does nothing if the recording has ended or is another
// owner's.
func (db *DB) EndRecording(ctx context.Context, id, owner string, at time.Time, result RecordingResult, reason string) (err error) {
	defer wrap(&err, "EndRecording(%s)", id)
	return db.update(ctx, func(t *tx) error {
		r, err := t.openRecording(ctx, id, owner)
		if err != nil || r == nil {
			return err
		}
		r.RecordingResult = result
		r.Failure = reasonText(result.Failure)
		if _, err := t.exec(ctx, "UPDATE recordings SET ended_at = ? WHERE id = ?", millis(at), id); err != nil {
			return err
		}
		if err := t.setResult(ctx, id, owner, result); err != nil {
			return err
		}
		name := ivs.RecordingEnd
		if reason != "" {
			name = ivs.RecordingEndFailure
		}
		if r.StartedAt.IsZero() {
			name = ivs.RecordingStartFailure
		}
		return t.recordingEvent(ctx, r, name, reason, at)
	})
}

// CorrectRecording replaces the result of a recording of owner that ended with a failure
// and has more in its bucket now.
func (db *DB) CorrectRecording(ctx context.Context, id, owner string, result RecordingResult) (err error) {
	defer wrap(&err, "CorrectRecording(%s)", id)
	return db.update(ctx, func(t *tx) error { return t.setResult(ctx, id, owner, result) })
}

func (t *tx) setResult(ctx context.Context, id, owner string, r RecordingResult) error {
	_, err := t.exec(ctx, "UPDATE recordings SET failure = ?, duration_ms = ?, bytes = ?, renditions = ?, thumbnails = ?, thumbnail_ms = ?, lost_ms = ?, media_end = ? WHERE id = ? AND owner = ?",
		reasonText(r.Failure), r.Duration.Milliseconds(), r.Bytes, asJSON{r.Renditions}, r.Thumbnails, r.ThumbnailInterval.Milliseconds(), r.Lost.Milliseconds(), millis(r.MediaEnd), id, owner)
	return err
}

// openRecording reads a recording of owner for a change; nil if there is none or it has
// ended.
func (t *tx) openRecording(ctx context.Context, id, owner string) (*Recording, error) {
	r, ok, err := one(ctx, t, scanRecording, "SELECT "+recordingColumns+" FROM recordings WHERE id = ? AND owner = ? AND ended_at = 0"+t.dialect.forUpdate, id, owner)
	if err != nil || !ok {
		return nil, err
	}
	return &r, nil
}

// recordingEvent adds an event to the history of the recording's last stream,
// if that history is still kept.
func (t *tx) recordingEvent(ctx context.Context, r *Recording, name, reason string, at time.Time) error {
	s, err := t.session(ctx, r.Streams[len(r.Streams)-1])
	if ivs.Is(err, ivs.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	detail := map[string]any{
		"recording_status_reason":  reason,
		"recording_s3_bucket_name": r.Bucket,
		"recording_s3_key_prefix":  r.Prefix,
		"recording_duration_ms":    r.Duration.Milliseconds(),
		"recording_session_id":     r.SessionID,
	}
	switch name {
	case ivs.RecordingStart, ivs.RecordingEnd:
		detail["recording_session_stream_ids"] = r.Streams
	case ivs.RecordingStartFailure:
		detail["recording_s3_key_prefix"] = ""
	}
	if r.Failure != "" {
		detail["recording_status_message"] = r.Failure // not a member that AWS documents
	}
	return t.insertEvent(ctx, s, Event{Type: ivs.EventRecordingState, Name: name, At: at, Detail: detail})
}

// RecordingHeld reports whether owner may write objects of the recording. It still may
// after the end of the recording, which only the owner can have recorded.
func (db *DB) RecordingHeld(ctx context.Context, id, owner string) (held bool, err error) {
	defer wrap(&err, "RecordingHeld(%s)", id)
	_, held, err = one(ctx, db, scanInt, "SELECT seq FROM recordings WHERE id = ? AND owner = ?", id, owner)
	return held, err
}

// WantRecording records that a node requests a recording of another node.
func (db *DB) WantRecording(ctx context.Context, id, node string) (err error) {
	defer wrap(&err, "WantRecording(%s, %s)", id, node)
	return db.update(ctx, func(t *tx) error {
		_, err := t.exec(ctx, "UPDATE recordings SET wanted_by = ? WHERE id = ? AND owner <> ? AND ended_at = 0", node, id, node)
		return err
	})
}

// WantedRecordings returns the recordings of owner that other nodes have requested:
// those nodes, by the recordings' ids.
func (db *DB) WantedRecordings(ctx context.Context, owner string) (_ map[string]string, err error) {
	defer wrap(&err, "WantedRecordings(%s)", owner)
	rows, err := collect(ctx, db, func(rows *sql.Rows) (w [2]string, err error) { err = rows.Scan(&w[0], &w[1]); return w, err },
		"SELECT id, wanted_by FROM recordings WHERE owner = ? AND wanted_by <> '' AND ended_at = 0", owner)
	wanted := map[string]string{}
	for _, w := range rows {
		wanted[w[0]] = w[1]
	}
	return wanted, err
}

// PassRecording transfers a recording of owner to the node that has requested it. It
// reports false if none has, or not any more.
func (db *DB) PassRecording(ctx context.Context, id, owner string) (passed bool, err error) {
	defer wrap(&err, "PassRecording(%s)", id)
	err = db.update(ctx, func(t *tx) error {
		n, err := t.exec(ctx, "UPDATE recordings SET owner = wanted_by, wanted_by = '' WHERE id = ? AND owner = ? AND wanted_by <> '' AND ended_at = 0", id, owner)
		passed = n > 0
		return err
	})
	return passed, err
}

// ForgoRecording withdraws the request of a node for a recording.
func (db *DB) ForgoRecording(ctx context.Context, id, node string) (err error) {
	defer wrap(&err, "ForgoRecording(%s, %s)", id, node)
	return db.update(ctx, func(t *tx) error {
		_, err := t.exec(ctx, "UPDATE recordings SET wanted_by = '' WHERE id = ? AND wanted_by = ?", id, node)
		return err
	})
}

// A RecordingOwner is a node that has open recordings, with values that change whenever
// it starts or records a heartbeat.
type RecordingOwner struct {
	Name               string
	Epoch, HeartbeatAt int64
}

// RecordingOwners returns those nodes except for one.
func (db *DB) RecordingOwners(ctx context.Context, except string) (_ []RecordingOwner, err error) {
	defer wrap(&err, "RecordingOwners")
	return collect(ctx, db, func(rows *sql.Rows) (o RecordingOwner, err error) {
		err = rows.Scan(&o.Name, &o.Epoch, &o.HeartbeatAt)
		return o, err
	}, `SELECT DISTINCT owner, COALESCE(epoch, 0), COALESCE(heartbeat_at, 0) FROM recordings LEFT JOIN nodes ON name = owner
		WHERE ended_at = 0 AND owner <> ?`, except)
}

// TakeRecordings makes a node the owner of the recordings of a dead node, of one channel
// or all, unless that node has restarted or recorded a heartbeat since.
func (db *DB) TakeRecordings(ctx context.Context, from RecordingOwner, channelARN, to string) (taken []Recording, err error) {
	defer wrap(&err, "TakeRecordings(%s)", from.Name)
	err = db.update(ctx, func(t *tx) error {
		taken, err = collect(ctx, t, scanRecording, `UPDATE recordings SET owner = ?, wanted_by = '' WHERE owner = ? AND ended_at = 0 AND (channel_arn = ? OR '' = ?)
			AND NOT EXISTS (SELECT 1 FROM nodes WHERE name = ? AND (epoch <> ? OR heartbeat_at <> ?)) RETURNING `+recordingColumns,
			to, from.Name, channelARN, channelARN, from.Name, from.Epoch, from.HeartbeatAt)
		return err
	})
	return taken, err
}

// OpenRecordings returns the recordings of owner that have not ended, oldest
// first.
func (db *DB) OpenRecordings(ctx context.Context, owner string) (_ []Recording, err error) {
	defer wrap(&err, "OpenRecordings(%s)", owner)
	return collect(ctx, db, scanRecording, "SELECT "+recordingColumns+" FROM recordings WHERE owner = ? AND ended_at = 0 ORDER BY seq", owner)
}

// OpenRecording returns the newest recording of a channel that has not ended, of any
// owner; ok is false if there is none.
func (db *DB) OpenRecording(ctx context.Context, channelARN string) (r Recording, ok bool, err error) {
	defer wrap(&err, "OpenRecording(%s)", channelARN)
	return one(ctx, db, scanRecording, "SELECT "+recordingColumns+" FROM recordings WHERE channel_arn = ? AND ended_at = 0 ORDER BY seq DESC LIMIT 1", channelARN)
}

// MaxRecordings bounds the listed recordings of a channel.
const MaxRecordings = 100

// Recordings returns the newest recordings of a channel, newest first.
func (db *DB) Recordings(ctx context.Context, channelARN string) (_ []Recording, err error) {
	defer wrap(&err, "Recordings(%s)", channelARN)
	return collect(ctx, db, scanRecording, "SELECT "+recordingColumns+" FROM recordings WHERE channel_arn = ? ORDER BY seq DESC LIMIT ?", channelARN, MaxRecordings)
}

// Recording returns a recording of a channel, or a NotFound error.
func (db *DB) Recording(ctx context.Context, channelARN, id string) (_ Recording, err error) {
	defer wrap(&err, "Recording(%s)", id)
	r, ok, err := one(ctx, db, scanRecording, "SELECT "+recordingColumns+" FROM recordings WHERE channel_arn = ? AND id = ?", channelARN, id)
	if err == nil && !ok {
		err = ivs.Errorf(ivs.NotFound, "Channel %s has no recording %s", channelARN, id)
	}
	return r, err
}

// deleteOldRecordings deletes the rows of recordings that ended before a time, but not
// their objects.
func (t *tx) deleteOldRecordings(ctx context.Context, before int64) error {
	if _, err := t.exec(ctx, "DELETE FROM recordings WHERE ended_at > 0 AND ended_at < ?", before); err != nil {
		return fmt.Errorf("delete old recordings: %w", err)
	}
	return nil
}
