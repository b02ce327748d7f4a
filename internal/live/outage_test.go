package live_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/live"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/store/storetest"
)

// Outages of the database. Each returns what ends it.
var outages = []struct {
	name  string
	lasts time.Duration
	begin func(w *world, db *sql.Conn) (end func())
}{
	{"another process holds the write lock", 20 * sec, func(w *world, db *sql.Conn) func() {
		w.exec(db, "BEGIN IMMEDIATE")
		return func() { w.exec(db, "ROLLBACK") }
	}},
	{"the disk is full", 34 * sec, func(w *world, db *sql.Conn) func() {
		changes := w.triggers(db)
		for _, on := range changes {
			w.exec(db, fmt.Sprintf(`CREATE TRIGGER "full %[1]s" BEFORE %[1]s BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END`, on))
		}
		return func() {
			for _, on := range changes {
				w.exec(db, fmt.Sprintf(`DROP TRIGGER "full %s"`, on))
			}
		}
	}},
}

// triggers are all changes that triggers can be put on.
func (w *world) triggers(db *sql.Conn) (changes []string) {
	w.Helper()
	rows, err := db.QueryContext(w.Context(), "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
	if err != nil {
		w.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var table string
		if err := rows.Scan(&table); err != nil {
			w.Fatal(err)
		}
		for _, change := range []string{"INSERT", "UPDATE", "DELETE"} {
			changes = append(changes, change+" ON "+table)
		}
	}
	if rows.Err() != nil || len(changes) < 20 {
		w.Fatalf("changes %v, %v", changes, rows.Err())
	}
	return changes
}

func (w *world) exec(db *sql.Conn, query string) {
	w.Helper()
	if _, err := db.ExecContext(w.Context(), query); err != nil {
		w.Fatalf("%s: %v", query, err)
	}
}

// other is another process that has the database open.
func (w *world) other() *sql.Conn {
	w.Helper()
	db, err := sql.Open("sqlite", "file:"+w.dsn+"?_pragma=busy_timeout(60000)")
	if err != nil {
		w.Fatal(err)
	}
	c, err := db.Conn(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { c.Close(); db.Close() })
	return c
}

// eventsOf are the events of a channel's latest session, as events has them.
func (w *world) eventsOf(c ivs.Channel, began time.Time) []string {
	w.Helper()
	mine := w.channel
	defer func() { w.channel = mine }()
	w.channel = c
	return w.events(began)
}

// A database that takes nothing for longer than a lease ends no stream, on none
// of two nodes that share it: neither its own node nor another one takes it for
// dead. An encoder that left meanwhile has left when it did. A node that really
// died is found out when the others have watched it for a lease.
func TestOutage(t *testing.T) {
	for _, tt := range outages {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, ivs.TypeStandard, live.Limits{}, func(w *world) { testOutage(w, tt.lasts, tt.begin) })
		})
	}
}

func testOutage(w *world, lasts time.Duration, begin func(*world, *sql.Conn) func()) {
	time.Sleep(3650 * time.Millisecond) // the second node looks at leases just before the first renews its own
	second := &live.Hub{Store: w.Store, Owner: "second", Log: slog.New(slog.DiscardHandler)}
	ctx, stop := context.WithCancel(w.Context())
	running := make(chan error)
	go func() { running <- second.Run(ctx) }()
	defer func() { stop(); <-running }()

	began := time.Now()
	leaver, key := w.addChannel(ivs.TypeStandard)
	dead, _ := w.addChannel(ivs.TypeStandard)
	stays, leaves := w.publish(w.key, ""), w.publish(key, "")
	w.running.Go(func() {
		if err := leaves.Send(7 * sec); err != nil {
			w.Error(err)
		}
		leaves.leave()
	})
	stays.mustSend(2 * sec)
	storetest.Session(w.T, w.Store, dead.ARN, "dead", time.Now())
	end := begin(w, w.other())
	stays.mustSend(lasts)
	end()
	stays.mustSend(12 * sec)
	if diff := cmp.Diff([]string{"Session Created 2"}, w.eventsOf(dead, began)); diff != "" {
		w.Errorf("a lease after the outage has not been watched for: %s", diff)
	}
	stays.mustSend(28 * sec)
	for c, want := range map[*ivs.Channel][]string{
		&w.channel: {"Session Created 0", "Stream Start 0"},
		&leaver:    {"Session Created 0", "Stream Start 0", "Session Ended 7", "Stream End 7"},
		&dead:      {"Session Created 2", "Session Ended 2"},
	} {
		got := w.eventsOf(*c, began)
		if n := len(got); n == 4 && strings.HasPrefix(got[3], "Stream End") {
			got[3] = want[3] // the stream ends when that could be tried, some seconds after its encoder had left
		}
		if diff := cmp.Diff(want, got); diff != "" {
			w.Errorf("events: %s", diff)
		}
	}
	if h := w.health(); h != ivs.HealthHealthy {
		w.Errorf("health %q", h)
	}
	stays.leave()
}

// A node whose clock is wrong, or is set, keeps its streams as long as it renews
// their leases, even at the last moment, and its own clock ends no session of another
// node.
func TestClockOfAnotherNode(t *testing.T) {
	bubble(t, ivs.TypeStandard, live.Limits{}, func(w *world) {
		began := time.Now()
		distant, _ := w.addChannel(ivs.TypeStandard)
		id := storetest.Session(w.T, w.Store, distant.ARN, "distant", began)
		e := w.publish(w.key, "")
		for _, wrong := range []time.Duration{20 * sec, -time.Hour, 0, time.Hour} {
			for range 3 {
				lost, err := w.Store.Heartbeat(w.Context(), "distant", time.Now().Add(wrong), []store.SessionState{{StreamID: id, Health: ivs.HealthHealthy}})
				if err != nil || len(lost) > 0 {
					w.Fatalf("with a clock that is wrong by %v: lost %v, %v", wrong, lost, err)
				}
				e.mustSend(14 * sec)
			}
		}
		e.mustSend(30 * sec)
		if got := w.eventsOf(distant, began); len(got) != 2 || !strings.HasPrefix(got[1], "Session Ended") {
			w.Errorf("events of a node that has died: %q", got)
		}
		if diff := cmp.Diff([]string{"Session Created 0", "Stream Start 0"}, w.events(began)); diff != "" {
			w.Error(diff)
		}
		e.leave()
	})
}

// A heartbeat that is stuck is reported after 30 s, and no other.
func TestStalled(t *testing.T) {
	bubble(t, ivs.TypeStandard, live.Limits{}, func(w *world) {
		e := w.publish(w.key, "")
		e.mustSend(40 * sec)
		if err := w.Stalled(); err != nil {
			w.Errorf("while heartbeats are written: %v", err)
		}
		w.still()
		e.mustSend(20 * sec)
		if err := w.Stalled(); err != nil {
			w.Errorf("20 s after the last heartbeat: %v", err)
		}
		e.mustSend(15 * sec)
		if err := w.Stalled(); err == nil {
			w.Error("35 s after the last heartbeat nothing is reported")
		}
		e.leave()
	})
}
