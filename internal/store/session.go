package store

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/ivs"
)

const (
	// Retention is how long a session is kept after its end.
	Retention = 60 * 24 * time.Hour

	// MaxSessions is how many sessions of one channel are kept.
	MaxSessions = 10_000
)

// A session is the part of a session's row that changes need.
type session struct {
	streamID, account, region, channelARN, channelName string

	startedAt, leftAt, endedAt, heartbeatAt int64 // Unix milliseconds, 0 is not yet
	lastEvent                               int64 // Unix milliseconds
}

const sessionColumns = `stream_id, account, region, channel_arn, channel_name, started_at, left_at, ended_at, heartbeat_at,
	COALESCE((SELECT time FROM events e WHERE e.stream_id = sessions.stream_id ORDER BY e.seq DESC LIMIT 1), 0)`

func scanSession(rows *sql.Rows) (s session, err error) {
	err = rows.Scan(&s.streamID, &s.account, &s.region, &s.channelARN, &s.channelName, &s.startedAt, &s.leftAt, &s.endedAt, &s.heartbeatAt, &s.lastEvent)
	return s, err
}

// notBefore returns t, or the time of the last event of s if that is later: the clock of
// the node may have been set back.
func (s session) notBefore(t time.Time) time.Time {
	return fromMillis(max(millis(t), s.lastEvent)).Time
}

// session reads the session for a change.
func (t *tx) session(ctx context.Context, streamID string) (session, error) {
	s, ok, err := one(ctx, t, scanSession, "SELECT "+sessionColumns+" FROM sessions WHERE stream_id = ?"+t.dialect.forUpdate, streamID)
	if err == nil && !ok {
		err = ivs.Errorf(ivs.NotFound, "Stream session %s does not exist", streamID)
	}
	return s, err
}

// A NewSession is the session of an encoder with a valid stream key.
type NewSession struct {
	ChannelARN string
	StreamID   string // from ivs.NewStreamID
	Owner      string // the node that has the encoder
	At         time.Time
	MaxStreams int // open at a time in the account and region; 0 is no limit
}

// CreateSession acquires the lease of the channel and records Session Created. It returns
// Conflict while another session of the channel is open, on any node, QuotaExceeded while
// MaxStreams are open, and NotFound if there is no such channel.
func (db *DB) CreateSession(ctx context.Context, n NewSession) (err error) {
	defer wrap(&err, "CreateSession(%s, %s)", n.ChannelARN, n.StreamID)
	a, _ := ivs.ParseARN(n.ChannelARN)
	return db.update(ctx, func(t *tx) error {
		c, err := channel(ctx, t, n.ChannelARN, t.dialect.forUpdate)
		if err != nil {
			return err
		}
		at := millis(n.At)
		_, err = t.exec(ctx, `INSERT INTO sessions (stream_id, account, region, channel_arn, channel_name, owner, created_at,
			started_at, left_at, ended_at, heartbeat_at, health, viewer_count, has_error, channel, recording, ingest)
			VALUES (?, ?, ?, ?, ?, ?, ?, 0, 0, 0, ?, ?, 0, FALSE, ?, 'null', 'null')`,
			n.StreamID, a.Account, a.Region, n.ChannelARN, c.Name, n.Owner, at, at, ivs.HealthUnknown, asJSON{c})
		if isUnique(err) {
			return ivs.Errorf(ivs.Conflict, "Channel %s already has a publisher", n.ChannelARN)
		}
		if err != nil {
			return err
		}
		if err := t.checkOpen(ctx, a.Account, a.Region, n.MaxStreams); err != nil {
			return err
		}
		s := session{streamID: n.StreamID, account: a.Account, region: a.Region, channelARN: n.ChannelARN, channelName: c.Name}
		return t.insertEvent(ctx, s, stateEvent(ivs.SessionCreated, "", n.At))
	})
}

