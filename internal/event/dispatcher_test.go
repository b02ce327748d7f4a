package event_test

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/store/storetest"
)

func TestDelivery(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		r := newReceiver(t)
		stop := run(t, db, "n", target(t, "hook="+r.url), target(t, "file=file:"+filepath.Join(t.TempDir(), "events")))
		c := channel(t, db, "one")
		var streams []string
		for range 10 {
			streams = append(streams, broadcast(t, db, c.ARN))
		}
		must(t, db.AddAccountEvent(t.Context(), here, store.Event{Type: ivs.EventLimitBreach, Name: "Concurrent Viewers", At: time.Now()}))
		for _, s := range streams {
			r.wants(s, fourEvents...)
		}
		stop()
		for _, name := range []string{"hook", "file"} {
			if s := status(t, db, name); s.Pending != 0 || s.Dead != 0 || s.Error != "" {
				t.Errorf("in the end the target is %+v", s)
			}
		}
		if n := r.tried(); n != 41 {
			t.Errorf("41 events took %d calls", n)
		}
	})
}

// What was written last arrives before the dispatcher stops; what is written
// while none runs arrives when one does.
func TestStopAndStart(t *testing.T) {
	db := storetest.Open(t, storetest.SQLite(t))
	r := newReceiver(t)
	stop := run(t, db, "n", target(t, "hook="+r.url))
	c := channel(t, db, "one")
	first := broadcast(t, db, c.ARN)
	stop()
	r.wants(first, fourEvents...)
	second := broadcast(t, db, c.ARN)
	run(t, db, "n", target(t, "hook="+r.url))
	r.wants(second, fourEvents...)
}

// A target that is down gets everything, in order, when it is back; another is
// not held up.
func TestTargetDown(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		r := newReceiver(t)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		address := l.Addr().String()
		l.Close()
		run(t, db, "n", target(t, "up="+r.url), target(t, "down=http://"+address))
		c := channel(t, db, "one")
		var streams []string
		for range 20 {
			streams = append(streams, broadcast(t, db, c.ARN))
		}
		for _, s := range streams {
			r.wants(s, fourEvents...)
		}
		wait(t, func() bool { return status(t, db, "down").Error != "" })
		if s := status(t, db, "down"); s.Pending != 80 || s.Oldest.IsZero() || s.Dead != 0 {
			t.Errorf("the target that is down is %+v, want 80 events pending", s)
		}

		back := &receiver{t: t}
		if l, err = net.Listen("tcp", address); err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: back}
		go server.Serve(l)
		t.Cleanup(func() { server.Close() })
		for _, s := range streams {
			back.wants(s, fourEvents...)
		}
	})
}

// A target that answers 503 to everything is asked now and then, not for every
// stream.
func TestTargetIsNotPestered(t *testing.T) {
	db := storetest.Open(t, storetest.SQLite(t))
	r := newReceiver(t)
	r.answers(func(w http.ResponseWriter, _ envelope) { w.WriteHeader(http.StatusServiceUnavailable) })
	hook := target(t, "hook="+r.url)
	must(t, db.RegisterTargets(t.Context(), []store.Target{{Name: "hook", Kind: "webhook"}}, time.Now()))
	for n := range 100 {
		session(t, db, channel(t, db, fmt.Sprint(n)).ARN)
	}
	run(t, db, "n", hook)
	wait(t, func() bool { return status(t, db, "hook").Pending == 100 && r.tried() >= 3 })
	// The pauses double from 20 ms on; until the fifth, at most 8 workers and
	// 4 times 2 probes have been there.
	if n := r.tried(); n > 20 {
		t.Errorf("100 streams made %d calls to a target that is overloaded", n)
	}
	r.answers(nil)
	wait(t, func() bool { return status(t, db, "hook").Pending == 0 })
}

// An end that is not taken at once does not arrive after the start of the
// channel's next stream.
func TestNextStreamWaits(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		r := newReceiver(t)
		must(t, db.RegisterTargets(t.Context(), []store.Target{{Name: "hook", Kind: "webhook"}}, time.Now()))
		c := channel(t, db, "one")
		first := broadcast(t, db, c.ARN)
		broadcast(t, db, c.ARN)
		var failed atomic.Bool
		r.answers(func(w http.ResponseWriter, e envelope) {
			if e.Detail.StreamID == first && e.Detail.EventName == ivs.SessionEnded && failed.CompareAndSwap(false, true) {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		})
		run(t, db, "n", target(t, "hook="+r.url))
		r.wants("", slices.Concat(fourEvents, fourEvents)...)
		if !failed.Load() {
			t.Error("the target never failed")
		}
	})
}

