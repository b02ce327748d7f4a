package live_test

import (
	"context"
	"database/sql"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/ingest"
	"github.com/millrace/millrace/internal/ingest/ingesttest"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/live"
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

	old, at := ivs.NewStreamID(), time.Now().Add(-2*store.Retention)
	if err := db.CreateSession(t.Context(), store.NewSession{ChannelARN: channel.ARN, StreamID: old, Owner: "node", At: at}); err != nil {
		t.Fatal(err)
	}
	if err := db.WriteEnd(t.Context(), store.End{StreamID: old, Left: at, Ended: at}); err != nil {
		t.Fatal(err)
	}
	waiting := w.lock(dsn, old)

	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	running.Go(func() { w.Hub.Run(ctx) }) // it returns none
	encoder, err := ingesttest.Publish(ctx, &running, w.Publish, ingest.Info{Protocol: "memory", StreamKey: key})
	if err != nil {
		t.Fatal(err)
	}
	frames := ordered.Frames(t)
	running.Go(func() { // slowly: a silent encoder would be ended, and the frames must last
		for _, f := range frames {
			if encoder.WriteFrame(f) != nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
	eventually(t, "the cleanup waits for the lock", waiting)
	first := w.renewals()
	eventually(t, "the lease is renewed twice", func() bool { return w.renewals() >= first+2 })
	if !waiting() {
		t.Error("the cleanup does not wait any more")
	}
}

// lock has another process hold the row of a session until the end of the test,
// and returns what reports whether somebody waits for it.
func (w *world) lock(dsn, streamID string) (waiting func() bool) {
	w.Helper()
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { db.Close() })
	tx, err := db.BeginTx(w.Context(), nil) // rolled back at the end of the test
	if err != nil {
		w.Fatal(err)
	}
	if err := tx.QueryRowContext(w.Context(), "SELECT stream_id FROM sessions WHERE stream_id = $1 FOR UPDATE", streamID).Scan(&streamID); err != nil {
		w.Fatal(err)
	}
	return func() (some bool) {
		if err := db.QueryRowContext(w.Context(), "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)").Scan(&some); err != nil {
			w.Error(err)
		}
		return some
	}
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
