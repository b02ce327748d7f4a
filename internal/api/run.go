package api

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/ivs"
)

const (
	// settleEvery is how often recording configurations are looked for that
	// another node was to settle.
	settleEvery = 5 * time.Second

	// bucketTimeout is how long a bucket may take to show that it is usable.
	bucketTimeout = 15 * time.Second

	// revocationsKept is longer than any stream and the tokens for it live.
	revocationsKept = 7 * 24 * time.Hour
)

// errNoBuckets is why recording configurations fail without CheckBucket.
var errNoBuckets = errors.New("this server has no place for buckets")

// Run does what the API has promised for later, until ctx is done: it settles
// recording configurations in the state CREATING, and forgets revocations that
// concern nobody any more.
func (s *Server) Run(ctx context.Context) error {
	var forgot time.Time
	for {
		wake := s.awake.next()
		if err := s.settle(ctx); err != nil && ctx.Err() == nil {
			s.logger().Error("settling recording configurations failed", "error", err)
		}
		if now := s.now(); now.Sub(forgot) > time.Hour {
			forgot = now
			if err := s.Store.ForgetRevocations(ctx, now.Add(-revocationsKept)); err != nil && ctx.Err() == nil {
				s.logger().Error("forgetting old revocations failed", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-wake:
		case <-time.After(settleEvery):
		}
	}
}

// settle finds out which buckets can be written to.
func (s *Server) settle(ctx context.Context) error {
	all := s.Store.RecordingConfigurations()
	list, err := all.Pending(ctx, 100)
	if err != nil {
		return err
	}
	for _, c := range list {
		state, reason := ivs.RecordingActive, s.checkBucket(ctx, c)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if reason != nil {
			state = ivs.RecordingCreateFailed
			s.logger().Warn("recording configuration cannot be used", "arn", c.ARN, "bucket", c.DestinationConfiguration.S3.BucketName, "reason", reason)
		}
		_, err := all.Update(ctx, c.ARN, func(c *ivs.RecordingConfiguration) error {
			c.State = state
			return nil
		})
		if err != nil && !ivs.Is(err, ivs.NotFound) { // it may have been deleted
			return err
		}
	}
	return nil
}

func (s *Server) checkBucket(ctx context.Context, c ivs.RecordingConfiguration) error {
	if s.CheckBucket == nil {
		return errNoBuckets
	}
	ctx, cancel := context.WithTimeout(ctx, bucketTimeout)
	defer cancel()
	a, _ := ivs.ParseARN(c.ARN)
	return s.CheckBucket(ctx, a.Account, c.DestinationConfiguration.S3.BucketName)
}

func (s *Server) wakeUp() { s.awake.raise() }

// A signal tells one waiter that something has happened. The zero signal is
// ready.
type signal struct {
	mu sync.Mutex
	ch chan struct{} // guarded by mu; nil while nobody waits
}

// next is closed at the next raise.
func (s *signal) next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

func (s *signal) raise() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}