// StartStream makes the channel live and records Stream Start, with the current channel
// and what the encoder sends. It returns Conflict if the session has ended, and does
// nothing if the stream has started already.
func (db *DB) StartStream(ctx context.Context, streamID string, at time.Time, in ivs.IngestConfigurations) (err error) {
	defer wrap(&err, "StartStream(%s)", streamID)
	return db.update(ctx, func(t *tx) error {
		s, err := t.session(ctx, streamID)
		switch {
		case err != nil:
			return err
		case s.leftAt != 0 || s.endedAt != 0:
			return ivs.Errorf(ivs.Conflict, "Stream session %s has ended", streamID)
		case s.startedAt != 0:
			return nil
		}
		at := s.notBefore(at)
		c, err := channel(ctx, t, s.channelARN, "")
		if err != nil {
			return err
		}
		rec, err := recordingOf(ctx, t, c)
		if err != nil {
			return err
		}
		if _, err := t.exec(ctx, "UPDATE sessions SET started_at = ?, heartbeat_at = ?, channel = ?, recording = ?, ingest = ? WHERE stream_id = ?",
			millis(at), millis(at), asJSON{c}, asJSON{rec}, asJSON{in}, streamID); err != nil {
			return err
		}
		return t.insertEvent(ctx, s, stateEvent(ivs.StreamStart, "", at))
	})
}

// EndSession records that the encoder has left: Session Ended, with a code if
// there is one for the cause. The channel stays live, and its lease held, until
// WriteEnd. It does nothing if the encoder had left before.
func (db *DB) EndSession(ctx context.Context, streamID string, at time.Time, code string) (err error) {
	defer wrap(&err, "EndSession(%s)", streamID)
	return db.update(ctx, func(t *tx) error {
		s, err := t.session(ctx, streamID)
		if err != nil {
			return err
		}
		return t.endSession(ctx, s, at, code)
	})
}

func (t *tx) endSession(ctx context.Context, s session, at time.Time, code string) error {
	if s.leftAt != 0 {
		return nil
	}
	at = s.notBefore(at)
	if _, err := t.exec(ctx, "UPDATE sessions SET left_at = ? WHERE stream_id = ?", millis(at), s.streamID); err != nil {
		return err
	}
	return t.insertEvent(ctx, s, stateEvent(ivs.SessionEnded, code, at))
}

// endStream takes the channel offline and frees its lease: Session Ended if
// that has not been recorded, then Stream End if the stream had started. It
// does nothing if the stream had ended before.
func (t *tx) endStream(ctx context.Context, s session, at time.Time) error {
	if s.endedAt != 0 {
		return nil
	}
	if err := t.endSession(ctx, s, at, ""); err != nil {
		return err
	}
	at = s.notBefore(at)
	if _, err := t.exec(ctx, "UPDATE sessions SET ended_at = ?, ended_clock = "+t.dialect.now+", viewer_count = 0 WHERE stream_id = ?", millis(at), s.streamID); err != nil {
		return err
	}
	if s.startedAt == 0 {
		return nil
	}
	return t.insertEvent(ctx, s, stateEvent(ivs.StreamEnd, "", at))
}

// An End is the end of a session.
type End struct {
	StreamID string
	Events   []Event                   // that happened before the encoder left
	Ingest   *ivs.IngestConfigurations // what it sent last; nil if that has been recorded
	Left     time.Time                 // when it left
	Code     string                    // of Session Ended, if there is one for the cause
	Reason   string                    // sent to the encoder, if it was refused or disconnected
	Ended    time.Time                 // when the stream had been closed
}

