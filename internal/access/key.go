package access

import (
	"context"
	"crypto/ecdsa"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/token"
)

// keysAge is how long keys are cached. A change made on this node takes effect at
// once.
const keysAge = time.Second

// readTime bounds a read that requests share: it does not end with the context of
// any of them.
const readTime = 10 * time.Second

// A key is a public key that the API has imported.
type key struct {
	arn    string
	public *ecdsa.PublicKey
}

// A keyring has the playback keys of accounts and regions with a live private
// channel.
type keyring struct {
	reads singleflight.Group // concurrent requests share a read

	mu    sync.Mutex
	rings map[store.Scope]ring // guarded by mu
}

// A ring is the keys of one account and region.
type ring struct {
	keys    []key
	read    time.Time
	changes uint64 // store.DB.ResourceChanges before they were read
}

// of returns the keys of scope. While the database does not answer, it returns the
// last known keys.
func (k *keyring) of(ctx context.Context, db *store.DB, scope store.Scope, now time.Time) ([]key, error) {
	changes := db.ResourceChanges()
	k.mu.Lock()
	known, ok := k.rings[scope]
	k.mu.Unlock()
	if ok && known.changes == changes && now.Sub(known.read) < keysAge && !now.Before(known.read) {
		return known.keys, nil
	}
	read, err, _ := k.reads.Do(fmt.Sprint(scope, changes), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTime)
		defer cancel()
		return readKeys(ctx, db, scope)
	})
	keys, _ := read.([]key)
	if err != nil {
		if ok && known.changes == changes {
			return known.keys, nil
		}
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.rings == nil {
		k.rings = map[store.Scope]ring{}
	}
	k.rings[scope] = ring{keys, now, changes}
	return keys, nil
}

func readKeys(ctx context.Context, db *store.DB, scope store.Scope) (keys []key, err error) {
	for p := (store.Page{Max: 100}); ; {
		list, next, err := db.PlaybackKeyPairs().List(ctx, scope, p)
		if err != nil {
			return nil, err
		}
		for _, pair := range list {
			public, err := token.ParsePublicKey([]byte(pair.PublicKeyMaterial))
			if err != nil {
				return nil, fmt.Errorf("playback key pair %s: %w", pair.ARN, err)
			}
			keys = append(keys, key{pair.ARN, public})
		}
		if next == "" {
			return keys, nil
		}
		p.Token = next
	}
}
