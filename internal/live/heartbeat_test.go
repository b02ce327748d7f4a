package live_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/live"
	"github.com/millrace/millrace/internal/meter"
)

// A database that takes nothing for a while stops no stream, and misses no
// event and no figure in the end.
func TestUnreachableDatabase(t *testing.T) {
	bubble(t, ivs.TypeStandard, live.Limits{}, func(w *world) {
		began := time.Now()
		e := w.publish(w.key, "")
		e.mustSend(50 * sec)
		write := w.holdDatabase()
		if err := w.LiveSession(w.channel.ARN).Inject(live.FaultStarvation, 5*sec); err != nil {
			w.Fatal(err)
		}
		e.mustSend(30 * sec) // a heartbeat fails that has the event and the figures of a minute
		write()
		e.mustSend(3 * sec)
		rows, err := w.Store.Metrics(w.Context(), w.channel.ARN, meter.Second, began.Unix(), began.Unix()+1)
		if err != nil || len(rows) != 1 {
			w.Errorf("%d rows of figures, %v", len(rows), err)
		}
		e.leave()
		time.Sleep(sec)
		want := []string{"Session Created 0", "Stream Start 0", "Starvation Start 50", "Starvation End 56", "Session Ended 83", "Stream End 83"}
		if diff := cmp.Diff(want, w.events(began)); diff != "" {
			w.Error(diff)
		}
	})
}

// What one heartbeat could not write is in the next, not only when leases are renewed.
func TestHeartbeatFailsOnce(t *testing.T) {
	bubble(t, ivs.TypeStandard, live.Limits{}, func(w *world) {
		e := w.publish(w.key, "")
		e.mustSend(6 * sec) // leases were renewed a moment ago
		db := w.other()
		w.exec(db, "CREATE TRIGGER full BEFORE UPDATE ON sessions BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END")
		w.LiveSession(w.channel.ARN).Viewers.Seen(1, 1, time.Now())
		e.mustSend(sec)
		w.exec(db, "DROP TRIGGER full")
		for _, want := range []int{0, 1} {
			if s, err := w.Store.Stream(w.Context(), w.channel.ARN); err != nil || s.ViewerCount != want {
				w.Errorf("viewerCount %d, %v, want %d", s.ViewerCount, err, want)
			}
			e.mustSend(sec)
		}
		e.leave()
	})
}
