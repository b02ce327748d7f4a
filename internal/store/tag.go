package store

import (
	"context"
	"database/sql"

	"github.com/millrace/millrace/internal/ivs"
)

// taggable are the tables of resources with tags, by type.
func taggable(typ string) (table string, ok bool) {
	switch typ {
	case ivs.ChannelType:
		return "channels", true
	case ivs.StreamKeyType:
		return "stream_keys", true
	case ivs.PlaybackKeyType, ivs.RecordingConfigurationType, ivs.PlaybackRestrictionPolicyType, ivs.AdConfigurationType:
		return "resources", true
	}
	return "", false
}

func scanTags(rows *sql.Rows) (tags map[string]string, err error) {
	err = rows.Scan(asJSON{&tags})
	return tags, err
}

// tags returns the tags of a resource and its table.
func tags(ctx context.Context, q queryer, arn, lock string) (tags map[string]string, table string, err error) {
	a, _ := ivs.ParseARN(arn)
	table, ok := taggable(a.Type)
	if !ok {
		return nil, "", ivs.NoSuch(arn)
	}
	tags, ok, err = one(ctx, q, scanTags, "SELECT tags FROM "+table+" WHERE arn = ?"+lock, arn)
	if err == nil && !ok {
		err = ivs.NoSuch(arn)
	}
	return tags, table, err
}

// Tags returns the tags of a resource, or a NotFound error.
func (db *DB) Tags(ctx context.Context, arn string) (list map[string]string, err error) {
	defer wrap(&err, "Tags(%s)", arn)
	list, _, err = tags(ctx, db, arn, "")
	return list, err
}

// UpdateTags applies change to the tags of a resource. If change returns an error,
// nothing is changed.
func (db *DB) UpdateTags(ctx context.Context, arn string, change func(map[string]string) error) (err error) {
	defer wrap(&err, "UpdateTags(%s)", arn)
	return db.update(ctx, func(t *tx) error {
		list, table, err := tags(ctx, t, arn, t.dialect.forUpdate)
		if err != nil {
			return err
		}
		if err := change(list); err != nil {
			return err
		}
		_, err = t.exec(ctx, "UPDATE "+table+" SET tags = ? WHERE arn = ?", asJSON{list}, arn)
		return err
	})
}
