package access

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
)

const (
	// cacheAge is how long a cached value is used. A change made on this node takes effect
	// at once.
	cacheAge = time.Second

	// While the database does not answer, what is known is used: one request in staleAge
	// waits for knownWait for something newer. A player that waits for a part has no more
	// time than that.
	knownWait = 300 * time.Millisecond
	staleAge  = 5 * time.Second

	// readTime bounds a read that requests share: it does not end with the context of
	// any of them.
	readTime = 10 * time.Second

	// maxCached bounds the entries of a cache.
	maxCached = 1000
)

// A cache has what playback is authorized by, as it was last read from the database.
type cache[K comparable, V any] struct {
	reads singleflight.Group // concurrent requests share a read

	mu      sync.Mutex
	entries map[K]entry[V] // guarded by mu
}

type entry[V any] struct {
	value   V
	until   time.Time // it is used without a look at the database
	changes uint64    // store.DB.ResourceChanges before it was read
}

// get returns the value of key, which read reads. While the database does not answer,
// it returns the last known one; with strict, only if this node has changed nothing
// since.
func (c *cache[K, V]) get(ctx context.Context, db *store.DB, key K, strict bool, read func(context.Context) (V, error)) (V, error) {
	changes := db.ResourceChanges()
	c.mu.Lock()
	known, ok := c.entries[key]
	c.mu.Unlock()
	if ok && known.changes == changes && time.Now().Before(known.until) {
		return known.value, nil
	}
	result := c.reads.DoChan(fmt.Sprint(key, changes), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTime)
		defer cancel()
		began := time.Now()
		v, err := read(ctx)
		if err == nil {
			c.put(key, entry[V]{v, began.Add(cacheAge), changes})
		}
		return v, err
	})
	ok = ok && (!strict || known.changes == changes)
	var late <-chan time.Time
	if ok {
		late = time.After(knownWait)
	}
	select {
	case r := <-result:
		v, _ := r.Val.(V)
		if r.Err == nil || !ok || ivs.Is(r.Err, ivs.NotFound) {
			return v, r.Err
		}
	case <-late:
	}
	c.stale(key, known)
	return known.value, nil
}

func (c *cache[K, V]) put(key K, e entry[V]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries == nil || len(c.entries) >= maxCached {
		c.entries = map[K]entry[V]{}
	}
	c.entries[key] = e
}

// stale has known, which cannot be replaced now, be used for some time.
func (c *cache[K, V]) stale(key K, known entry[V]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.entries[key]; ok && e.until.Equal(known.until) {
		e.until = time.Now().Add(staleAge)
		c.entries[key] = e
	}
}
