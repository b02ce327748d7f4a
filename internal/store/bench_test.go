package store_test

import (
	"testing"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/store/storetest"
)

func eachEngine(b *testing.B, f func(b *testing.B, db *store.DB)) {
	b.Run("sqlite", func(b *testing.B) { f(b, storetest.Open(b, storetest.SQLite(b))) })
	b.Run("postgres", func(b *testing.B) { f(b, storetest.Open(b, storetest.Postgres(b))) })
}

func BenchmarkCreateChannel(b *testing.B) {
	eachEngine(b, func(b *testing.B, db *store.DB) {
		b.ReportAllocs()
		for b.Loop() {
			addChannel(b, db, here, "")
		}
	})
}

// One heartbeat of a node with 1,000 live channels.
func BenchmarkHeartbeat1000(b *testing.B) {
	eachEngine(b, func(b *testing.B, db *store.DB) {
		var states []store.SessionState
		for range 1000 {
			c, _ := addChannel(b, db, here, "")
			id := addSession(b, db, c.ARN, "n", t0)
			must(b, db.StartStream(b.Context(), id, t0, ingest))
			states = append(states, store.SessionState{StreamID: id, Health: ivs.HealthHealthy, ViewerCount: 5})
		}
		b.ReportAllocs()
		for b.Loop() {
			lost, err := db.Heartbeat(b.Context(), "n", t0, states)
			if err != nil || lost != nil {
				b.Fatal(lost, err)
			}
		}
	})
}

// From an existing database to a usable one.
func BenchmarkOpen(b *testing.B) {
	run := func(b *testing.B, dsn string) {
		c, _ := addChannel(b, storetest.Open(b, dsn), here, "")
		for b.Loop() {
			db, err := store.Open(b.Context(), dsn)
			must(b, err)
			_, err = db.Channel(b.Context(), c.ARN)
			must(b, err, db.Close())
		}
	}
	b.Run("sqlite", func(b *testing.B) { run(b, storetest.SQLite(b)) })
	b.Run("postgres", func(b *testing.B) { run(b, storetest.Postgres(b)) })
}

func BenchmarkChannelByStreamKey(b *testing.B) {
	eachEngine(b, func(b *testing.B, db *store.DB) {
		_, k := addChannel(b, db, here, "")
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := db.ChannelByStreamKey(b.Context(), k.Value, "a"); err != nil {
				b.Fatal(err)
			}
		}
	})
}
