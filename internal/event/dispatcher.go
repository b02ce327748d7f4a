// Package event delivers the events that the store's transactions have written, to every
// target at least once, and those of a channel in order. A target that does not answer
// delays only its own events; an event that a target rejects delays only later events of
// the same channel.
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
	numberEvery = 20 * time.Millisecond  // shortest interval between two batches of numbers
	poll        = 500 * time.Millisecond // interval at which events of other processes are looked for
	keepEvery   = time.Hour              // interval at which targets are registered and old rows deleted
)

// A Dispatcher delivers the events of all accounts. Several may share a database,
// one on each node; a lane is claimed by one of them at a time.
type Dispatcher struct {
	Store   *store.DB
	Owner   string // this node's name in its claims; the same after a restart
	Targets []Target
	Log     *slog.Logger

	// MaxAge is the age at which an event becomes a dead letter when an attempt to
	// deliver it fails. 0 means 24 h.
	MaxAge time.Duration

	// MaxRefusals is how often a target must reject an event before it becomes a dead
	// letter. 0 means 40, which takes a little more than an hour.
	MaxRefusals int

	// Drain is how long Run continues after its context is done, to deliver the last
	// events. 0 means 3 s.
	Drain time.Duration

	// FirstWait is the wait after the first failure of an event; each further one
	// doubles it, up to 2 minutes. 0 means 1 s.
	FirstWait time.Duration
}

// Run delivers events until ctx is done, and then those that are still due, for at
// most Drain. While the database fails, events stay pending.
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
	defer close(batcher.requests)
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

// register records the targets of this node in the database.
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

// number assigns events their numbers in the feed until ctx is done.
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

// keep records that the targets are in use, and deletes old rows.
func (d *Dispatcher) keep(ctx context.Context) {
	_ = d.register(ctx) // it has logged the error, and is called again
	if err := d.Store.CleanupEvents(ctx, time.Now()); err != nil && ctx.Err() == nil {
		d.Log.Error("deleting old events failed", "error", err)
	}
}
