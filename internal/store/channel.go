package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/millrace/millrace/internal/ivs"
)

const channelColumns = `arn, name, latency_mode, type, preset, authorized, insecure_ingest, recording_arn,
	restriction_arn, ad_arn, container_format, multitrack, passphrase, tags`

func scanChannel(rows *sql.Rows) (c ivs.Channel, err error) {
	err = rows.Scan(&c.ARN, &c.Name, &c.LatencyMode, &c.Type, &c.Preset, &c.Authorized, &c.InsecureIngest,
		&c.RecordingConfigurationARN, &c.PlaybackRestrictionPolicyARN, &c.AdConfigurationARN,
		&c.ContainerFormat, asJSON{&c.Multitrack}, &c.SRT.Passphrase, asJSON{&c.Tags})
	return c, err
}

// summaryColumns are the columns of an ivs.ChannelSummary.
const summaryColumns = `arn, name, latency_mode, type, preset, authorized, insecure_ingest, recording_arn,
	restriction_arn, ad_arn, tags`

func scanChannelSummary(rows *sql.Rows, seq *int64) (c ivs.ChannelSummary, err error) {
	err = rows.Scan(seq, &c.ARN, &c.Name, &c.LatencyMode, &c.Type, &c.Preset, &c.Authorized, &c.InsecureIngest,
		&c.RecordingConfigurationARN, &c.PlaybackRestrictionPolicyARN, &c.AdConfigurationARN, asJSON{&c.Tags})
	return c, err
}

// CreateChannel adds a channel and its first stream key. It returns NotFound if a
// resource that the channel refers to does not exist.
func (db *DB) CreateChannel(ctx context.Context, c ivs.Channel, k ivs.StreamKey) error {
	return db.CreateChannelWithin(ctx, c, k, 0)
}

