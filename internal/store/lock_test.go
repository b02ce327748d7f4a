package store_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/store/storetest"
)

func renewals(t *testing.T, db *store.DB) map[string]store.OpenSession {
	t.Helper()
	open, err := db.OpenSessions(t.Context())
	must(t, err)
	all := map[string]store.OpenSession{}
	for _, s := range open {
		all[s.StreamID] = s
	}
	return all
}

// While a session of a node is locked, the node renews its others, and neither
// loses the locked one nor has it ended by another node.
func TestOneLockedSession(t *testing.T) {
	t.Parallel()
	dsn := storetest.Postgres(t)
	owner, other := storetest.Open(t, dsn), storetest.Open(t, dsn)
	var ids []string
	var states []store.SessionState
	for range 2 {
		c, _ := addChannel(t, owner, here, "")
		id := addSession(t, owner, c.ARN, "n1", t0)
		ids, states = append(ids, id), append(states, store.SessionState{StreamID: id, Health: ivs.HealthHealthy})
	}
	before := renewals(t, other)
	held := storetest.Hold(t, dsn, "SELECT 1 FROM sessions WHERE stream_id = $1 FOR UPDATE", ids[0])
	lost, err := owner.Heartbeat(t.Context(), "n1", at(5), states)
	if err != nil || len(lost) != 0 {
		t.Fatalf("Heartbeat = %v, %v", lost, err)
	}
	must(t, other.ProbeWrite(t.Context()))
	now := renewals(t, other)
	if now[ids[1]].Renewals != before[ids[1]].Renewals+1 || now[ids[0]] != before[ids[0]] {
		t.Errorf("renewals were %v and are %v; the locked one is %s", before, now, ids[0])
	}
	expired := []store.OpenSession{before[ids[0]], before[ids[1]]}
	if ended, err := other.EndExpired(t.Context(), expired); err != nil || len(ended) != 0 {
		t.Errorf("EndExpired while one is locked = %v, %v", ended, err)
	}
	held.Release()
	if lost, err := owner.Heartbeat(t.Context(), "n1", at(10), states); err != nil || len(lost) != 0 {
		t.Fatalf("Heartbeat = %v, %v", lost, err)
	}
	if ended, err := other.EndExpired(t.Context(), expired); err != nil || len(ended) != 0 {
		t.Errorf("EndExpired after it = %v, %v", ended, err)
	}
}

// A node that can't write sessions because their table is locked must not judge
// by the renewals that others can't write either.
func TestProbeOfALockedTable(t *testing.T) {
	t.Parallel()
	dsn := storetest.Postgres(t)
	db := storetest.Open(t, dsn)
	held := storetest.Hold(t, dsn, "LOCK TABLE sessions IN SHARE MODE") // as CREATE INDEX does
	wantKind(t, "ProbeWrite", db.ProbeWrite(t.Context()), ivs.ServiceUnavailable)
	held.Release()
	must(t, db.ProbeWrite(t.Context()))
}

// Calls that wait for a lock with all the connections that calls have do not delay
// heartbeats: in the meantime other nodes would end this one's sessions.
func TestHeartbeatsPassCalls(t *testing.T) {
	t.Parallel()
	dsn := storetest.Postgres(t)
	db := storetest.Open(t, dsn)
	epoch, err := db.RegisterNode(t.Context(), store.Node{Name: "n1"})
	must(t, err, db.JoinCluster(t.Context(), "n1", epoch, store.Membership{URL: "http://a"}))
	c, _ := addChannel(t, db, here, "")
	id := addSession(t, db, c.ARN, "n1", t0)
	held := storetest.Hold(t, dsn, "LOCK TABLE channels")
	var calls sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	defer calls.Wait()
	defer cancel()
	again := func(call func()) {
		calls.Go(func() {
			for ctx.Err() == nil {
				call() // the lock makes it fail
			}
		})
	}
	for range 12 { // more than there are connections
		again(func() {
			c := newChannel(here, "")
			_ = db.CreateChannel(ctx, c, newKey(here, c.ARN))
		})
		again(func() { _, _ = db.Channel(ctx, c.ARN) })
	}
	for held.Waiting() < 16 {
		time.Sleep(time.Millisecond)
	}
	_, err = db.NodeHeartbeat(t.Context(), "n1", epoch, store.NodeReport{})
	must(t, err)
	lost, err := db.Heartbeat(t.Context(), "n1", at(5), []store.SessionState{{StreamID: id, Health: ivs.HealthHealthy}})
	must(t, err)
	members, err := db.Members(t.Context())
	must(t, err)
	streams, err := db.OwnedStreams(t.Context())
	must(t, err)
	if len(lost) != 0 || len(members) != 1 || len(streams) != 1 {
		t.Errorf("lost %v, members %v, streams %v", lost, members, streams)
	}
}

// A node that hangs in the middle of a transaction keeps what it has locked from
// others only for seconds.
func TestHungTransaction(t *testing.T) {
	t.Parallel()
	dsn := storetest.Postgres(t)
	hung, other := storetest.Open(t, dsn), storetest.Open(t, dsn)
	c, _ := addChannel(t, other, here, "")
	id := addSession(t, other, c.ARN, "n1", t0)
	ctx, wake := context.WithCancel(t.Context())
	locked, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- hung.Hang(ctx, id, func() { close(locked) }) }()
	<-locked
	ended, err := other.EndSessionsOf(t.Context(), "n1") // leaves it out
	if err != nil || len(ended) != 0 {
		t.Errorf("EndSessionsOf = %v, %v", ended, err)
	}
	must(t, other.ChangeSessions(t.Context(), []store.SessionChange{{StreamID: id, Health: ivs.HealthHealthy}}))
	ended, err = other.EndSessionsOf(t.Context(), "n1")
	if err != nil || !slices.Equal(ended, []string{id}) {
		t.Errorf("EndSessionsOf = %v, %v", ended, err)
	}
	wake()
	if err := <-done; err == nil {
		t.Error("the hung transaction was committed")
	}
}

// A caller that leaves during the COMMIT learns how it ended: it would write its events
// again, which are there.
func TestCommitIsNotInterrupted(t *testing.T) {
	t.Parallel()
	dsn := storetest.Postgres(t)
	db := storetest.Open(t, dsn)
	c, _ := addChannel(t, db, here, "")
	id := addSession(t, db, c.ARN, "n1", t0)
	execRaw(t, dsn, `CREATE FUNCTION wait_for_lock() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NULL; END'`,
		"CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON events DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_for_lock()")
	held := storetest.Hold(t, dsn, "SELECT pg_advisory_xact_lock(4711)")
	ctx, leave := context.WithCancel(t.Context())
	written := make(chan error, 1)
	go func() {
		written <- db.ChangeSessions(ctx, []store.SessionChange{{StreamID: id, Health: ivs.HealthHealthy,
			Events: []store.Event{{Type: ivs.EventStreamState, Name: ivs.StreamTakeover, At: at(1)}}}})
	}()
	for held.Waiting() == 0 && len(written) == 0 {
		time.Sleep(time.Millisecond)
	}
	leave()
	held.Release()
	if err := <-written; err != nil {
		t.Errorf("a caller that leaves during the COMMIT: %v", err)
	}
	if err := db.ChangeSessions(ctx, []store.SessionChange{{StreamID: id, Health: ivs.HealthHealthy}}); err == nil {
		t.Error("one that has left before writes")
	}
}