// WriteEnd records what has not been recorded yet of the end of a session. It does
// nothing if the session has ended.
func (db *DB) WriteEnd(ctx context.Context, e End) (err error) {
	defer wrap(&err, "WriteEnd(%s)", e.StreamID)
	return db.update(ctx, func(t *tx) error {
		if err := t.changeSession(ctx, SessionChange{e.StreamID, ivs.HealthUnknown, e.Events, e.Ingest}); err != nil {
			return err
		}
		s, err := t.session(ctx, e.StreamID)
		if err != nil || s.endedAt != 0 {
			return err
		}
		if err := t.endSession(ctx, s, e.Left, e.Code); err != nil {
			return err
		}
		if _, err := t.exec(ctx, "UPDATE sessions SET end_reason = ? WHERE stream_id = ?", reasonText(e.Reason), e.StreamID); err != nil {
			return err
		}
		if s, err = t.session(ctx, e.StreamID); err != nil {
			return err
		}
		return t.endStream(ctx, s, e.Ended)
	})
}

// An EndReason says why the encoder of a session was refused or disconnected.
type EndReason struct {
	StreamID string
	At       ivs.Time // when the session had ended
	Text     string   // that was sent to the encoder
	WasLive  bool
}

// EndReason returns why a session of the channel ended: the one with that stream
// id, or the latest if it is "". It is not ok where that session has not ended,
// or its encoder left by itself.
func (db *DB) EndReason(ctx context.Context, channelARN, streamID string) (r EndReason, ok bool, err error) {
	defer wrap(&err, "EndReason(%s, %s)", channelARN, streamID)
	scan := func(rows *sql.Rows) (r EndReason, err error) {
		var ended, started int64
		err = rows.Scan(&r.StreamID, &started, &ended, &r.Text)
		r.At, r.WasLive = fromMillis(ended), started != 0
		return r, err
	}
	r, ok, err = one(ctx, db, scan, `SELECT stream_id, started_at, ended_at, end_reason FROM sessions
		WHERE channel_arn = ? AND (stream_id = ? OR '' = ?) ORDER BY seq DESC LIMIT 1`, channelARN, streamID, streamID)
	return r, ok && r.Text != "" && !r.At.IsZero(), err
}

// A SessionState is the current state of a session on its node.
type SessionState struct {
	StreamID    string
	Health      string // such as ivs.HealthHealthy
	ViewerCount int
}

// sessionBatch bounds the sessions that one statement names.
const sessionBatch = 250

// Heartbeat renews the leases of owner's sessions, and records their state. It returns
// the ids of sessions that have ended, for example because their leases had expired: their
// encoders must be disconnected. A session that another transaction has locked is left to
// the next heartbeat: it does not delay the others, and cannot be ended while it is locked.
func (db *DB) Heartbeat(ctx context.Context, owner string, at time.Time, states []SessionState) (lost []string, err error) {
	defer wrap(&err, "Heartbeat(%s)", owner)
	if len(states) == 0 {
		return nil, nil
	}
	err = db.updateIn(ctx, db.heartbeatWrites, func(t *tx) error {
		lost = nil
		for batch := range slices.Chunk(states, sessionBatch) {
			kept, err := t.heartbeat(ctx, owner, at, batch)
			if err != nil {
				return err
			}
			for _, b := range batch {
				if kept[b.StreamID] {
					continue
				}
				held, err := sessionHeld(ctx, t, b.StreamID, owner)
				if err != nil {
					return err
				}
				if !held {
					lost = append(lost, b.StreamID)
				}
			}
		}
		return nil
	})
	return lost, err
}

// heartbeat returns the open sessions of owner that are not locked.
func (t *tx) heartbeat(ctx context.Context, owner string, at time.Time, states []SessionState) (kept map[string]bool, err error) {
	args := make([]any, 0, 3*len(states)+3)
	for _, b := range states {
		args = append(args, b.StreamID, b.Health, b.ViewerCount)
	}
	rows := strings.TrimSuffix(strings.Repeat("(?, ?, CAST(? AS BIGINT)), ", len(states)), ", ")
	ids, err := collect(ctx, t, scanString, `WITH v AS (VALUES `+rows+`),
		free AS (SELECT stream_id FROM sessions WHERE stream_id IN (SELECT column1 FROM v) AND owner = ? AND ended_at = 0`+t.dialect.skipLocked+`)
		UPDATE sessions SET heartbeat_at = CASE WHEN heartbeat_at < ? THEN ? ELSE heartbeat_at END,
		renewals = renewals + 1, health = v.column2, viewer_count = v.column3
		FROM v WHERE sessions.stream_id = v.column1 AND sessions.stream_id IN (SELECT stream_id FROM free) RETURNING sessions.stream_id`, append(args, owner, millis(at), millis(at))...)
	kept = make(map[string]bool, len(ids))
	for _, id := range ids {
		kept[id] = true
	}
	return kept, err
}

