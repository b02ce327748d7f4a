package main

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/api"
	"github.com/millrace/millrace/internal/live"
	"github.com/millrace/millrace/internal/store"
)

// A drain moves the streams of a server to other nodes before it stops: it accepts no new
// encoders, /readyz fails, and encoders that support it are asked to reconnect, which
// leads them to another node.
type drain struct {
	hub *live.Hub
	log *slog.Logger

	once  sync.Once
	began chan struct{} // closed when it begins
}

func newDrain(hub *live.Hub, log *slog.Logger) *drain {
	return &drain{hub: hub, log: log, began: make(chan struct{})}
}

// begin begins to drain. It can be called more than once.
func (d *drain) begin() {
	d.once.Do(func() {
		d.hub.Drain()
		d.log.Info("draining: no new encoders are taken", "streams", d.hub.Sessions())
		close(d.began)
	})
}

// call serves POST /_millrace/drain.
func (d *drain) call(w http.ResponseWriter, _ *http.Request, _ store.Scope) error {
	d.begin()
	api.Reply(w, struct {
		Draining bool `json:"draining"`
		Streams  int  `json:"streams"` // that have not ended
	}{true, d.hub.Sessions()})
	return nil
}

// after returns a context that is done when the server must end its streams: once ctx is
// done, it drains until they have ended by themselves, for at most limit, which is 0
// without a cluster. The caller calls stop at the end.
func (d *drain) after(ctx context.Context, limit time.Duration) (_ context.Context, stop func()) {
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
		d.begin()
		d.wait(ending, limit)
	}()
	return ending, func() {
		cancel()
		<-done
	}
}

// wait returns when all streams have ended, or the time is over.
func (d *drain) wait(ctx context.Context, limit time.Duration) {
	if limit == 0 {
		return
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	over := time.After(limit)
	for d.hub.Sessions() > 0 {
		select {
		case <-ctx.Done():
			return
		case <-over:
			d.log.Info("the streams that are left are ended (--drain)", "streams", d.hub.Sessions())
			return
		case <-tick.C:
		}
	}
}