// One channel's events fail with 500: they are tried again, in order; other
// channels continue.
func TestOneChannelFails(t *testing.T) {
	db := storetest.Open(t, storetest.SQLite(t))
	r := newReceiver(t)
	c, d := channel(t, db, "bad"), channel(t, db, "good")
	bad := session(t, db, c.ARN)
	r.answers(func(w http.ResponseWriter, e envelope) {
		if e.Detail.StreamID == bad && e.Detail.EventName == ivs.StreamStart {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	run(t, db, "n", target(t, "hook="+r.url))
	must(t, db.StartStream(t.Context(), bad, time.Now(), ivs.IngestConfigurations{}), db.WriteEnd(t.Context(), store.End{StreamID: bad, Left: time.Now(), Ended: time.Now()}))
	good := broadcast(t, db, d.ARN)
	r.wants(good, fourEvents...)
	wait(t, func() bool { s := status(t, db, "hook"); return s.Pending == 3 && s.Error != "" })
	if s := status(t, db, "hook"); s.Error != "500 Internal Server Error" {
		t.Errorf("the target is %+v, want the error of the last attempt", s)
	}
	r.wants(bad, ivs.SessionCreated)
	r.answers(nil)
	r.wants(bad, fourEvents...)
}

// A receiver that does not answer for one channel does not hold up the others.
func TestOneChannelHangs(t *testing.T) {
	db := storetest.Open(t, storetest.SQLite(t))
	r := newReceiver(t)
	c, d := channel(t, db, "bad"), channel(t, db, "good")
	bad := session(t, db, c.ARN)
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	r.answers(func(w http.ResponseWriter, e envelope) {
		if e.Detail.StreamID == bad {
			<-release
		}
	})
	run(t, db, "n", target(t, "hook="+r.url))
	wait(t, func() bool { return r.tried() == 1 })
	for range 20 {
		r.wants(broadcast(t, db, d.ARN), fourEvents...)
	}
}

// A target gets as many calls at a time as its kind may have, and a node holds no
// more streams for it in memory than four for each call: the others are for another
// node that shares the database.
func TestCallsAtATime(t *testing.T) {
	db := storetest.Open(t, storetest.SQLite(t))
	slow, other := newReceiver(t), newReceiver(t)
	var now, most atomic.Int32
	release := make(chan struct{})
	slow.answers(func(w http.ResponseWriter, _ envelope) {
		n := now.Add(1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		<-release
		now.Add(-1)
	})
	must(t, db.RegisterTargets(t.Context(), []store.Target{{Name: "hook", Kind: "webhook"}}, time.Now()))
	const streams = 60
	for n := range streams {
		session(t, db, channel(t, db, fmt.Sprint(n)).ARN)
	}
	stop := run(t, db, "n", target(t, "hook="+slow.url))
	wait(t, func() bool { return now.Load() == 8 })
	run(t, db, "m", target(t, "hook="+other.url))
	wait(t, func() bool { return len(other.names("")) == streams-4*8 })
	for range 4*8 - 1 { // one at a time: with the last, nothing is left
		release <- struct{}{}
	}
	if n := other.tried(); n != streams-4*8 {
		t.Errorf("the other node was left %d streams, want %d", n, streams-4*8)
	}
	close(release)
	wait(t, func() bool { return status(t, db, "hook").Pending == 0 })
	stop()
	if n := most.Load(); n != 8 {
		t.Errorf("%d calls at a time, want 8", n)
	}
	for text, want := range map[string]int{"x=file:" + filepath.Join(t.TempDir(), "events"): 1, "x=stdout": 1, "x=https://example.com/": 8} {
		if got := target(t, text).Parallel; got != want {
			t.Errorf("%s gets %d calls at a time, want %d", text, got, want)
		}
	}
}

// An event that is refused again and again is a dead letter; the rest of its
// stream continue, and it can be sent again.
func TestDeadLetter(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		r := newReceiver(t)
		r.answers(func(w http.ResponseWriter, e envelope) {
			if e.Detail.EventName == ivs.StreamStart {
				w.WriteHeader(http.StatusUnprocessableEntity)
			}
		})
		run(t, db, "n", target(t, "hook="+r.url))
		id := broadcast(t, db, channel(t, db, "one").ARN)
		r.wants(id, ivs.SessionCreated, ivs.SessionEnded, ivs.StreamEnd)
		wait(t, func() bool { return status(t, db, "hook").Pending == 0 })
		if s := status(t, db, "hook"); s.Dead != 1 {
			t.Fatalf("the target is %+v, want a dead letter", s)
		}
		letters, err := db.DeadLetters(t.Context(), here, "hook", 10)
		must(t, err)
		if len(letters) != 1 || letters[0].Attempts != 3 || letters[0].Error != "refused: 422 Unprocessable Entity" || letters[0].Event.Name != ivs.StreamStart {
			t.Fatalf("dead letters %+v", letters)
		}
		r.answers(nil)
		must(t, db.Resend(t.Context(), here, letters[0].Event.ID, "hook"))
		r.wants(id, ivs.SessionCreated, ivs.SessionEnded, ivs.StreamEnd, ivs.StreamStart)
		wait(t, func() bool { return status(t, db, "hook").Dead == 0 })
	})
}

// An event that is too old when an attempt fails is given up at once; a newer
// one is tried again, whatever the failure was.
func TestTooOld(t *testing.T) {
	db := storetest.Open(t, storetest.SQLite(t))
	r := newReceiver(t)
	run(t, db, "n", target(t, "hook="+r.url))
	old := ivs.NewStreamID()
	must(t, db.CreateSession(t.Context(), store.NewSession{ChannelARN: channel(t, db, "old").ARN, StreamID: old, Owner: "n", At: time.Now().Add(-26 * time.Hour)}))
	r.wants(old, ivs.SessionCreated)
	r.answers(func(w http.ResponseWriter, e envelope) { w.WriteHeader(http.StatusInternalServerError) })
	must(t, db.ChangeSessions(t.Context(), []store.SessionChange{{StreamID: old, Health: ivs.HealthUnknown, Events: []store.Event{{Type: ivs.EventStreamHealth, Name: ivs.StarvationStart, At: time.Now().Add(-25 * time.Hour)}}}}))
	young := session(t, db, channel(t, db, "young").ARN)
	wait(t, func() bool { return status(t, db, "hook").Dead == 1 && r.tried() > 4 })
	r.answers(nil)
	r.wants(young, ivs.SessionCreated)
	wait(t, func() bool { return status(t, db, "hook").Pending == 0 })
	letters, err := db.DeadLetters(t.Context(), here, "hook", 10)
	if err != nil || len(letters) != 1 || letters[0].Event.Name != ivs.StarvationStart || letters[0].Attempts != 1 {
		t.Errorf("dead letters %+v, %v, want the old event after one attempt", letters, err)
	}
}

// Nodes that share a database share the work; every event arrives, in order.
func TestTwoNodes(t *testing.T) {
	storetest.EachDSN(t, func(t *testing.T, dsn string) {
		a, b := storetest.Open(t, dsn), storetest.Open(t, dsn)
		r := newReceiver(t)
		run(t, a, "a", target(t, "hook="+r.url))
		stop := run(t, b, "b", target(t, "hook="+r.url))
		c, d := channel(t, a, "one"), channel(t, a, "two")
		var streams []string
		for n := range 20 {
			streams = append(streams, broadcast(t, a, c.ARN), broadcast(t, b, d.ARN))
			if n == 10 {
				stop()
			}
		}
		for _, s := range streams {
			r.wants(s, fourEvents...)
		}
		if n := r.tried(); n != 160 {
			t.Errorf("160 events took %d calls", n)
		}
	})
}

// A node that was killed delivers again, at its next start, what it had in its
// hands.
func TestClaimsOfAKilledNode(t *testing.T) {
	db := storetest.Open(t, storetest.SQLite(t))
	r := newReceiver(t)
	must(t, db.RegisterTargets(t.Context(), []store.Target{{Name: "hook", Kind: "webhook"}}, time.Now()))
	id := broadcast(t, db, channel(t, db, "one").ARN)
	if n, err := db.NumberEvents(t.Context()); n != 4 || err != nil {
		t.Fatal(n, err)
	}
	lanes, err := db.RecordAndClaim(context.Background(), store.Claim{Target: "hook", Owner: "n", Now: time.Now(), Until: time.Now().Add(time.Hour), Fresh: 9})
	if err != nil || len(lanes[0]) != 1 {
		t.Fatal(lanes, err)
	}
	run(t, db, "n", target(t, "hook="+r.url))
	r.wants(id, fourEvents...)
}

// The database drops all connections, again and again: events arrive, in order.
func TestDatabaseConnectionsCut(t *testing.T) {
	dsn := storetest.Postgres(t)
	db := storetest.Open(t, dsn)
	admin, err := sql.Open("pgx", dsn)
	must(t, err)
	t.Cleanup(func() { admin.Close() })
	r := newReceiver(t)
	must(t, db.RegisterTargets(t.Context(), []store.Target{{Name: "hook", Kind: "webhook"}}, time.Now()))
	c := channel(t, db, "one")
	var streams []string
	for range 100 {
		streams = append(streams, broadcast(t, db, c.ARN))
	}
	stop := run(t, db, "n", target(t, "hook="+r.url))
	cut := 0
	for cut < 10 {
		var n int
		must(t, admin.QueryRow(`SELECT COUNT(*) FROM (SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle') AS t`).Scan(&n))
		cut += min(n, 1)
		if r.tried() >= 400 {
			break // a fast machine
		}
	}
	for _, s := range streams {
		r.wants(s, fourEvents...)
	}
	stop()
	t.Logf("400 events took %d calls while connections were cut %d times", r.tried(), cut)
}

// Without a database the dispatcher still ends with its context.
func TestDatabaseGone(t *testing.T) {
	db, err := store.Open(t.Context(), storetest.SQLite(t))
	must(t, err)
	stop := run(t, db, "n", target(t, "out=stdout"))
	must(t, db.Close())
	stop()
}
