package store_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/store/storetest"
)

// register makes the database keep events for targets with those names.
func register(t testing.TB, db *store.DB, names ...string) {
	t.Helper()
	var targets []store.Target
	for _, n := range names {
		targets = append(targets, store.Target{Name: n, Kind: "test"})
	}
	must(t, db.RegisterTargets(context.Background(), targets, t0))
}

// number gives all events their numbers.
func number(t testing.TB, db *store.DB) (total int64) {
	t.Helper()
	for {
		n, err := db.NumberEvents(context.Background())
		must(t, err)
		if n == 0 {
			return total
		}
		total += n
	}
}

// claim asks for every lane of a target at a time, having done some.
func claim(t testing.TB, db *store.DB, target, owner string, now time.Time, done ...store.Delivery) []store.Lane {
	t.Helper()
	all, err := db.RecordAndClaim(context.Background(), store.Claim{
		Target: target, Owner: owner, Now: now, Until: now.Add(time.Minute), Fresh: 100, Failed: 100, Done: done})
	must(t, err)
	lanes := all[0]
	slices.SortFunc(lanes, func(a, b store.Lane) int {
		if len(a.Events) == 0 || len(b.Events) == 0 {
			return len(a.Events) - len(b.Events)
		}
		return int(a.Events[0].Number - b.Events[0].Number)
	})
	return lanes
}

// names are the names of a lane's events.
func names(l store.Lane) (all []string) {
	for _, e := range l.Events {
		all = append(all, e.Name)
	}
	return all
}

// broadcast writes a session from its first event to its last.
func broadcast(t testing.TB, db *store.DB, channelARN string, from int) (streamID string) {
	t.Helper()
	return storetest.Broadcast(t, db, channelARN, at(from))
}

// A lane has the events of a channel, of its streams one after the other.
func TestLanes(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		register(t, db, "a", "b")
		one, _ := addChannel(t, db, here, "one")
		two, _ := addChannel(t, db, here, "two")
		broadcast(t, db, one.ARN, 0)
		broadcast(t, db, two.ARN, 10)
		broadcast(t, db, one.ARN, 20)
		if n := number(t, db); n != 12 {
			t.Fatalf("NumberEvents numbered %d events, want 12", n)
		}
		all := []string{"Session Created", "Stream Start", "Session Ended", "Stream End"}
		twice := slices.Concat(all, all)
		lanes := claim(t, db, "a", "n1", t0)
		if len(lanes) != 2 || lanes[0].Name != one.ARN || lanes[1].Name != two.ARN {
			t.Fatalf("claimed %+v, want one lane for each of the two channels", lanes)
		}
		if got := names(lanes[0]); !slices.Equal(got, twice) {
			t.Errorf("the lane of two streams has %q, want %q", got, twice)
		}
		if got := names(lanes[1]); !slices.Equal(got, all) {
			t.Errorf("the lane of one stream has %q, want %q", got, all)
		}
		if again := claim(t, db, "a", "n2", t0); len(again) != 0 {
			t.Errorf("another node claims %d lanes that are claimed", len(again))
		}
		if other := claim(t, db, "b", "n2", t0); len(other) != 2 {
			t.Errorf("another target has %d lanes, want 2", len(other))
		}

		// One is delivered; of the other the third event fails, and the next
		// stream waits with it.
		retry := t0.Add(time.Second)
		left := claim(t, db, "a", "n1", t0, store.Delivery{Lane: lanes[1], Sent: 4},
			store.Delivery{Lane: lanes[0], Sent: 2, Attempts: 1, Due: retry, Error: "down"})
		broadcast(t, db, one.ARN, 30)
		number(t, db)
		left = append(left, claim(t, db, "a", "n1", t0)...)
		if len(left) != 0 {
			t.Errorf("%d lanes are due after one was delivered and one failed", len(left))
		}
		left = claim(t, db, "a", "n1", retry)
		if len(left) != 1 || left[0].Attempts != 1 || !slices.Equal(names(left[0]), append(twice[2:], all...)) {
			t.Errorf("after its wait the failed lane is %+v", left)
		}
	})
}

// The lanes that a version before this one left, one for each stream, become
// lanes of channels: nothing that is not delivered is lost.
func TestLanesOfStreamsMigrate(t *testing.T) {
	storetest.EachDSN(t, func(t *testing.T, dsn string) {
		db := storetest.Open(t, dsn)
		register(t, db, "a")
		one, _ := addChannel(t, db, here, "one")
		two, _ := addChannel(t, db, here, "two")
		s1, s2, s3 := broadcast(t, db, one.ARN, 0), broadcast(t, db, two.ARN, 10), broadcast(t, db, one.ARN, 20)
		must(t, db.AddAccountEvent(t.Context(), here, store.Event{Type: ivs.EventLimitBreach, Name: "Concurrent Viewers", At: at(30)}))
		number(t, db)
		events, _, err := db.Feed(t.Context(), store.FeedFilter{Scope: here}, 0, 20)
		must(t, err)
		again := events[4] // of s2

		text, err := os.ReadFile("migrations/0002_outbox.sql")
		must(t, err)
		_, table, _ := strings.Cut(string(text), "CREATE TABLE outbox")
		table, _, _ = strings.Cut(table, "CREATE TABLE")
		old := []string{"DROP TABLE outbox", "CREATE TABLE outbox" + table}
		for _, l := range []struct {
			lane, stream string
			after, last  int64
		}{
			{s1, s1, 2, 4}, {s2, s2, 5, 8}, {s3, s3, 8, 12}, {"", "", 12, 13}, {"deleted", "deleted", 1, 2}, {"resend/" + again.ID, s2, again.Number - 1, again.Number},
		} {
			old = append(old, fmt.Sprintf("INSERT INTO outbox VALUES ('a', '%s', '%s', %d, %d, 3, 99, 'n', 99, 'down')", l.lane, l.stream, l.after, l.last))
		}
		migration, err := os.ReadFile("migrations/0013_lane_of_channel.sql")
		must(t, err)
		execRaw(t, dsn, append(old, string(migration))...)

		got := map[string][]string{}
		for _, l := range claim(t, db, "a", "n", t0) {
			got[l.Name] = names(l)
		}
		want := map[string][]string{
			one.ARN:              {"Session Ended", "Stream End", "Session Created", "Stream Start", "Session Ended", "Stream End"},
			two.ARN:              {"Stream Start", "Session Ended", "Stream End"},
			"":                   {"Concurrent Viewers"},
			"resend/" + again.ID: {"Session Created"},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("lanes after the migration (-want +got):\n%s", diff)
		}
	})
}

// What a lane gets while it is being delivered is not lost with it.
func TestLaneGrows(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		register(t, db, "a")
		c, _ := addChannel(t, db, here, "")
		id := addSession(t, db, c.ARN, "n", t0)
		number(t, db)
		lanes := claim(t, db, "a", "n1", t0)
		must(t, db.StartStream(t.Context(), id, at(1), ingest))
		number(t, db)
		lanes = claim(t, db, "a", "n1", t0, store.Delivery{Lane: lanes[0], Sent: 1})
		if len(lanes) != 1 || !slices.Equal(names(lanes[0]), []string{ivs.StreamStart}) {
			t.Fatalf("claimed %+v, want the event that came meanwhile", lanes)
		}
		if lanes = claim(t, db, "a", "n1", t0, store.Delivery{Lane: lanes[0], Sent: 1}); len(lanes) != 0 {
			t.Errorf("%d lanes are left after the last delivery", len(lanes))
		}
	})
}

// A lane whose node is gone goes to another; what the first says of it then is
// ignored.
func TestClaimRunsOut(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		register(t, db, "a")
		c, _ := addChannel(t, db, here, "")
		broadcast(t, db, c.ARN, 0)
		number(t, db)
		lost := claim(t, db, "a", "n1", t0)
		taken := claim(t, db, "a", "n2", t0.Add(time.Minute))
		if len(taken) != 1 {
			t.Fatalf("%d lanes can be claimed a minute later, want 1", len(taken))
		}
		claim(t, db, "a", "n1", t0.Add(time.Minute), store.Delivery{Lane: lost[0], Sent: 4})
		left := claim(t, db, "a", "n2", t0.Add(time.Minute), store.Delivery{Lane: taken[0], Sent: 1, Attempts: 1, Error: "down"})
		if len(left) != 1 || len(left[0].Events) != 3 {
			t.Errorf("left: %+v, want the lane with its last three events", left)
		}

		// A node that comes back has again what it had before; others do not.
		for owner, want := range map[string]int{"n1": 0, "n2": 1} {
			got, err := db.RecordAndClaim(t.Context(), store.Claim{Target: "a", Owner: owner, Idle: true, Now: t0.Add(time.Minute), Until: t0.Add(2 * time.Minute), Fresh: 9, Failed: 9})
			if err != nil || len(got[0]) != want {
				t.Errorf("after a restart %s claims %v, %v; want %d lanes", owner, got, err, want)
			}
		}
	})
}

func TestDeadLetters(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		register(t, db, "a", "b")
		c, _ := addChannel(t, db, here, "one")
		broadcast(t, db, c.ARN, 0)
		number(t, db)
		lane := claim(t, db, "a", "n", t0)[0]
		dead := store.DeadLetter{Event: lane.Events[1].Event, Attempts: 8, At: t0.Add(time.Hour), Error: "400 Bad \x00Request" + strings.Repeat("\xc3", 2000)}
		claim(t, db, "a", "n", t0, store.Delivery{Lane: lane, Sent: 2, Dead: &dead})

		letters, err := db.DeadLetters(t.Context(), here, "a", 10)
		must(t, err)
		dead.Error = "400 Bad Request" // what PostgreSQL refuses as text is left out
		if diff := cmp.Diff([]store.DeadLetter{dead}, letters); diff != "" {
			t.Errorf("DeadLetters (-want +got):\n%s", diff)
		}
		other := store.Scope{Account: here.Account, Region: "us-east-1"}
		if letters, err := db.DeadLetters(t.Context(), other, "a", 10); err != nil || len(letters) != 0 {
			t.Errorf("DeadLetters of another region = %v, %v", letters, err)
		}
		if err := db.Resend(t.Context(), other, dead.Event.ID, ""); !ivs.Is(err, ivs.NotFound) {
			t.Errorf("Resend from another region = %v, want NotFound", err)
		}
		if err := db.Resend(t.Context(), here, dead.Event.ID, "nowhere"); !ivs.Is(err, ivs.NotFound) {
			t.Errorf("Resend to an unknown target = %v, want NotFound", err)
		}

		if _, err := db.ResendDead(t.Context(), here, "nowhere"); !ivs.Is(err, ivs.NotFound) {
			t.Errorf("ResendDead for an unknown target = %v, want NotFound", err)
		}
		if n, err := db.ResendDead(t.Context(), here, "a"); n != 1 || err != nil {
			t.Errorf("ResendDead = %d, %v, want 1", n, err)
		}

		// Sent again, it is one event in a lane of its own, and no dead letter once it arrives.
		must(t, db.Resend(t.Context(), here, dead.Event.ID, "a"))
		for _, l := range claim(t, db, "a", "n", at(1)) {
			if l.Name != lane.Name && (len(l.Events) != 1 || l.Events[0].ID != dead.Event.ID) {
				t.Errorf("the event that is sent again is %+v", l)
			}
			claim(t, db, "a", "n", t0, store.Delivery{Lane: l, Sent: len(l.Events)})
		}
		if letters, err := db.DeadLetters(t.Context(), here, "a", 10); err != nil || len(letters) != 0 {
			t.Errorf("DeadLetters after the event was delivered = %v, %v", letters, err)
		}
		if n, err := db.ResendDead(t.Context(), here, "a"); n != 0 || err != nil {
			t.Errorf("ResendDead with no dead letter = %d, %v", n, err)
		}
		must(t, db.Resend(t.Context(), here, dead.Event.ID, ""))
		if a, b := claim(t, db, "a", "n", at(2)), claim(t, db, "b", "n", at(2)); len(a) != 1 || len(b) != 2 {
			t.Errorf("an event sent again to all is in %d lanes of a and %d of b, want 1 and 2", len(a), len(b))
		}

		// A node that was away has lost its lanes, and makes no dead letter of them.
		if taken := claim(t, db, "a", "m", at(100)); !slices.ContainsFunc(taken, func(l store.Lane) bool { return l.Name == lane.Name }) {
			t.Fatalf("another node claims %+v", taken)
		}
		claim(t, db, "a", "n", at(101), store.Delivery{Lane: lane, Sent: 2, Dead: &dead})
		if letters, err := db.DeadLetters(t.Context(), here, "a", 10); err != nil || len(letters) != 0 {
			t.Errorf("DeadLetters of a lane that another node has = %v, %v", letters, err)
		}
	})
}

func TestTargets(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		register(t, db, "b", "a")
		c, _ := addChannel(t, db, here, "one")
		broadcast(t, db, c.ARN, 5)
		must(t, db.AddAccountEvent(t.Context(), store.Scope{Account: "999999999999", Region: "eu-west-1"}, store.Event{Type: ivs.EventLimitBreach, Name: "Concurrent Viewers", At: at(1)}))
		number(t, db)
		lane := claim(t, db, "a", "n", t0)[0]
		claim(t, db, "a", "n", t0, store.Delivery{Lane: lane, Sent: 1, Attempts: 1, Due: at(9), Error: "down"})
		for _, tt := range []struct {
			scope *store.Scope
			want  []store.TargetStatus
		}{
			{nil, []store.TargetStatus{
				{Target: store.Target{Name: "a", Kind: "test"}, Pending: 4, Oldest: at(1), Error: "down"},
				{Target: store.Target{Name: "b", Kind: "test"}, Pending: 5, Oldest: at(1)}}},
			{&here, []store.TargetStatus{
				{Target: store.Target{Name: "a", Kind: "test"}, Pending: 3, Oldest: at(6), Error: "down"},
				{Target: store.Target{Name: "b", Kind: "test"}, Pending: 4, Oldest: at(5)}}},
		} {
			got, err := db.Targets(t.Context(), tt.scope)
			must(t, err)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Targets(%v) (-want +got):\n%s", tt.scope, diff)
			}
		}

		// A target that no node has had for a week is forgotten.
		must(t, db.RegisterTargets(t.Context(), []store.Target{{Name: "b", Kind: "other"}}, t0.Add(8*24*time.Hour)))
		got, err := db.Targets(t.Context(), nil)
		if err != nil || len(got) != 1 || got[0].Name != "b" || got[0].Kind != "other" || got[0].Pending != 5 {
			t.Errorf("Targets a week later = %+v, %v", got, err)
		}
	})
}

func TestFeed(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		c1, _ := addChannel(t, db, here, "one")
		c2, _ := addChannel(t, db, here, "two")
		elsewhere := store.Scope{Account: here.Account, Region: "us-east-1"}
		c3, _ := addChannel(t, db, elsewhere, "three")
		s1 := addSession(t, db, c1.ARN, "n", at(0))
		must(t, db.StartStream(t.Context(), s1, at(1), ingest),
			db.ChangeSessions(t.Context(), happened(s1, store.Event{Type: ivs.EventStreamHealth, Name: ivs.StarvationStart, At: at(2)})),
			db.WriteEnd(t.Context(), ended(s1, at(3))))
		s2 := broadcast(t, db, c2.ARN, 10)
		broadcast(t, db, c3.ARN, 20)
		if events, seen, err := db.Feed(t.Context(), store.FeedFilter{Scope: here}, 0, 10); err != nil || len(events) != 0 || seen != 0 {
			t.Errorf("before events are numbered Feed = %v, %d, %v", events, seen, err)
		}
		number(t, db)
		for _, tt := range []struct {
			name   string
			filter store.FeedFilter
			want   int
		}{
			{"all", store.FeedFilter{Scope: here}, 9},
			{"another region", store.FeedFilter{Scope: elsewhere}, 4},
			{"channel", store.FeedFilter{Scope: here, ChannelARN: c1.ARN}, 5},
			{"channel elsewhere", store.FeedFilter{Scope: here, ChannelARN: c3.ARN}, 0},
			{"stream", store.FeedFilter{Scope: here, StreamID: s2}, 4},
			{"type", store.FeedFilter{Scope: here, Type: ivs.EventStreamHealth}, 1},
			{"name", store.FeedFilter{Scope: here, Name: ivs.StreamStart}, 2},
			{"channel and name", store.FeedFilter{Scope: here, ChannelARN: c1.ARN, Name: ivs.StreamStart}, 1},
		} {
			var got []store.FeedEvent
			after, turns := int64(0), 0
			for {
				events, seen, err := db.Feed(t.Context(), tt.filter, after, 2)
				must(t, err)
				got = append(got, events...)
				if seen == after {
					break
				}
				after = seen
				turns++
			}
			if len(got) != tt.want || after != 13 || turns > 5 {
				t.Errorf("%s: %d events up to %d in %d turns, want %d up to 13", tt.name, len(got), after, turns, tt.want)
			}
			if !slices.IsSortedFunc(got, func(a, b store.FeedEvent) int { return int(a.Number - b.Number) }) {
				t.Errorf("%s: out of order", tt.name)
			}
		}
	})
}

// Numbers never go back behind one that a reader has seen, whoever writes and
// numbers at the same time.
func TestFeedHasNoGaps(t *testing.T) {
	storetest.EachDSN(t, func(t *testing.T, dsn string) {
		db, other := storetest.Open(t, dsn), storetest.Open(t, dsn)
		register(t, db, "a")
		const writers, each = 4, 15
		errs := make(chan error, writers)
		for w := range writers {
			c, _ := addChannel(t, db, here, fmt.Sprint(w))
			id := addSession(t, db, c.ARN, "n", t0)
			go func() {
				for n := range each {
					if err := []*store.DB{db, other}[w%2].ChangeSessions(context.Background(), happened(id, store.Event{Type: ivs.EventStreamHealth, Name: fmt.Sprint(n), At: at(n)})); err != nil {
						errs <- err
						return
					}
					if _, err := []*store.DB{db, other}[n%2].NumberEvents(context.Background()); err != nil {
						errs <- err
						return
					}
				}
				errs <- nil
			}()
		}
		seen := map[string]bool{}
		var after int64
		read := func() {
			events, to, err := db.Feed(t.Context(), store.FeedFilter{Scope: here}, after, 7)
			must(t, err)
			for _, e := range events {
				seen[e.ID] = true
			}
			after = to
		}
		for done := 0; done < writers; {
			select {
			case err := <-errs:
				must(t, err)
				done++
			default:
				read()
			}
		}
		number(t, db)
		for end, err := db.FeedEnd(t.Context()); after < end; {
			must(t, err)
			read()
		}
		if want := writers * (each + 1); len(seen) != want {
			t.Errorf("a reader that followed the feed has seen %d events of %d", len(seen), want)
		}
		got := 0
		for lanes := claim(t, db, "a", "n", t0); len(lanes) > 0; {
			var done []store.Delivery
			for _, l := range lanes {
				got += len(l.Events)
				done = append(done, store.Delivery{Lane: l, Sent: len(l.Events)})
			}
			lanes = claim(t, db, "a", "n", t0, done...)
		}
		if want := writers * (each + 1); got != want {
			t.Errorf("the lanes had %d events, want %d", got, want)
		}
	})
}

func TestCleanupEvents(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		register(t, db, "a")
		for n := range 2 {
			must(t, db.AddAccountEvent(t.Context(), here, store.Event{Type: ivs.EventLimitBreach, Name: "Concurrent Viewers", At: at(n)}))
		}
		number(t, db)
		must(t, db.CleanupEvents(t.Context(), at(1).Add(store.Retention)))
		events, _, err := db.Feed(t.Context(), store.FeedFilter{Scope: here}, 0, 10)
		if err != nil || len(events) != 1 || !events[0].Time.Equal(at(1)) {
			t.Errorf("Feed after the cleanup = %v, %v; want the newer event", events, err)
		}
		lanes := claim(t, db, "a", "n", t0)
		if len(lanes) != 1 || len(lanes[0].Events) != 1 {
			t.Fatalf("claimed %+v, want what is left", lanes)
		}
	})
}

// A lane whose events are too old to be kept ends.
func TestLaneOfNothing(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		register(t, db, "a")
		c, _ := addChannel(t, db, here, "")
		broadcast(t, db, c.ARN, 0)
		number(t, db)
		if n, err := db.Cleanup(t.Context(), at(4).Add(store.Retention)); n != 1 || err != nil {
			t.Fatalf("Cleanup = %d, %v", n, err)
		}
		lanes := claim(t, db, "a", "n", t0)
		if len(lanes) != 1 || len(lanes[0].Events) != 0 {
			t.Fatalf("claimed %+v, want a lane without events", lanes)
		}
		if lanes = claim(t, db, "a", "n", t0, store.Delivery{Lane: lanes[0]}); len(lanes) != 0 {
			t.Errorf("the empty lane stays: %+v", lanes)
		}
	})
}

func TestSignals(t *testing.T) {
	db := storetest.Open(t, storetest.SQLite(t))
	c, _ := addChannel(t, db, here, "")
	written, numbered := db.EventWritten(), db.EventNumbered()
	addSession(t, db, c.ARN, "n", t0)
	<-written
	select {
	case <-numbered:
		t.Error("EventNumbered before a number was given")
	default:
	}
	number(t, db)
	<-numbered
}
