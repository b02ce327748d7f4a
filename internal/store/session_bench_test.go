package store_test

import (
	"context"
	"testing"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/store/storetest"
)

// A session with as many events as are shown, and as many again.
func BenchmarkStreamSession500(b *testing.B) {
	b.ReportAllocs()
	ctx := context.Background()
	db := storetest.Open(b, storetest.SQLite(b))
	c, _ := addChannel(b, db, here, "a")
	id := addSession(b, db, c.ARN, "n", at(0))
	events := make([]store.Event, 2*ivs.MaxSessionEvents)
	for i := range events {
		events[i] = store.Event{Type: ivs.EventStreamHealth, Name: ivs.StarvationStart, At: at(i)}
	}
	must(b, db.ChangeSessions(ctx, []store.SessionChange{{StreamID: id, Health: ivs.HealthStarving, Events: events}}))
	for b.Loop() {
		if s, err := db.StreamSession(ctx, c.ARN, id); err != nil || len(s.TruncatedEvents) != ivs.MaxSessionEvents {
			b.Fatalf("%d events, %v", len(s.TruncatedEvents), err)
		}
	}
}
