package access

import (
	"context"
	"hash/maphash"
	"math"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/audience"
	"github.com/millrace/millrace/internal/store"
)

const (
	// lookEvery is the interval at which revocations of other nodes are read.
	lookEvery = time.Second

	// forgetEvery is the interval at which expired revocations are removed.
	forgetEvery = time.Minute

	// A revocation is kept for leastKept after its last request at least, and for
	// keptBeyond longer than a stream, and so a viewer session, may last. Tokens with
	// a viewer id are valid for 10 minutes.
	leastKept  = 7 * 24 * time.Hour
	keptBeyond = 24 * time.Hour
)

// revocations are all that are kept. They are in memory, some 30 bytes each, because
// every request of a session with a viewer id is checked against them.
type revocations struct {
	mu     sync.RWMutex
	seed   maphash.Seed          // guarded by mu, as is what follows
	byHash map[uint64]revocation // by channel and viewer id; on a collision, 1 in 2^64, both viewers are refused
	seq    int64                 // of the last one known; -1 precedes all
}

type revocation struct {
	version uint32 // 0 to 2^31-1, as in the API
	hour    uint32 // since 1970, when it was made
}

func (r *revocations) hash(channelARN, viewerID string) uint64 {
	return maphash.String(r.seed, channelARN+" "+viewerID)
}

// has reports whether the sessions of a viewer are revoked on a channel.
func (r *revocations) has(channelARN string, who audience.Identity) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if len(r.byHash) == 0 {
		return false
	}
	made, ok := r.byHash[r.hash(channelARN, who.ViewerID)]
	return ok && who.Version <= int64(made.version)
}

// last returns the number of the last one known.
func (r *revocations) last() int64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.seq
}

func (r *revocations) add(made store.Revocation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byHash == nil {
		r.seed, r.byHash = maphash.MakeSeed(), map[uint64]revocation{}
	}
	r.byHash[r.hash(made.ChannelARN, made.ViewerID)] = revocation{uint32(min(made.Version, math.MaxInt32)), uint32(made.At.Unix() / 3600)}
	r.seq = max(r.seq, made.Seq)
}

// forget removes those that were made earlier.
func (r *revocations) forget(before time.Time) {
	hour := uint32(before.Unix() / 3600)
	r.mu.Lock()
	defer r.mu.Unlock()
	for hash, made := range r.byHash {
		if made.hour < hour {
			delete(r.byHash, hash)
		}
	}
}

// Load reads the revocations from the database. It must be called once, before the
// first request.
func (c *Control) Load(ctx context.Context) error {
	c.revoked.seq = -1
	return c.Store.Revocations(ctx, -1, c.revoked.add)
}

// Run applies new revocations, those of other nodes too, to viewer sessions, and
// removes expired ones, until ctx is done.
func (c *Control) Run(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var failed, forgot time.Time
	for {
		made := c.Store.RevocationMade()
		switch err := c.follow(ctx); {
		case err == nil:
			failed = time.Time{}
		case failed.IsZero() && ctx.Err() == nil:
			failed = time.Now()
			c.Log.Error("reading revocations failed; those of other nodes take effect once it succeeds", "error", err)
		}
		if now := time.Now(); now.Sub(forgot) >= forgetEvery {
			forgot = now
			c.forget(ctx, now)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-made:
		case <-tick.C:
		}
	}
}

// follow applies new revocations. Each is first stored, so that new requests are
// refused, and then the responses in progress are aborted.
func (c *Control) follow(ctx context.Context) error {
	return c.Store.Revocations(ctx, c.revoked.last(), func(r store.Revocation) {
		c.revoked.add(r)
		c.answers.cut(r)
		c.EndViewer(r.ChannelARN, r.ViewerID, int64(r.Version))
	})
}

func (c *Control) forget(ctx context.Context, now time.Time) {
	kept := max(leastKept, c.MaxStream+keptBeyond)
	c.revoked.forget(now.Add(-kept))
	if err := c.Store.ForgetAccess(ctx, now, kept); err != nil && ctx.Err() == nil {
		c.Log.Error("deleting used tokens and old revocations failed", "error", err)
	}
}
