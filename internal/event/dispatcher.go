// Package event dispatches events: it takes those that the transactions of
// the store have written, and delivers each to every target at least once; the
// events of one channel arrive in order. A target that does not answer holds up
// nothing but itself, and an event that a target does not take nothing but the
// later events of its channel.
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

// A Dispatcher delivers the events of all accounts. Several may share a database,
// each on its node; a lane is with one of them at a time.
type Dispatcher struct {
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
func (d *Dispatcher) Run(ctx context.Context) {
	for d.register(ctx) != nil {
		select {
		case <-ctx.Done():
			return
		case <-time.After(poll):
		}
	}
	deliver, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	last := make(chan struct{}) // closed when every event has its number
	batcher := newBatcher(d.Store)
	var batching sync.WaitGroup
	batching.Go(batcher.run)
	defer batching.Wait()
	defer close(batcher.asked)
	var runners sync.WaitGroup
	for _, t := range d.Targets {
		r := newRunner(d, t, batcher)
		runners.Go(func() { r.run(deliver, last) })
	}
	d.number(ctx)
	defer time.AfterFunc(cmp.Or(d.Drain, 3*time.Second), stop).Stop()
	d.numberAll(deliver)
	close(last)
	runners.Wait()
}

// register makes known what this node delivers to.
func (d *Dispatcher) register(ctx context.Context) error {
	targets := make([]store.Target, len(d.Targets))
	for i, t := range d.Targets {
		targets[i] = store.Target{Name: t.Name, Kind: t.Kind}
	}
	err := d.Store.RegisterTargets(ctx, targets, time.Now())
	if err != nil && ctx.Err() == nil {
		d.Log.Error("registering the targets of events failed", "error", err)
	}
	return err
}

// number gives events their numbers in the feed until ctx is done.
func (d *Dispatcher) number(ctx context.Context) {
	tick := time.NewTimer(poll)
	defer tick.Stop()
	kept := time.Now()
	for ctx.Err() == nil {
		written := d.Store.EventWritten()
		d.numberAll(ctx)
		if time.Since(kept) >= keepEvery {
			kept = time.Now()
			d.keep(ctx)
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

func (d *Dispatcher) numberAll(ctx context.Context) {
	for n := int64(1); n > 0; {
		var err error
		if n, err = d.Store.NumberEvents(ctx); err != nil && ctx.Err() == nil {
			d.Log.Error("numbering events failed; they stay queued", "error", err)
		}
	}
}

// keep notes that the targets are in use, and deletes what is too old.
func (d *Dispatcher) keep(ctx context.Context) {
	_ = d.register(ctx) // has logged what failed, and is called again
	if err := d.Store.CleanupEvents(ctx, time.Now()); err != nil && ctx.Err() == nil {
		d.Log.Error("deleting old events failed", "error", err)
	}
}
