package store

import (
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/millrace/millrace/internal/ivs"
)

// A commit is on the disk before it is acknowledged, and keys go with their
// channel: on every connection that writes.
func TestPragmas(t *testing.T) {
	db, err := Open(t.Context(), filepath.Join(t.TempDir(), "x.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "10000"} {
		var got string
		if err := db.write.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %q, %v; want %s", pragma, got, err, want)
		}
	}
	if _, err := db.read.ExecContext(t.Context(), "DELETE FROM settings"); err == nil {
		t.Error("the read pool can write")
	}
}

// The cost of a read does not grow with the number of rows that it passes by:
// SQLite finds all of them through an index, in the order wanted.
func TestReadsUseIndexes(t *testing.T) {
	ctx := t.Context()
	db, err := Open(ctx, filepath.Join(t.TempDir(), "x.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s, p := Scope{"1", "r"}, Page{Max: 1}
	for _, f := range []ChannelFilter{{}, {Name: "n"}, {RecordingConfigurationARN: "r"}, {PlaybackRestrictionPolicyARN: "p"}, {AdConfigurationARN: "a"}} {
		db.ListChannels(ctx, s, f, p)
	}
	db.ListStreams(ctx, s, "", p)
	db.ListStreams(ctx, s, "HEALTHY", p)
	db.ListStreamSessions(ctx, "c", p)
	db.ListStreamKeys(ctx, "c", p)
	db.StreamSession(ctx, "c", "")
	db.StreamSession(ctx, "c", "st")
	db.Stream(ctx, "c")
	db.StreamKey(ctx, "k")
	db.ChannelByStreamKey(ctx, "v", "a")
	sessionEvents(ctx, db, "st")
	if _, _, err := page(ctx, db, p, 0, nil, scanKeySummary, listKeys, "c"); err != nil {
		t.Fatal(err)
	}
	if len(db.stmts) < 15 {
		t.Fatalf("only %d reads were prepared", len(db.stmts))
	}
	for q := range db.stmts {
		args := make([]any, strings.Count(q, "?"))
		for i := range args {
			args[i] = 1
		}
		plan, err := db.read.QueryContext(ctx, "EXPLAIN QUERY PLAN "+q, args...)
		if err != nil {
			t.Fatal(err)
		}
		for plan.Next() {
			var id, parent, unused int
			var step string
			if err := plan.Scan(&id, &parent, &unused, &step); err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(step, "SEARCH ") || strings.Contains(q, "health = ") && !strings.Contains(step, "sessions_by_health") {
				t.Errorf("%s\n%s", step, q)
			}
		}
		plan.Close()
	}
}

// However many stream keys are looked up, which anyone may ask for, another query waits for
// a few of them.
func TestKeyLookupsLeaveRoom(t *testing.T) {
	for name, tt := range map[string]struct {
		client func(n int) string         // that asks for a key
		other  func(t *testing.T, db *DB) // what is not to wait for all of that
	}{
		"of many clients for other queries": {strconv.Itoa, func(t *testing.T, db *DB) { _, _ = db.Channel(t.Context(), "arn") }},
		"of one client for others": {func(int) string { return "a" }, func(t *testing.T, db *DB) {
			if _, _, err := db.ChannelByStreamKey(t.Context(), "sk_unknown", "b"); !ivs.Is(err, ivs.NotFound) {
				t.Error(err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { lookUpKeys(t, tt.client, tt.other) })
		})
	}
}

// lookUpKeys looks up many keys that there are not while the database answers one query at a
// time, and then does something else.
func lookUpKeys(t *testing.T, client func(n int) string, other func(t *testing.T, db *DB)) {
	t.Helper()
	db, err := Open(t.Context(), filepath.Join(t.TempDir(), "x.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for range cap(db.reading) { // the database is slow
		if err := db.reading.enter(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	const all = 500
	var done, before atomic.Int64
	var queries sync.WaitGroup
	for n := range all {
		queries.Go(func() {
			defer done.Add(1)
			if _, _, err := db.ChannelByStreamKey(t.Context(), "sk_unknown", client(n)); !ivs.Is(err, ivs.NotFound) {
				t.Error(err)
			}
		})
	}
	synctest.Wait()
	queries.Go(func() {
		other(t, db)
		before.Store(done.Load())
	})
	synctest.Wait()
	db.reading.leave() // one at a time is answered
	queries.Wait()
	if n := before.Load(); n > all/2 { // it may be some time before this goroutine goes on and counts them
		t.Errorf("a query waited for %d of %d look-ups of keys", n, all)
	}
	if n := len(db.keyClients.of); n != 0 {
		t.Errorf("%d clients are remembered that look up nothing", n)
	}
}
