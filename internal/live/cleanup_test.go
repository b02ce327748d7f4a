package live_test

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/ingest"
	"github.com/millrace/millrace/internal/ingest/ingesttest"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/live"
	"github.com/millrace/millrace/internal/media/mediatest"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(storetest.Main(m)) }

// Leases are renewed while old history cannot be deleted, and a node stops
// although it waits for that.
func TestCleanupDelaysNoLease(t *testing.T) {
	t.Parallel() // it mostly waits
	dsn := storetest.Postgres(t)
	db := storetest.Open(t, dsn)
	w := &world{T: t}
	w.Hub = &live.Hub{Store: db, Owner: "node", Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	channel, key := w.addChannel(ivs.TypeBasic)

	at := time.Now().Add(-2 * store.Retention)
	old := storetest.Session(t, db, channel.ARN, "node", at)
	storetest.Must(t, db.WriteEnd(t.Context(), store.End{StreamID: old, Left: at, Ended: at}))
	lock := storetest.Hold(t, dsn, "SELECT stream_id FROM sessions WHERE stream_id = $1 FOR UPDATE", old)

	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	running.Go(func() { w.Hub.Run(ctx) }) // it returns none
	encoder, err := ingesttest.Publish(ctx, &running, w.Publish, ingest.Info{Protocol: "memory", StreamKey: key})
	if err != nil {
		t.Fatal(err)
	}
	frames := mediatest.Ordered.Frames(t)
	running.Go(func() { // slowly: a silent encoder would be ended, and the frames must last
		for _, f := range frames {
			if encoder.WriteFrame(f) != nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
	eventually(t, "the cleanup waits for the lock", func() bool { return lock.Waiting() > 0 })
	first := w.renewals()
	eventually(t, "the lease is renewed while the cleanup waits", func() bool { return w.renewals() > first && lock.Waiting() > 0 })
}

// renewals are how often the lease of the only open session has been renewed.
func (w *world) renewals() int64 {
	w.Helper()
	open, err := w.Store.OpenSessions(w.Context())
	if err != nil || len(open) != 1 {
		w.Fatalf("open sessions %v, %v", open, err)
	}
	return open[0].Renewals
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(90 * time.Second); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited for 90 s in vain until %s", what)
		}
	}
}

// Who has read in the database that a channel is live finds its stream.
func TestLiveInDatabaseIsFound(t *testing.T) {
	t.Parallel() // it mostly waits
	dsn := storetest.Postgres(t)
	w := &world{T: t}
	w.Hub = &live.Hub{Store: storetest.Open(t, dsn), Owner: "node", Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	channel, key := w.addChannel(ivs.TypeBasic)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	encoder, err := ingesttest.Publish(ctx, &running, w.Publish, ingest.Info{Protocol: "memory", StreamKey: key})
	if err != nil {
		t.Fatal(err)
	}
	lock := storetest.Hold(t, dsn, "SELECT stream_id FROM sessions FOR UPDATE")
	running.Go(func() {
		for _, f := range mediatest.Ordered.Frames(t) {
			if encoder.WriteFrame(f) != nil {
				return
			}
		}
	})
	eventually(t, "Stream Start is being written", func() bool { return lock.Waiting() > 0 })
	found := make(chan *live.Session, 1)
	running.Go(func() { found <- w.LiveSession(channel.ARN) })
	lock.Release()
	if <-found == nil {
		t.Error("no session is live while Stream Start is committed")
	}
}
