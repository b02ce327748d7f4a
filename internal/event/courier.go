// Package event is the courier. It takes the events that the transactions of
// the store have written, and delivers each to every target at least once; the
// events of one stream arrive in order. A target that does not answer holds up
// nothing but itself, and an event that a target does not take nothing but the
// later events of its stream.
package event

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/store"
)

const (
	numberEvery = 20 * time.Millisecond  // at most so often events are numbered, so that many share a transaction
	poll        = 500 * time.Millisecond // how soon what other processes write is noticed
	keepEvery   = time.Hour              // how often targets are registered and old rows deleted
)

// A Courier delivers the events of all accounts. Several may share a database,
// each on its node; a lane is with one of them at a time.
type Courier struct {
	Store   *store.DB
	Owner   string // names this node in its claims; the same after a restart
	Targets []Target
	Log     *slog.Logger

	// MaxAge is how old an event may become before a failed attempt to
	// deliver it is the last, and it becomes a dead letter. 0 means 24 h.
	MaxAge time.Duration

	// MaxRefusals is how often a target must refuse an event, answering that
	// it has understood and will not take it, until it is a dead letter. 0
	// means 40, which takes a little more than an hour.
	MaxRefusals int

	// Drain is how long Run goes on after its context is done, to deliver
	// what was written last. 0 means 3 s.
	Drain time.Duration

	// FirstWait is how long the first failure of an event is waited out;
	// each further one doubles it, up to 2 minutes. 0 means 1 s.
	FirstWait time.Duration
}

// Run delivers events until ctx is done, and then what is still due for as
// long as Drain allows. While the database fails, events wait.
func (c *Courier) Run(ctx context.Context) {
	for c.register(ctx) != nil {
		select {
		case <-ctx.Done():
			return
		case <-time.After(poll):
		}
	}
	deliver, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	last := make(chan struct{}) // closed when every event has its number
	clerk := newClerk(c.Store)
	defer clerk.stop()
	var runners sync.WaitGroup
	for _, t := range c.Targets {
		r := newRunner(c, t, clerk)
		runners.Go(func() { r.run(deliver, last) })
	}
	c.number(ctx)
	defer time.AfterFunc(cmp.Or(c.Drain, 3*time.Second), stop).Stop()
	c.numberAll(deliver)
	close(last)
	runners.Wait()
}

// register makes known what this node delivers to.
func (c *Courier) register(ctx context.Context) error {
	targets := make([]store.Target, len(c.Targets))
	for i, t := range c.Targets {
		targets[i] = store.Target{Name: t.Name, Kind: t.Kind}
	}
	err := c.Store.RegisterTargets(ctx, targets, time.Now())
	if err != nil && ctx.Err() == nil {
		c.Log.Error("registering the targets of events failed", "error", err)
	}
	return err
}

// number gives events their numbers in the feed until ctx is done.
func (c *Courier) number(ctx context.Context) {
	tick := time.NewTimer(poll)
	defer tick.Stop()
	kept := time.Now()
	for ctx.Err() == nil {
		written := c.Store.EventWritten()
		c.numberAll(ctx)
		if time.Since(kept) >= keepEvery {
			kept = time.Now()
			c.keep(ctx)
		}
		tick.Reset(poll)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			continue
		case <-written:
		}
		tick.Reset(numberEvery)
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

func (c *Courier) numberAll(ctx context.Context) {
	for n := int64(1); n > 0; {
		var err error
		if n, err = c.Store.NumberEvents(ctx); err != nil && ctx.Err() == nil {
			c.Log.Error("events wait: numbering them failed", "error", err)
		}
	}
}

// keep notes that the targets are in use, and deletes what is too old.
func (c *Courier) keep(ctx context.Context) {
	_ = c.register(ctx) // has logged what failed, and is called again
	if err := c.Store.CleanupEvents(ctx, time.Now()); err != nil && ctx.Err() == nil {
		c.Log.Error("deleting old events failed", "error", err)
	}
}