// CreateChannelWithin is CreateChannel with a quota of channels per account and region,
// 0 for none. It returns QuotaExceeded if the quota is reached.
func (db *DB) CreateChannelWithin(ctx context.Context, c ivs.Channel, k ivs.StreamKey, quota int) (err error) {
	defer wrap(&err, "CreateChannel(%s)", c.ARN)
	a, ok := ivs.ParseARN(c.ARN)
	if !ok {
		return fmt.Errorf("not a channel's ARN")
	}
	return db.update(ctx, func(t *tx) error {
		if err := t.checkReferences(ctx, c); err != nil {
			return err
		}
		_, err := t.exec(ctx, `INSERT INTO channels (account, region, `+channelColumns+`)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, a.Account, a.Region, c.ARN, c.Name, c.LatencyMode,
			c.Type, c.Preset, c.Authorized, c.InsecureIngest, c.RecordingConfigurationARN, c.PlaybackRestrictionPolicyARN,
			c.AdConfigurationARN, c.ContainerFormat, asJSON{c.Multitrack}, c.SRT.Passphrase, asJSON{c.Tags})
		if err != nil {
			return err
		}
		if quota > 0 {
			if err := t.checkQuota(ctx, "channels", a, quota); err != nil {
				return err
			}
		}
		return t.insertKey(ctx, k)
	})
}

// Channel returns the channel, or a NotFound error.
func (db *DB) Channel(ctx context.Context, arn string) (_ ivs.Channel, err error) {
	defer wrap(&err, "Channel(%s)", arn)
	return channel(ctx, db, arn, "")
}

func channel(ctx context.Context, q queryer, arn, lock string) (ivs.Channel, error) {
	c, ok, err := one(ctx, q, scanChannel, "SELECT "+channelColumns+" FROM channels WHERE arn = ?"+lock, arn)
	if err == nil && !ok {
		err = ivs.NoSuch(arn)
	}
	return c, err
}

// ChannelOfAccount returns the channel of an account with an id, in any region, or a
// NotFound error. It searches the index region by region, since an account has many
// channels in few regions.
func (db *DB) ChannelOfAccount(ctx context.Context, account, id string) (_ ivs.Channel, err error) {
	defer wrap(&err, "ChannelOfAccount(%s, %s)", account, id)
	c, ok, err := one(ctx, db, scanChannel, `WITH RECURSIVE regions(name) AS (
			SELECT MIN(region) FROM channels WHERE account = ?
			UNION ALL SELECT (SELECT MIN(region) FROM channels WHERE account = ? AND region > regions.name) FROM regions WHERE name IS NOT NULL)
		SELECT `+channelColumns+` FROM channels WHERE arn IN (SELECT 'arn:aws:ivs:' || name || CAST(? AS TEXT) FROM regions WHERE name IS NOT NULL) LIMIT 1`,
		account, account, ":"+account+":"+ivs.ChannelType+"/"+id)
	if err == nil && !ok {
		err = ivs.Errorf(ivs.NotFound, "Account %s has no channel %s", account, id)
	}
	return c, err
}

// KnowsChannel reports whether the channel exists, or has existed and still has sessions.
func (db *DB) KnowsChannel(ctx context.Context, arn string) (known bool, err error) {
	defer wrap(&err, "KnowsChannel(%s)", arn)
	_, known, err = one(ctx, db, scanString, `SELECT arn FROM channels WHERE arn = ?
		UNION ALL SELECT channel_arn FROM sessions WHERE channel_arn = ? LIMIT 1`, arn, arn)
	return known, err
}

// Channels returns the channels that exist, in the order of arns.
func (db *DB) Channels(ctx context.Context, arns []string) (list []ivs.Channel, err error) {
	defer wrap(&err, "Channels(%d ARNs)", len(arns))
	list, err = byARN(ctx, db, scanChannel, "SELECT "+channelColumns+" FROM channels WHERE arn IN ", arns)
	inOrder(list, arns, func(c ivs.Channel) string { return c.ARN })
	return list, err
}

// byARN runs q for a list of ARNs, unprepared because its length varies.
func byARN[T any](ctx context.Context, db *DB, scan func(*sql.Rows) (T, error), q string, arns []string) ([]T, error) {
	if len(arns) == 0 {
		return nil, nil
	}
	args := make([]any, len(arns))
	for i, arn := range arns {
		args[i] = arn
	}
	return collect(ctx, unprepared{db}, scan, q+"("+placeholders(len(arns))+")", args...)
}

// unprepared runs reads whose text varies.
type unprepared struct{ *DB }

func (u unprepared) query(ctx context.Context, q string, args ...any) (*sql.Rows, error) {
	return u.read.QueryContext(ctx, u.dialect.rebind(q), args...)
}

// A ChannelFilter narrows ListChannels. At most one member is set.
type ChannelFilter struct {
	Name                         string
	RecordingConfigurationARN    string
	PlaybackRestrictionPolicyARN string
	AdConfigurationARN           string
}

// where is the condition of f and its argument. The second comparison lets the
// engine use the partial index.
func (f ChannelFilter) where() (cond, arg string) {
	switch {
	case f.Name != "":
		return " AND name = ?", f.Name
	case f.RecordingConfigurationARN != "":
		return " AND recording_arn = ? AND recording_arn <> ''", f.RecordingConfigurationARN
	case f.PlaybackRestrictionPolicyARN != "":
		return " AND restriction_arn = ? AND restriction_arn <> ''", f.PlaybackRestrictionPolicyARN
	case f.AdConfigurationARN != "":
		return " AND ad_arn = ? AND ad_arn <> ''", f.AdConfigurationARN
	}
	return "", ""
}

// ListChannels returns a page of the channels of s, oldest first, and the token
// of the next page, "" after the last.
func (db *DB) ListChannels(ctx context.Context, s Scope, f ChannelFilter, p Page) (_ []ivs.ChannelSummary, next string, err error) {
	defer wrap(&err, "ListChannels(%v, %v)", s, f)
	cond, arg := f.where()
	args := []any{s.Account, s.Region}
	if cond != "" {
		args = append(args, arg)
	}
	return page(ctx, db, p, 0, []string{"channels", s.Account, s.Region, cond, arg}, scanChannelSummary,
		"SELECT seq, "+summaryColumns+" FROM channels WHERE account = ? AND region = ?"+cond+
			" AND seq > ? ORDER BY seq LIMIT ?", args...)
}

// UpdateChannel applies change to the channel and returns the new one. If change
// returns an error, nothing is changed. It returns Conflict if the channel has an open
// session, and NotFound if a resource that it refers to does not exist.
func (db *DB) UpdateChannel(ctx context.Context, arn string, change func(*ivs.Channel) error) (c ivs.Channel, err error) {
	defer wrap(&err, "UpdateChannel(%s)", arn)
	err = db.update(ctx, func(t *tx) error {
		if c, err = t.idleChannel(ctx, arn, "updated"); err != nil {
			return err
		}
		if err := change(&c); err != nil {
			return err
		}
		if err := t.checkReferences(ctx, c); err != nil {
			return err
		}
		_, err := t.exec(ctx, `UPDATE channels SET name = ?, latency_mode = ?, type = ?, preset = ?, authorized = ?,
			insecure_ingest = ?, recording_arn = ?, restriction_arn = ?, ad_arn = ?, container_format = ?, multitrack = ?
			WHERE arn = ?`, c.Name, c.LatencyMode, c.Type, c.Preset, c.Authorized, c.InsecureIngest,
			c.RecordingConfigurationARN, c.PlaybackRestrictionPolicyARN, c.AdConfigurationARN, c.ContainerFormat,
			asJSON{c.Multitrack}, arn)
		return err
	})
	return c, err
}

// idleChannel reads the channel for a change, and prevents new sessions of it until the
// transaction ends.
func (t *tx) idleChannel(ctx context.Context, arn, done string) (ivs.Channel, error) {
	c, err := channel(ctx, t, arn, t.dialect.forUpdate)
	if err != nil {
		return c, err
	}
	_, busy, err := one(ctx, t, scanString, "SELECT stream_id FROM sessions WHERE channel_arn = ? AND ended_at = 0", arn)
	if err == nil && busy {
		err = ivs.Errorf(ivs.Conflict, "Channel %s is live and cannot be %s until its stream has ended", arn, done)
	}
	return c, err
}

// DeleteChannel deletes the channel and its stream keys, but not its sessions. It
// returns Conflict if the channel has an open session.
func (db *DB) DeleteChannel(ctx context.Context, arn string) (err error) {
	defer wrap(&err, "DeleteChannel(%s)", arn)
	return db.update(ctx, func(t *tx) error {
		if _, err := t.idleChannel(ctx, arn, "deleted"); err != nil {
			return err
		}
		_, err := t.exec(ctx, "DELETE FROM channels WHERE arn = ?", arn) // its keys are deleted by cascade
		return err
	})
}

// inOrder sorts rows as their ARNs stand in arns.
func inOrder[T any](rows []T, arns []string, arn func(T) string) {
	slices.SortFunc(rows, func(a, b T) int { return slices.Index(arns, arn(a)) - slices.Index(arns, arn(b)) })
}
