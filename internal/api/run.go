package api

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/internal/ivs"
)

const (
	// checkEvery is how often recording configurations are looked for that
	// another node was to check.
	checkEvery = 5 * time.Second

	// bucketTimeout is how long a bucket may take to show that it is usable.
	bucketTimeout = 15 * time.Second

	// bucketsAtATime is how many are asked at a time, so that those that do not
	// answer hold up few.
	bucketsAtATime = 8
)

// errNoBuckets is why recording configurations fail without CheckBucket.
var errNoBuckets = errors.New("this server has no place for buckets")

// Run does the work that API calls leave for later, until ctx is done: it checks
// recording configurations in the state CREATING.
func (s *Server) Run(ctx context.Context) error {
	for {
		created := s.Store.PendingCreated()
		if err := s.checkPending(ctx); err != nil && ctx.Err() == nil {
			s.logger().Error("checking recording configurations failed", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-created:
		case <-time.After(checkEvery):
		}
	}
}

// checkPending finds out which buckets can be written to.
func (s *Server) checkPending(ctx context.Context) error {
	list, err := s.Store.RecordingConfigurations().Pending(ctx, 100)
	if err != nil {
		return err
	}
	var g errgroup.Group
	g.SetLimit(bucketsAtATime)
	for _, c := range list {
		g.Go(func() error { return s.checkOne(ctx, c) })
	}
	return g.Wait()
}

func (s *Server) checkOne(ctx context.Context, c ivs.RecordingConfiguration) error {
	state, reason := ivs.RecordingActive, s.checkConfiguration(ctx, c)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if reason != nil {
		state = ivs.RecordingCreateFailed
		s.logger().Warn("recording configuration cannot be used", "arn", c.ARN, "bucket", c.DestinationConfiguration.S3.BucketName, "reason", reason)
	}
	_, err := s.Store.RecordingConfigurations().Update(ctx, c.ARN, func(c *ivs.RecordingConfiguration) error {
		c.State = state
		return nil
	})
	if ivs.Is(err, ivs.NotFound) { // it has been deleted
		return nil
	}
	return err
}

func (s *Server) checkConfiguration(ctx context.Context, c ivs.RecordingConfiguration) error {
	a, _ := ivs.ParseARN(c.ARN)
	return s.checkBucket(ctx, a.Account, c.DestinationConfiguration.S3.BucketName)
}

func (s *Server) checkBucket(ctx context.Context, account, name string) error {
	if s.CheckBucket == nil {
		return errNoBuckets
	}
	ctx, cancel := context.WithTimeout(ctx, bucketTimeout)
	defer cancel()
	return s.CheckBucket(ctx, account, name)
}
