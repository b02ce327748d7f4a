package live_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/live"
	"github.com/millrace/millrace/internal/store"
)

// A database that takes nothing for a while stops no stream, and misses no
// event and no figure in the end.
func TestDatabaseAway(t *testing.T) {
	bubble(t, ivs.TypeStandard, live.Limits{}, func(w *world) {
		began := time.Now()
		e := w.publish(w.key, "")
		e.mustSend(50 * sec)
		s := w.LiveSession(w.channel.ARN)
		w.HeartbeatFails(s, store.Event{Type: ivs.EventStreamHealth, Name: ivs.StarvationStart, At: time.Now()},
			store.Metrics{StreamID: s.StreamID, ChannelARN: w.channel.ARN, Period: 1, Start: 60, Data: []byte{1, 0, 0}})
		e.mustSend(3 * sec)
		e.mustSend(10 * sec)
		rows, err := w.Store.Metrics(w.Context(), w.channel.ARN, 1, 60, 61)
		if err != nil || len(rows) != 1 {
			w.Errorf("%d rows of figures, %v", len(rows), err)
		}
		e.leave()
		time.Sleep(sec)
		want := []string{"Session Created 0", "Stream Start 0", "Starvation Start 50", "Session Ended 63", "Stream End 63"}
		if diff := cmp.Diff(want, w.events(began)); diff != "" {
			w.Error(diff)
		}
	})
}