// An OpenSession is a session that has not ended, and how often its lease has
// been renewed.
type OpenSession struct {
	StreamID string
	Renewals int64
}

// OpenSessions returns those of all owners.
func (db *DB) OpenSessions(ctx context.Context) (open []OpenSession, err error) {
	defer wrap(&err, "OpenSessions")
	return collect(ctx, db, func(rows *sql.Rows) (s OpenSession, err error) {
		err = rows.Scan(&s.StreamID, &s.Renewals)
		return s, err
	}, "SELECT stream_id, renewals FROM sessions WHERE ended_at = 0")
}

// SessionHeld reports whether owner still has the session: otherwise it must write
// nothing more for it. A stream id belongs to one owner, and a session whose lease has
// expired is ended, not transferred. So the id works as a fencing token against a node that
// was suspended or disconnected: every statement that changes a session requires that it is
// open.
func (db *DB) SessionHeld(ctx context.Context, streamID, owner string) (held bool, err error) {
	defer wrap(&err, "SessionHeld(%s)", streamID)
	return sessionHeld(ctx, db, streamID, owner)
}

func sessionHeld(ctx context.Context, db queryer, streamID, owner string) (held bool, err error) {
	_, held, err = one(ctx, db, scanString, "SELECT stream_id FROM sessions WHERE stream_id = ? AND owner = ? AND ended_at = 0", streamID, owner)
	return held, err
}

// EndSessionsOf ends the sessions that owner left open when it crashed, with their events,
// at the time of their last heartbeat. It returns their stream ids.
func (db *DB) EndSessionsOf(ctx context.Context, owner string) (ended []string, err error) {
	defer wrap(&err, "EndSessionsOf(%s)", owner)
	return db.endOrphans(ctx, "owner = ?", []any{owner})
}

// EndExpired ends sessions whose leases have expired, as EndSessionsOf does, except those
// whose lease has been renewed since.
func (db *DB) EndExpired(ctx context.Context, expired []OpenSession) (ended []string, err error) {
	defer wrap(&err, "EndExpired(%d sessions)", len(expired))
	for batch := range slices.Chunk(expired, sessionBatch) {
		args := make([]any, 0, 2*len(batch))
		for _, s := range batch {
			args = append(args, s.StreamID, s.Renewals)
		}
		ids, err := db.endOrphans(ctx, "(stream_id, renewals) IN ("+strings.TrimSuffix(strings.Repeat("(?, ?), ", len(batch)), ", ")+")", args)
		ended = append(ended, ids...)
		if err != nil {
			return ended, err
		}
	}
	return ended, nil
}

// endBatch bounds the sessions whose ends are one transaction. What was committed stays
// when ctx ends in the middle, and several nodes that end the sessions of one share them.
const endBatch = 50

func (db *DB) endOrphans(ctx context.Context, which string, args []any) (ended []string, err error) {
	for {
		var batch []string
		err := db.update(ctx, func(t *tx) error {
			batch = nil
			orphans, err := collect(ctx, t, scanSession, "SELECT "+sessionColumns+" FROM sessions WHERE ended_at = 0 AND "+which+" ORDER BY seq LIMIT ?"+t.dialect.skipLocked,
				append(slices.Clip(args), endBatch)...)
			if err != nil {
				return err
			}
			for _, s := range orphans {
				if err := t.endStream(ctx, s, fromMillis(max(s.heartbeatAt, s.leftAt)).Time); err != nil {
					return err
				}
				if _, err := t.exec(ctx, "UPDATE sessions SET lost = TRUE WHERE stream_id = ?", s.streamID); err != nil {
					return err
				}
				batch = append(batch, s.streamID)
			}
			return nil
		})
		if err != nil {
			return ended, err
		}
		if ended = append(ended, batch...); len(batch) < endBatch {
			return ended, nil
		}
	}
}

