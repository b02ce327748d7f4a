package event

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
)

const (
	lease    = 2 * time.Minute       // how long a lane stays claimed
	laneTime = 30 * time.Second      // the last call for a lane begins at most this long after its first
	callTime = 10 * time.Second      // for one call to a target
	maxWait  = 2 * time.Minute       // between two attempts
	gather   = 10 * time.Millisecond // results that arrive within it are recorded together
)

// A runner delivers to one target. One goroutine claims lanes and records results;
// workers call the target.
type runner struct {
	*Dispatcher
	target  Target
	batcher *batcher

	work    chan job
	results chan result // has room for a result of every job, so that workers never block
	breaker breaker

	fresh, failed int       // jobs without a result: of lanes without, and of lanes with a failure
	retry         time.Time // when the first failed lane is due again, as far as known
}

// A job is a lane with the time at which its claim expires.
type job struct {
	store.Lane
	until time.Time
}

// A result is the outcome of a job. Without err, events that were not sent have not been
// tried.
type result struct {
	store.Delivery
	err error
}

func newRunner(d *Dispatcher, t Target, b *batcher) *runner {
	r := &runner{Dispatcher: d, target: t, batcher: b}
	r.work = make(chan job, r.maxFresh()+r.maxFailed())
	r.results = make(chan result, cap(r.work)+t.Parallel)
	return r
}

// maxFresh bounds the claimed lanes without a failure. A few wait for each worker, so
// that one transaction claims many.
func (r *runner) maxFresh() int { return 4 * r.target.Parallel }

// maxFailed bounds the claimed lanes with a failure. They may take long to fail again,
// and must not occupy every worker.
func (r *runner) maxFailed() int { return max(1, r.target.Parallel/4) }

// run delivers until ctx is done, or until last is closed and nothing is due.
func (r *runner) run(ctx context.Context, last <-chan struct{}) {
	var workers sync.WaitGroup
	for range r.target.Parallel {
		workers.Go(func() {
			for j := range r.work {
				r.results <- r.deliver(ctx, j)
			}
		})
	}
	done := r.loop(ctx, last)
	close(r.work)
	workers.Wait()
	for r.fresh+r.failed > 0 {
		done = append(done, r.note(<-r.results))
	}
	if len(done) > 0 {
		r.recordLast(ctx, done)
	}
}

// loop returns the deliveries that have not been recorded yet.
func (r *runner) loop(ctx context.Context, last <-chan struct{}) (done []store.Delivery) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	draining := false
	for ctx.Err() == nil {
		numbered := r.Store.EventNumbered()
		claimed, err := r.turn(ctx, done)
		if err == nil {
			done = done[:0]
		} else if ctx.Err() == nil {
			r.Log.Error("events stay queued: the database failed", "target", r.target.Name, "error", err)
		}
		if draining && err == nil && claimed == 0 && r.fresh+r.failed == 0 {
			return nil
		}
		timer.Reset(r.idle(time.Now()))
		select {
		case <-ctx.Done():
		case <-last:
			draining, last = true, nil
		case <-numbered:
		case <-timer.C:
		case res := <-r.results:
			done = r.collect(append(done, r.note(res)), timer)
		}
	}
	return done
}

// collect adds the results that arrive within gather.
func (r *runner) collect(done []store.Delivery, timer *time.Timer) []store.Delivery {
	timer.Reset(gather)
	for r.fresh+r.failed > 0 {
		select {
		case res := <-r.results:
			done = append(done, r.note(res))
		case <-timer.C:
			return done
		}
	}
	return done
}

// idle returns how long to wait if nothing happens.
func (r *runner) idle(now time.Time) time.Duration {
	d := poll
	for _, t := range []time.Time{r.retry, r.breaker.until} {
		if t.After(now) {
			d = min(d, t.Sub(now))
		}
	}
	return d
}

// turn records results and claims as many lanes as there is room for.
func (r *runner) turn(ctx context.Context, done []store.Delivery) (claimed int, err error) {
	now := time.Now()
	c := store.Claim{Target: r.target.Name, Owner: r.Owner, Idle: r.fresh+r.failed == 0, Now: now, Until: now.Add(lease), Done: r.flushed(done)}
	switch r.breaker.state(now) {
	case closed:
		c.Fresh, c.Failed = r.maxFresh()-r.fresh, r.maxFailed()-r.failed
	case halfOpen:
		c.Fresh, c.Failed = 1-r.fresh, 1-r.failed
	}
	if len(done) == 0 && c.Fresh <= 0 && c.Failed <= 0 {
		return 0, nil
	}
	lanes, err := r.batcher.claim(ctx, c)
	for _, l := range lanes {
		r.count(l, 1)
		r.work <- job{l, c.Until}
	}
	return len(lanes), err
}

