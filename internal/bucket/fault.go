package bucket

import (
	"context"
	"errors"
	"sync"
	"time"
)

// slowness is how much longer each read of a slow bucket, and each write to it, takes.
const slowness = 3 * time.Second

var errFault = errors.New("fault on demand: the bucket fails")

// faults are those that were injected into buckets, for tests of programs
// that depend on recordings.
type faults struct {
	mu            sync.Mutex
	slow, failing map[string]time.Time // guarded by mu; until when, by bucket
}

// Slow makes every read of a bucket, and every write to it, take 3 s longer for a period
// of d.
func (p *Place) Slow(bucket string, d time.Duration) { p.faults.set(&p.faults.slow, bucket, d) }

// Fail makes every write to a bucket fail for a period of d, as if it did not answer.
func (p *Place) Fail(bucket string, d time.Duration) { p.faults.set(&p.faults.failing, bucket, d) }

func (f *faults) set(kind *map[string]time.Time, bucket string, d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if *kind == nil {
		*kind = map[string]time.Time{}
	}
	(*kind)[bucket] = time.Now().Add(d)
}

// wait applies the injected faults of a bucket to a write.
func (f *faults) wait(ctx context.Context, bucket string) error {
	now := time.Now()
	f.mu.Lock()
	failing := now.Before(f.failing[bucket])
	f.mu.Unlock()
	if failing {
		return errFault
	}
	return f.delay(ctx, bucket)
}

// delay applies them to a read, which does not fail.
func (f *faults) delay(ctx context.Context, bucket string) error {
	f.mu.Lock()
	slow := time.Now().Before(f.slow[bucket])
	f.mu.Unlock()
	if !slow {
		return nil
	}
	select {
	case <-time.After(slowness):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
