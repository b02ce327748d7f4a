package api

import (
	"sync"
	"time"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
)

// metadataRate is how many times a second PutMetadata may be called for one
// channel.
const metadataRate = 5

// A caller is a client and an operation: each has a rate of its own.
type caller struct {
	operation string
	scope     store.Scope
	channel   string // of PutMetadata's own rate
}

// maxRates bounds how many callers are remembered.
const maxRates = 10_000

// rates count calls: a bucket of as many tokens as calls are allowed in a
// second, filled evenly. The zero value is ready.
type rates struct {
	mu      sync.Mutex
	buckets map[caller]bucket // guarded by mu
}

// A bucket held tokens at a moment.
type bucket struct {
	tokens float64
	at     time.Time
}

// allow takes a token for a call of c.
func (r *rates) allow(c caller, perSecond int, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.buckets) >= maxRates {
		r.forget(now)
	}
	if r.buckets == nil {
		r.buckets = map[caller]bucket{}
	}
	b, known := r.buckets[c]
	if !known {
		b = bucket{float64(perSecond), now}
	}
	b.tokens = min(b.tokens+now.Sub(b.at).Seconds()*float64(perSecond), float64(perSecond))
	b.at = now
	allowed := b.tokens >= 1
	if allowed {
		b.tokens--
	}
	r.buckets[c] = b
	return allowed
}

// forget drops those that are full again, and all if that are none.
func (r *rates) forget(now time.Time) {
	for c, b := range r.buckets {
		if now.Sub(b.at) >= time.Second {
			delete(r.buckets, c)
		}
	}
	if len(r.buckets) >= maxRates {
		clear(r.buckets)
	}
}

// throttle refuses calls of o beyond its rate, if that is wanted.
func (s *Server) throttle(o operation, scope store.Scope) error {
	if !s.Throttle || s.rates.allow(caller{operation: o.name, scope: scope}, o.rate, s.now()) {
		return nil
	}
	return exceeded(o.name, o.rate, "arn:aws:iam::"+scope.Account+":root")
}

// throttleMetadata does the same for PutMetadata on one channel.
func (s *Server) throttleMetadata(channelARN string) error {
	if !s.Throttle || s.rates.allow(caller{operation: "PutMetadata", channel: channelARN}, metadataRate, s.now()) {
		return nil
	}
	return exceeded("PutMetadata", metadataRate, channelARN)
}

// exceeded is the refusal of AWS for calls beyond a rate.
func exceeded(operation string, perSecond int, arn string) error {
	return ivs.Errorf(ivs.Throttling, "Operation: ivs:%s exceeded call rate: %d for resource: %s", operation, perSecond, arn)
}
