package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/millrace/millrace/internal/ivs"
)

// A noun is a pointer to a resource that is stored as JSON.
type noun[T any] interface {
	*T
	Resource() ivs.Resource
}

// Resources are the resources of one type. Methods of DB return them.
type Resources[T any, N noun[T]] struct {
	db   *DB
	typ  string // as in the ARN
	used string // the column of channels that refers to them, "" if none does
}

// PlaybackKeyPairs returns the public keys that verify viewers' tokens.
func (db *DB) PlaybackKeyPairs() Resources[ivs.PlaybackKeyPair, *ivs.PlaybackKeyPair] {
	return Resources[ivs.PlaybackKeyPair, *ivs.PlaybackKeyPair]{db, ivs.PlaybackKeyType, ""}
}

// RecordingConfigurations returns the recording configurations.
func (db *DB) RecordingConfigurations() Resources[ivs.RecordingConfiguration, *ivs.RecordingConfiguration] {
	return Resources[ivs.RecordingConfiguration, *ivs.RecordingConfiguration]{db, ivs.RecordingConfigurationType, "recording_arn"}
}

// PlaybackRestrictionPolicies returns the playback restriction policies.
func (db *DB) PlaybackRestrictionPolicies() Resources[ivs.PlaybackRestrictionPolicy, *ivs.PlaybackRestrictionPolicy] {
	return Resources[ivs.PlaybackRestrictionPolicy, *ivs.PlaybackRestrictionPolicy]{db, ivs.PlaybackRestrictionPolicyType, "restriction_arn"}
}

// AdConfigurations returns the ad configurations.
func (db *DB) AdConfigurations() Resources[ivs.AdConfiguration, *ivs.AdConfiguration] {
	return Resources[ivs.AdConfiguration, *ivs.AdConfiguration]{db, ivs.AdConfigurationType, "ad_arn"}
}

// scan reads the columns body and tags.
func (r Resources[T, N]) scan(rows *sql.Rows) (v T, err error) {
	var seq int64
	return r.scanSeq(rows, &seq)
}

func (r Resources[T, N]) scanSeq(rows *sql.Rows, seq *int64) (v T, err error) {
	var body, tags string
	if err := rows.Scan(seq, &body, &tags); err != nil {
		return v, err
	}
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		return v, err
	}
	return v, json.Unmarshal([]byte(tags), N(&v).Resource().Tags)
}

// body is v without its tags, which have a column of their own.
func (r Resources[T, N]) body(v T) asJSON {
	*N(&v).Resource().Tags = nil
	return asJSON{v}
}