// SinceEnd returns how long ago the end of a session was recorded, by the clock of the
// database: the times of a session are those of its node. ended is false if it has not
// ended, or is not kept any more.
func (db *DB) SinceEnd(ctx context.Context, streamID string) (since time.Duration, ended bool, err error) {
	defer wrap(&err, "SinceEnd(%s)", streamID)
	ms, ended, err := one(ctx, db, scanInt, "SELECT "+db.dialect.now+" - CASE WHEN ended_clock > 0 THEN ended_clock ELSE ended_at END FROM sessions WHERE stream_id = ? AND ended_at > 0", streamID)
	return time.Duration(ms) * time.Millisecond, ended, err
}

// cleanupBatch bounds the sessions that one transaction deletes, and so the wait of other
// writers.
const cleanupBatch = 200

// Cleanup deletes the sessions that ended more than Retention before now, with their
// events, and returns their number. It also deletes old recordings, and nodes that have
// not run for long.
func (db *DB) Cleanup(ctx context.Context, now time.Time) (total int64, err error) {
	defer wrap(&err, "Cleanup")
	before := millis(now.Add(-Retention))
	if err := db.update(ctx, func(t *tx) error { return errors.Join(t.deleteOldRecordings(ctx, before), t.deleteOldNodes(ctx)) }); err != nil {
		return 0, err
	}
	return db.deleteSessions(ctx, "ended_at > 0 AND ended_at < ?", before)
}

// TrimHistory deletes the oldest sessions of each channel that has more than limit, with
// their events, and returns their number by channel. Open sessions are not deleted.
func (db *DB) TrimHistory(ctx context.Context, limit int) (dropped map[string]int64, err error) {
	defer wrap(&err, "TrimHistory(%d)", limit)
	channels, err := collect(ctx, db, scanString, "SELECT channel_arn FROM sessions GROUP BY channel_arn HAVING COUNT(*) > ?", limit)
	if err != nil {
		return nil, err
	}
	dropped = map[string]int64{}
	for _, arn := range channels {
		n, err := db.deleteSessions(ctx, `ended_at > 0 AND channel_arn = ? AND seq <=
			(SELECT seq FROM sessions WHERE channel_arn = ? ORDER BY seq DESC LIMIT 1 OFFSET ?)`, arn, arn, limit)
		if n > 0 {
			dropped[arn] = n
		}
		if err != nil {
			return dropped, err
		}
	}
	return dropped, nil
}

// deleteSessions deletes the sessions that match a condition, with their events, in
// batches, and returns their number.
func (db *DB) deleteSessions(ctx context.Context, which string, args ...any) (total int64, err error) {
	for {
		var n int64
		err := db.update(ctx, func(t *tx) error {
			n = 0
			ids, err := collect(ctx, t, scanString, "SELECT stream_id FROM sessions WHERE "+which+" LIMIT ?", append(args[:len(args):len(args)], cleanupBatch)...)
			if err != nil || len(ids) == 0 {
				return err
			}
			old := make([]any, len(ids))
			for i, id := range ids {
				old[i] = id
			}
			in := "(" + placeholders(len(ids)) + ")"
			if _, err := t.exec(ctx, "DELETE FROM events WHERE stream_id IN "+in, old...); err != nil {
				return err
			}
			n, err = t.exec(ctx, "DELETE FROM sessions WHERE stream_id IN "+in, old...)
			return err
		})
		if err != nil || n == 0 {
			return total, err
		}
		total += n
	}
}
