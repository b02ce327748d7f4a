package main

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/api"
	"github.com/millrace/millrace/internal/store"
)

// A drain moves the streams of a server to other nodes before it stops: it accepts no new
// encoders, /readyz fails, and encoders that support it are asked to reconnect, which
// leads them to another node.
type drain struct {
	streams func() int    // that have not ended, those included that are forwarded to other nodes
	limit   time.Duration // for all that continues after the server has been asked to stop
	move    bool          // streams are part of that: their encoders have another node to go to
	log     *slog.Logger

	once  sync.Once
	began chan struct{} // closed when it begins
	over  atomic.Pointer[time.Time]
}

// leastTime is the time that is left for streams to end, and for requests in progress,
// when the streams have used up the limit.
const leastTime = 5 * time.Second

func newDrain(cfg config, streams func() int, log *slog.Logger) *drain {
	return &drain{streams: streams, limit: cfg.Drain, move: cfg.NodeURL != "", log: log, began: make(chan struct{})}
}

// begin begins to drain. It can be called more than once.
func (d *drain) begin() {
	d.once.Do(func() {
		close(d.began)
		d.log.Info("draining: no new encoders are taken", "streams", d.streams())
	})
}

// drainOutput is the state of a node that drains.
type drainOutput struct {
	Draining bool `json:"draining"`
	Streams  int  `json:"streams"` // streams that have not ended on that node, including those whose encoders it forwards to others
}

// call serves POST /_millrace/drain: drains a node, which takes no new encoders until it is
// started again; /readyz says so, and encoders that support it are asked to reconnect.
//
//   - node: Name of the node; the one that answers by default.
func (d *drain) call(w http.ResponseWriter, _ *http.Request, _ store.Scope) error {
	d.begin()
	api.Reply(w, drainOutput{true, d.streams()})
	return nil
}

// after returns a context that is done when the server must end its streams: once ctx is
// done, it drains until they have ended by themselves, where they can move, for at most
// the limit. The caller calls stop at the end.
func (d *drain) after(ctx context.Context) (_ context.Context, stop func()) {
	ending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer cancel()
		select {
		case <-ctx.Done():
		case <-ending.Done():
			return
		}
		over := time.Now().Add(d.limit)
		d.over.Store(&over)
		d.begin()
		if d.move {
			d.wait(ending)
		}
	}()
	return ending, func() {
		cancel()
		<-done
	}
}

// wait returns when all streams have ended, or the time is over.
func (d *drain) wait(ctx context.Context) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	over := time.After(d.limit)
	for d.streams() > 0 {
		select {
		case <-ctx.Done():
			return
		case <-over:
			d.log.Info("ending the remaining streams: the time to drain is over (--drain)", "streams", d.streams())
			return
		case <-tick.C:
		}
	}
}

// left is how long requests that are being answered may continue when the streams have
// ended: for what is left of the limit.
func (d *drain) left() time.Duration {
	if over := d.over.Load(); over != nil {
		return max(time.Until(*over), leastTime)
	}
	return d.limit
}