// recordLast records the last results when the dispatcher stops.
func (r *runner) recordLast(ctx context.Context, done []store.Delivery) {
	if _, err := r.batcher.claim(ctx, store.Claim{Target: r.target.Name, Owner: r.Owner, Now: time.Now(), Done: r.flushed(done)}); err != nil {
		r.Log.Error("recording deliveries failed: these events will be delivered again", "target", r.target.Name, "lanes", len(done), "error", err)
	}
}

// flushed flushes the target, and reverts the results of events that it could not
// flush.
func (r *runner) flushed(done []store.Delivery) []store.Delivery {
	if len(done) == 0 {
		return done
	}
	err := r.target.Sender.Flush()
	if err == nil {
		return done
	}
	for i, d := range done {
		done[i] = store.Delivery{Lane: d.Lane, Attempts: d.Lane.Attempts + 1, Due: time.Now().Add(r.wait(d.Lane.Attempts + 1)), Error: err.Error()}
	}
	return done
}

func (r *runner) count(l store.Lane, n int) {
	if l.Attempts > 0 {
		r.failed += n
	} else {
		r.fresh += n
	}
}

// note updates the runner and its breaker by a result.
func (r *runner) note(res result) store.Delivery {
	r.count(res.Lane, -1)
	if now := time.Now(); res.Due.After(now) && (r.retry.Before(now) || res.Due.Before(r.retry)) {
		r.retry = res.Due
	}
	delivered := res.Sent
	if res.Dead != nil {
		delivered--
	}
	r.target.sent.Add(int64(delivered))
	if res.err != nil {
		r.target.failed.Add(1)
	}
	log := r.Log.With("target", r.target.Name)
	switch {
	case errors.Is(res.err, errUnreachable):
		if pause, first := r.breaker.trip(time.Now(), r.firstWait()); first {
			log.Warn("event target does not respond; its events stay queued", "error", res.err, "next", pause)
		}
	case res.Sent > 0 || res.err != nil:
		if r.breaker.reset() {
			log.Info("event target responds again")
		}
	}
	switch {
	case res.Dead != nil:
		log.Error("event delivery abandoned", "event", res.Dead.Event.ID, "name", res.Dead.Event.Name, "stream", res.Dead.Event.StreamID, "attempts", res.Dead.Attempts, "error", res.err)
	case res.err != nil && res.Attempts == 1 && !errors.Is(res.err, errUnreachable):
		log.Warn("event not accepted; delivery will be retried", "event", res.Lane.Events[res.Sent].ID, "channel", res.Lane.Events[res.Sent].ChannelARN, "error", res.err)
	}
	return res.Delivery
}

// deliver sends the events of one lane to the target, in order, until one fails or time
// is up.
func (r *runner) deliver(ctx context.Context, j job) result {
	res := result{Delivery: store.Delivery{Lane: j.Lane, Attempts: j.Attempts}}
	began := time.Now()
	for res.Sent < len(j.Events) {
		if ctx.Err() != nil || r.breaker.tripped.Load() || time.Since(began) > laneTime || time.Until(j.until) < 2*callTime {
			return res // the rest is for the next claim
		}
		rest := j.Events[res.Sent:]
		n, err := r.call(ctx, rest[:min(len(rest), r.target.Batch)])
		if n > 0 {
			res.Sent += n
			res.Attempts = 0
		}
		if err != nil && ctx.Err() == nil {
			r.fail(&res, err)
			return res
		}
	}
	return res
}

func (r *runner) call(ctx context.Context, events []store.FeedEvent) (sent int, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	batch := make([]ivs.Event, len(events))
	for i, e := range events {
		batch[i] = e.Event
	}
	return r.target.Sender.Send(ctx, batch)
}

// fail decides whether an event that was not accepted is retried.
func (r *runner) fail(res *result, err error) {
	res.err, res.Error = err, err.Error()
	res.Attempts++
	event := res.Lane.Events[res.Sent].Event
	refused := errors.Is(err, errRefused) && res.Attempts >= cmp.Or(r.MaxRefusals, 40)
	if !refused && time.Since(event.Time) <= cmp.Or(r.MaxAge, 24*time.Hour) {
		res.Due = time.Now().Add(r.wait(res.Attempts))
		return
	}
	res.Dead = &store.DeadLetter{Event: event, Attempts: res.Attempts, At: time.Now(), Error: res.Error}
	res.Sent++
	res.Attempts, res.Error = 0, ""
}

func (r *runner) firstWait() time.Duration { return cmp.Or(r.FirstWait, time.Second) }

// wait returns the time until the next attempt after so many failures.
func (r *runner) wait(attempts int) time.Duration {
	return jitter(min(r.firstWait()<<min(attempts-1, 16), maxWait))
}

// jitter returns between half of d and d, so that lanes that failed together are not
// retried together.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }
