package live_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/live"
	"github.com/millrace/millrace/internal/media/mediatest"
	"github.com/millrace/millrace/internal/store/storetest"
)

// Of two nodes that share a database, one ends the sessions of a third that
// died, and none of the other's.
func TestNodeDies(t *testing.T) {
	bubble(t, ivs.TypeStandard, live.Limits{}, func(w *world) {
		other := &live.Hub{Store: w.Store, Owner: "other", Log: slog.New(slog.DiscardHandler)}
		ctx, stop := context.WithCancel(w.Context())
		running := make(chan error)
		go func() { running <- other.Run(ctx) }()
		defer func() { stop(); <-running }()
		dead, key := w.addChannel(ivs.TypeStandard)
		began := time.Now()
		id := storetest.Session(w.T, w.Store, dead.ARN, "dead", began)
		e := w.publish(w.key, "")
		e.mustSend(12 * sec)
		if _, err := w.dial(key, "", mediatest.Ordered); err == nil {
			w.Error("a channel is free although its lease has not expired")
		}
		e.mustSend(16 * sec)
		if e, err := w.dial(key, "", mediatest.Ordered); err != nil {
			w.Errorf("a channel is not free although its lease has expired: %v", err)
		} else {
			e.leave()
		}
		e.mustSend(60 * sec)
		if n := len(w.session().TruncatedEvents); n != 2 {
			w.Errorf("%d events of the session of a node that lives", n)
		}
		e.leave()
		s, err := w.Store.StreamSession(w.Context(), dead.ARN, id)
		if err != nil || s.TruncatedEvents[0].Name != ivs.SessionEnded || !s.TruncatedEvents[0].EventTime.Equal(began.Truncate(time.Millisecond)) {
			w.Errorf("%+v, %v", s, err)
		}
	})
}

// What only the node that has a stream can do is, on another node, unavailable
// while the stream is live: the channel does broadcast.
func TestStreamOfAnotherNode(t *testing.T) {
	bubble(t, ivs.TypeStandard, live.Limits{}, func(w *world) {
		other := &live.Hub{Store: w.Store, Owner: "other", Log: slog.New(slog.DiscardHandler)}
		check := func(node *live.Hub, when string, want ivs.Kind) {
			w.Helper()
			for name, err := range map[string]error{
				"Stop":          node.Stop(w.Context(), w.channel.ARN),
				"PutMetadata":   node.PutMetadata(w.Context(), w.channel.ARN, "text"),
				"InsertAdBreak": node.InsertAdBreak(w.Context(), w.channel.ARN, "ad", sec),
			} {
				if !ivs.Is(err, want) {
					w.Errorf("%s %s: %v", name, when, err)
				}
			}
		}
		check(other, "before the stream", ivs.NotBroadcasting)
		e := w.publish(w.key, "")
		e.mustSend(3 * sec)
		check(other, "on the other node", ivs.StreamUnavailable)
		if err := w.PutMetadata(w.Context(), w.channel.ARN, "text"); err != nil {
			w.Errorf("PutMetadata on the node that has the stream: %v", err)
		}
		e.leave()
		check(other, "after the stream", ivs.NotBroadcasting)
		check(w.Hub, "after the stream, where it was", ivs.NotBroadcasting)
	})
}

// A node whose heartbeats have stopped for longer than a lease, alone on its
// database, continues with its streams. Where another node has ended them, it
// learns that and cuts the encoder off.
func TestHeartbeatAway(t *testing.T) {
	bubble(t, ivs.TypeStandard, live.Limits{}, func(w *world) {
		e := w.publish(w.key, "")
		e.mustSend(3 * sec)
		w.still()
		w.heartbeat.Wait()
		e.mustSend(20 * sec) // no heartbeat: the process is suspended, or the database unreachable
		w.startHeartbeat()
		e.mustSend(60 * sec)
		s := w.session()
		if list := s.TruncatedEvents; !s.EndTime.IsZero() || list[0].Name == ivs.SessionEnded {
			w.Fatalf("the session has ended: %v", list)
		}
		open, err := w.Store.OpenSessions(w.Context())
		if err != nil {
			w.Fatal(err)
		}
		if ended, err := w.Store.EndExpired(w.Context(), open); err != nil || len(ended) != 1 {
			w.Fatalf("%v, %v", ended, err)
		}
		figures := w.figures()
		if len(figures) == 0 {
			w.Error("no figures were written before")
		}
		if err := e.Send(10 * sec); err == nil {
			w.Error("an encoder whose session another node has ended continues")
		}
		time.Sleep(3 * sec) // in which it would write them
		if diff := cmp.Diff(figures, w.figures()); diff != "" {
			w.Errorf("figures were written of a session that was lost:\n%s", diff)
		}
	})
}

// An encoder that leaves while the database takes nothing has left then, not when that
// could be written. Its end is behind the events before it, and the channel is not free
// until then.
func TestEndIsWrittenLate(t *testing.T) {
	bubble(t, ivs.TypeStandard, live.Limits{}, func(w *world) {
		began := time.Now()
		e := w.publish(w.key, "")
		e.mustSend(5 * sec)
		db := w.other()
		w.exec(db, "CREATE TRIGGER full BEFORE UPDATE ON sessions BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END")
		if err := w.fault(live.FaultStarvation, 10*sec); err != nil {
			w.Fatal(err)
		}
		e.mustSend(4 * sec)
		e.leave()
		time.Sleep(40 * sec)
		if s := w.session(); !s.EndTime.IsZero() {
			w.Error("the end is written")
		}
		_, err := w.dial(w.key, "", mediatest.Ordered)
		w.refused(err, "live already")
		w.exec(db, "DROP TRIGGER full")
		time.Sleep(2 * sec)
		want := []string{"Session Created 0", "Stream Start 0", "Starvation Start 5", "Session Ended 9", "Stream End 9"}
		if diff := cmp.Diff(want, w.events(began)); diff != "" {
			w.Error(diff)
		}
		next := w.publish(w.key, "")
		next.mustSend(3 * sec)
		next.leave()
	})
}
