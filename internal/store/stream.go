package store

import (
	"context"
	"database/sql"
	"fmt"
	"math"

	"github.com/millrace/millrace/internal/ivs"
)

func scanStream(rows *sql.Rows) (s ivs.Stream, err error) {
	var started int64
	err = rows.Scan(&s.ChannelARN, &s.StreamID, &started, &s.Health, &s.ViewerCount)
	s.StartTime, s.State = fromMillis(started), ivs.StateLive
	return s, err
}

// Stream returns the live stream of the channel. It returns NotBroadcasting if the
// channel is not live, and NotFound if there is no such channel.
func (db *DB) Stream(ctx context.Context, channelARN string) (_ ivs.Stream, err error) {
	defer wrap(&err, "Stream(%s)", channelARN)
	s, ok, err := one(ctx, db, scanStream, `SELECT channel_arn, stream_id, started_at, health, viewer_count FROM sessions
		WHERE channel_arn = ? AND ended_at = 0 AND started_at > 0`, channelARN)
	if err != nil || ok {
		return s, err
	}
	if _, err := channel(ctx, db, channelARN, ""); err != nil {
		return s, err
	}
	return s, ivs.NotLive(channelARN)
}

func scanStreamSummary(rows *sql.Rows, seq *int64) (s ivs.StreamSummary, err error) {
	var started int64
	err = rows.Scan(seq, &s.ChannelARN, &s.StreamID, &started, &s.Health, &s.ViewerCount)
	s.StartTime, s.State = fromMillis(started), ivs.StateLive
	return s, err
}

var healthIs = map[string]string{
	ivs.HealthHealthy:  " AND health = 'HEALTHY'",
	ivs.HealthStarving: " AND health = 'STARVING'",
	ivs.HealthUnknown:  " AND health = 'UNKNOWN'",
}

// ListStreams returns a page of the live streams of scope, of that health unless it is "",
// in the order in which their encoders connected, and the token of the next page.
func (db *DB) ListStreams(ctx context.Context, scope Scope, health string, p Page) (_ []ivs.StreamSummary, next string, err error) {
	defer wrap(&err, "ListStreams(%v, %q)", scope, health)
	q := `SELECT seq, channel_arn, stream_id, started_at, health, viewer_count FROM sessions
		WHERE account = ? AND region = ? AND ended_at = 0 AND started_at > 0`
	if health != "" {
		// Not as a parameter: few streams are STARVING, which helps the query planner
		// only if it knows the value.
		is, ok := healthIs[health]
		if !ok {
			return nil, "", fmt.Errorf("%q is no health", health)
		}
		q += is
	}
	return page(ctx, db, p, 0, []string{"streams", scope.Account, scope.Region, health}, scanStreamSummary,
		q+" AND seq > ? ORDER BY seq LIMIT ?", scope.Account, scope.Region)
}

func scanSessionSummary(rows *sql.Rows, seq *int64) (s ivs.StreamSessionSummary, err error) {
	var started, ended int64
	err = rows.Scan(seq, &s.StreamID, &started, &ended, &s.HasErrorEvent)
	s.StartTime, s.EndTime = fromMillis(started), fromMillis(ended)
	return s, err
}

// ListStreamSessions returns a page of the channel's sessions, newest first,
// and the token of the next page. Sessions outlive their channel; it returns
// NotFound if neither is known.
func (db *DB) ListStreamSessions(ctx context.Context, channelARN string, p Page) (list []ivs.StreamSessionSummary, next string, err error) {
	defer wrap(&err, "ListStreamSessions(%s)", channelARN)
	list, next, err = page(ctx, db, p, math.MaxInt64, []string{"stream sessions", channelARN}, scanSessionSummary,
		`SELECT seq, stream_id, started_at, ended_at, has_error FROM sessions
		WHERE channel_arn = ? AND seq < ? ORDER BY seq DESC LIMIT ?`, channelARN)
	if err == nil && len(list) == 0 && p.Token == "" {
		_, err = channel(ctx, db, channelARN, "")
	}
	return list, next, err
}

func scanStreamSession(rows *sql.Rows) (s ivs.StreamSession, err error) {
	var started, ended int64
	err = rows.Scan(&s.StreamID, &started, &ended, asJSON{&s.Channel}, asJSON{&s.RecordingConfiguration}, asJSON{&s.IngestConfigurations})
	s.StartTime, s.EndTime = fromMillis(started), fromMillis(ended)
	if in := s.IngestConfigurations; in != nil {
		s.IngestConfiguration = in.First()
		in.Video = append([]ivs.VideoConfiguration{}, in.Video...) // none is shown as []
		in.Audio = append([]ivs.AudioConfiguration{}, in.Audio...)
	}
	return s, err
}

// StreamSession returns a session of the channel with its newest events; an empty streamID
// means the latest session. It returns NotFound if there is none.
func (db *DB) StreamSession(ctx context.Context, channelARN, streamID string) (s ivs.StreamSession, err error) {
	defer wrap(&err, "StreamSession(%s, %q)", channelARN, streamID)
	q := "SELECT stream_id, started_at, ended_at, channel, recording, ingest FROM sessions WHERE channel_arn = ?"
	args := []any{channelARN}
	if streamID != "" {
		q += " AND stream_id = ?"
		args = append(args, streamID)
	}
	s, ok, err := one(ctx, db, scanStreamSession, q+" ORDER BY seq DESC LIMIT 1", args...)
	switch {
	case err != nil:
		return s, err
	case ok:
		s.TruncatedEvents, err = sessionEvents(ctx, db, s.StreamID)
		return s, err
	case streamID != "":
		return s, ivs.Errorf(ivs.NotFound, "Channel %s has no stream session %s", channelARN, streamID)
	}
	return s, ivs.Errorf(ivs.NotFound, "Channel %s has no stream sessions", channelARN)
}