// Create adds v. It returns QuotaExceeded if there are quota of its type in the account
// and region, and Conflict if one has the same digest. A pending one is returned by
// Pending until an Update.
func (r Resources[T, N]) Create(ctx context.Context, v T, quota int, pending bool) (err error) {
	res := N(&v).Resource()
	defer wrap(&err, "Create(%s)", res.ARN)
	a, ok := ivs.ParseARN(res.ARN)
	if !ok || a.Type != r.typ {
		return fmt.Errorf("not the ARN of a %s", r.typ)
	}
	digest := res.Digest
	if digest == "" {
		digest = res.ARN
	}
	tags := *res.Tags
	defer r.db.resources.Add(1)
	err = r.db.update(ctx, func(t *tx) error {
		_, err := t.exec(ctx, `INSERT INTO resources (arn, account, region, type, digest, pending, body, tags) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
			res.ARN, a.Account, a.Region, r.typ, digest, pending, r.body(v), asJSON{tags})
		if isUnique(err) {
			return ivs.Errorf(ivs.Conflict, "The same %s exists already", strings.ReplaceAll(r.typ, "-", " "))
		}
		if err != nil {
			return err
		}
		return t.checkQuota(ctx, "resources", a, quota)
	})
	if err == nil && pending {
		r.db.pending.raise()
	}
	return err
}

// checkQuota returns QuotaExceeded if there are more than quota resources of the type,
// account and region of a, which has been inserted. Other transactions wait for the end
// of this one.
func (t *tx) checkQuota(ctx context.Context, table string, a ivs.ARN, quota int) error {
	if t.dialect.quotaLock != "" {
		if _, err := t.exec(ctx, t.dialect.quotaLock, a.Account+"/"+a.Region+"/"+a.Type); err != nil {
			return fmt.Errorf("lock the quota: %w", err)
		}
	}
	q, args := "SELECT seq FROM "+table+" WHERE account = ? AND region = ?", []any{a.Account, a.Region}
	if table == "resources" {
		q, args = q+" AND type = ?", append(args, a.Type)
	}
	_, full, err := one(ctx, t, scanInt, q+" ORDER BY seq LIMIT 1 OFFSET ?", append(args, quota)...)
	if err == nil && full {
		err = ivs.Errorf(ivs.QuotaExceeded, "The quota of resources of the type %s is %d per account and region", a.Type, quota)
	}
	return err
}

// Get returns the resource, or a NotFound error.
func (r Resources[T, N]) Get(ctx context.Context, arn string) (v T, err error) {
	defer wrap(&err, "Get(%s)", arn)
	return r.read(ctx, r.db, arn, "")
}

func (r Resources[T, N]) read(ctx context.Context, q queryer, arn, lock string) (T, error) {
	v, ok, err := one(ctx, q, r.scan, "SELECT seq, body, tags FROM resources WHERE arn = ? AND type = ?"+lock, arn, r.typ)
	if err == nil && !ok {
		err = ivs.NoSuch(arn)
	}
	return v, err
}

// List returns a page of those of s, oldest first, and the token of the next
// page, "" after the last.
func (r Resources[T, N]) List(ctx context.Context, s Scope, p Page) (_ []T, next string, err error) {
	defer wrap(&err, "List(%s, %v)", r.typ, s)
	return page(ctx, r.db, p, 0, []string{r.typ, s.Account, s.Region}, r.scanSeq, `SELECT seq, body, tags FROM resources
		WHERE account = ? AND region = ? AND type = ? AND seq > ? ORDER BY seq LIMIT ?`, s.Account, s.Region, r.typ)
}

// Update applies change to the resource, which ends its pending state, and returns the
// new one. It does not change tags: see UpdateTags.
func (r Resources[T, N]) Update(ctx context.Context, arn string, change func(*T) error) (v T, err error) {
	defer wrap(&err, "Update(%s)", arn)
	defer r.db.resources.Add(1)
	err = r.db.update(ctx, func(t *tx) error {
		if v, err = r.read(ctx, t, arn, t.dialect.forUpdate); err != nil {
			return err
		}
		if err := change(&v); err != nil {
			return err
		}
		_, err := t.exec(ctx, "UPDATE resources SET body = ?, pending = FALSE WHERE arn = ?", r.body(v), arn)
		return err
	})
	return v, err
}

// Delete deletes the resource. It returns NotFound if there is none, and Conflict while
// a channel refers to it.
func (r Resources[T, N]) Delete(ctx context.Context, arn string) (err error) {
	defer wrap(&err, "Delete(%s)", arn)
	defer r.db.resources.Add(1)
	return r.db.update(ctx, func(t *tx) error {
		if _, err := r.read(ctx, t, arn, t.dialect.forUpdate); err != nil {
			return err
		}
		if r.used != "" {
			a, _ := ivs.ParseARN(arn)
			user, used, err := one(ctx, t, scanString, "SELECT arn FROM channels WHERE account = ? AND region = ? AND "+
				r.used+" = ? AND "+r.used+" <> '' LIMIT 1", a.Account, a.Region, arn)
			if err != nil {
				return err
			}
			if used {
				return ivs.Errorf(ivs.Conflict, "%s is in use by channel %s: detach it there first", arn, user)
			}
		}
		_, err := t.exec(ctx, "DELETE FROM resources WHERE arn = ?", arn)
		return err
	})
}

// ResourceChanges counts attempts to change resources on this node. A resource that was
// read after a call is up to date while the result stays the same, apart from changes of
// other nodes.
func (db *DB) ResourceChanges() uint64 { return db.resources.Load() }

// PendingCreated is closed when the next pending resource has been created
// here.
func (db *DB) PendingCreated() <-chan struct{} { return db.pending.next() }

// Pending returns the oldest of those whose state is still pending, of
// every account.
func (r Resources[T, N]) Pending(ctx context.Context, limit int) (_ []T, err error) {
	defer wrap(&err, "Pending(%s)", r.typ)
	return collect(ctx, r.db, r.scan, "SELECT seq, body, tags FROM resources WHERE pending AND type = ? ORDER BY seq LIMIT ?", r.typ, limit)
}

// checkReferences returns an error unless all resources that c refers to exist, and
// prevents their deletion until the transaction ends. A recording configuration must be
// ACTIVE.
func (t *tx) checkReferences(ctx context.Context, c ivs.Channel) error {
	for _, arn := range []string{c.RecordingConfigurationARN, c.PlaybackRestrictionPolicyARN, c.AdConfigurationARN} {
		if arn == "" {
			continue
		}
		body, ok, err := one(ctx, t, scanString, "SELECT body FROM resources WHERE arn = ?"+t.dialect.forShare, arn)
		if err != nil {
			return err
		}
		a, _ := ivs.ParseARN(arn)
		own, _ := ivs.ParseARN(c.ARN)
		if !ok || a.Account != own.Account || a.Region != own.Region {
			return ivs.NoSuch(arn)
		}
		if arn != c.RecordingConfigurationARN {
			continue
		}
		var rec ivs.RecordingConfiguration
		if err := json.Unmarshal([]byte(body), &rec); err != nil {
			return err
		}
		if rec.State != ivs.RecordingActive {
			return ivs.Errorf(ivs.Validation, "Recording configuration %s is %s, not %s", arn, rec.State, ivs.RecordingActive)
		}
	}
	return nil
}

// recordingOf returns the recording configuration for sessions of c, nil if it has
// none.
func recordingOf(ctx context.Context, q queryer, c ivs.Channel) (*ivs.RecordingConfiguration, error) {
	if c.RecordingConfigurationARN == "" {
		return nil, nil
	}
	all := Resources[ivs.RecordingConfiguration, *ivs.RecordingConfiguration]{typ: ivs.RecordingConfigurationType}
	rec, err := all.read(ctx, q, c.RecordingConfigurationARN, "")
	return &rec, err
}
