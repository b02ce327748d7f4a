package store

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/ivs"
)

// keyWait is how long a look-up of a stream key waits for others.
const keyWait = 10 * time.Second

// keysOfClient is how many look-ups of stream keys one client may have at a time; further
// ones wait.
const keysOfClient = 2

// clientTurns are those of clients, each of which waits for its own callers alone. The zero
// value is ready.
type clientTurns struct {
	mu sync.Mutex
	of map[string]*clientTurn // guarded by mu; of clients that have callers
}

type clientTurn struct {
	turns   turns
	callers int // guarded by clientTurns.mu
}

// enter waits until it is the caller's turn among those of a client, which leave ends.
func (c *clientTurns) enter(ctx context.Context, client string) (leave func(), err error) {
	c.mu.Lock()
	t := c.of[client]
	if t == nil {
		if c.of == nil {
			c.of = map[string]*clientTurn{}
		}
		t = &clientTurn{turns: make(turns, keysOfClient)}
		c.of[client] = t
	}
	t.callers++
	c.mu.Unlock()
	gone := func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if t.callers--; t.callers == 0 {
			delete(c.of, client)
		}
	}
	if err := t.turns.enter(ctx); err != nil {
		gone()
		return nil, err
	}
	return func() { t.turns.leave(); gone() }, nil
}

const keyColumns = "arn, channel_arn, value, tags"

func scanKey(rows *sql.Rows) (k ivs.StreamKey, err error) {
	err = rows.Scan(&k.ARN, &k.ChannelARN, &k.Value, asJSON{&k.Tags})
	return k, err
}

func scanKeySummary(rows *sql.Rows, seq *int64) (k ivs.StreamKeySummary, err error) {
	err = rows.Scan(seq, &k.ARN, &k.ChannelARN, asJSON{&k.Tags})
	return k, err
}

// digest is the key by which a stream key's secret is looked up, so that the time of a
// lookup reveals nothing about similar secrets.
func digest(value string) string {
	sum := sha256.Sum256([]byte(value))
	return hex.EncodeToString(sum[:])
}

func (t *tx) insertKey(ctx context.Context, k ivs.StreamKey) error {
	a, ok := ivs.ParseARN(k.ARN)
	if !ok {
		return fmt.Errorf("%q is not a stream key's ARN", k.ARN)
	}
	_, err := t.exec(ctx, `INSERT INTO stream_keys (arn, account, region, channel_arn, value, digest, tags)
		VALUES (?, ?, ?, ?, ?, ?, ?)`, k.ARN, a.Account, a.Region, k.ChannelARN, k.Value, digest(k.Value), asJSON{k.Tags})
	if isUnique(err) {
		return ivs.Errorf(ivs.QuotaExceeded, "Channel %s already has a stream key; the quota is 1 per channel", k.ChannelARN)
	}
	return err
}

// CreateStreamKey adds a key to a channel. It returns QuotaExceeded if the channel has
// one, and NotFound if there is no such channel.
func (db *DB) CreateStreamKey(ctx context.Context, k ivs.StreamKey) (err error) {
	defer wrap(&err, "CreateStreamKey(%s)", k.ARN)
	return db.update(ctx, func(t *tx) error {
		if _, err := channel(ctx, t, k.ChannelARN, t.dialect.forUpdate); err != nil {
			return err
		}
		return t.insertKey(ctx, k)
	})
}

// StreamKey returns the key, or a NotFound error.
func (db *DB) StreamKey(ctx context.Context, arn string) (k ivs.StreamKey, err error) {
	defer wrap(&err, "StreamKey(%s)", arn)
	k, ok, err := one(ctx, db, scanKey, "SELECT "+keyColumns+" FROM stream_keys WHERE arn = ?", arn)
	if err == nil && !ok {
		err = ivs.NoSuch(arn)
	}
	return k, err
}

// StreamKeys returns the keys that exist, in the order of arns.
func (db *DB) StreamKeys(ctx context.Context, arns []string) (keys []ivs.StreamKey, err error) {
	defer wrap(&err, "StreamKeys(%d ARNs)", len(arns))
	keys, err = byARN(ctx, db, scanKey, "SELECT "+keyColumns+" FROM stream_keys WHERE arn IN ", arns)
	inOrder(keys, arns, func(k ivs.StreamKey) string { return k.ARN })
	return keys, err
}

// ListStreamKeys returns a page of the keys of a channel and the token of the
// next page. It returns NotFound if there is no such channel.
func (db *DB) ListStreamKeys(ctx context.Context, channelARN string, p Page) (_ []ivs.StreamKeySummary, next string, err error) {
	defer wrap(&err, "ListStreamKeys(%s)", channelARN)
	if _, err := channel(ctx, db, channelARN, ""); err != nil {
		return nil, "", err
	}
	return page(ctx, db, p, 0, []string{"stream keys", channelARN}, scanKeySummary, listKeys, channelARN)
}

const listKeys = "SELECT seq, arn, channel_arn, tags FROM stream_keys WHERE channel_arn = ? AND seq > ? ORDER BY seq LIMIT ?"

// DeleteStreamKey deletes the key, or returns NotFound. A stream that was started with
// it continues.
func (db *DB) DeleteStreamKey(ctx context.Context, arn string) (err error) {
	defer wrap(&err, "DeleteStreamKey(%s)", arn)
	return db.update(ctx, func(t *tx) error {
		n, err := t.exec(ctx, "DELETE FROM stream_keys WHERE arn = ?", arn)
		if err == nil && n == 0 {
			err = ivs.NoSuch(arn)
		}
		return err
	})
}

// ChannelByStreamKey returns the channel of a stream key by its secret value, and the
// channel's recording configuration, nil if it has none; or a NotFound error, which does
// not contain the value. Anyone may ask for a key, as often as they like: so these look-ups
// have half of the connections for reading at most, and leave the others to signed calls;
// and those of one client, an address, wait for each other before others wait for them.
func (db *DB) ChannelByStreamKey(ctx context.Context, value, client string) (c ivs.Channel, rec *ivs.RecordingConfiguration, err error) {
	defer wrap(&err, "ChannelByStreamKey")
	waiting, cancel := context.WithTimeout(ctx, keyWait)
	defer cancel()
	leave, err := db.keyClients.enter(waiting, client)
	if err != nil {
		return c, nil, fmt.Errorf("waiting for other look-ups from the same address: %w", err)
	}
	defer leave()
	if err := db.keys.enter(waiting); err != nil {
		return c, nil, fmt.Errorf("waiting for other look-ups: %w", err)
	}
	defer db.keys.leave()
	k, ok, err := one(ctx, db, scanKey, "SELECT "+keyColumns+" FROM stream_keys WHERE digest = ?", digest(value))
	if err != nil {
		return c, nil, err
	}
	if !ok || subtle.ConstantTimeCompare([]byte(k.Value), []byte(value)) != 1 {
		return c, nil, ivs.Errorf(ivs.NotFound, "No channel has this stream key")
	}
	if c, err = channel(ctx, db, k.ChannelARN, ""); err != nil {
		return c, nil, err
	}
	rec, err = recordingOf(ctx, db, c)
	if ivs.Is(err, ivs.NotFound) { // the channel refers to another one now, and this one has been deleted
		return c, nil, nil
	}
	return c, rec, err
}
