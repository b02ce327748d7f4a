package live_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/live"
	"github.com/millrace/millrace/internal/store"
)

const sec = time.Second

// A stall of 20 s on an open connection is a starvation, known soon, with the
// times at which it began and ended; the stream continues.
func TestStarvation(t *testing.T) {
	bubble(t, ivs.TypeStandard, live.Limits{}, func(w *world) {
		began := time.Now()
		e := w.publish(w.key, "")
		e.mustSend(10 * sec)
		if h := w.health(); h != ivs.HealthHealthy {
			w.Errorf("health %q after 10 s", h)
		}
		starving := -1
		for i := range 20 {
			time.Sleep(sec)
			list, _, err := w.Store.ListStreams(w.Context(), here, ivs.HealthStarving, store.Page{Max: 2})
			if err != nil {
				w.Fatal(err)
			}
			if len(list) == 1 && starving < 0 {
				starving = i + 1
			}
		}
		if starving < 2 || starving > 4 {
			w.Errorf("ListStreams shows the starvation after %d s", starving)
		}
		e.mustSend(15 * sec)
		if h := w.health(); h != ivs.HealthHealthy {
			w.Errorf("health %q, 15 s after the stall", h)
		}
		e.leave()
		time.Sleep(sec)
		want := []string{"Session Created 0", "Stream Start 0", "Starvation Start 10", "Starvation End 30", "Session Ended 45", "Stream End 45"}
		if diff := cmp.Diff(want, w.events(began)); diff != "" {
			w.Error(diff)
		}
		checkErrorEvent(w, false)
	})
}

// An encoder that falls silent for good starves until its connection is given
// up; there is no end to that starvation.
func TestSilence(t *testing.T) {
	bubble(t, ivs.TypeStandard, live.Limits{}, func(w *world) {
		began := time.Now()
		e := w.publish(w.key, "")
		e.mustSend(10 * sec)
		time.Sleep(35 * sec)
		want := []string{"Session Created 0", "Stream Start 0", "Starvation Start 10", "Session Ended 40", "Stream End 40"}
		if diff := cmp.Diff(want, w.events(began)); diff != "" {
			w.Error(diff)
		}
		e.Lose()
	})
}

func checkErrorEvent(w *world, want bool) {
	w.Helper()
	list, _, err := w.Store.ListStreamSessions(w.Context(), w.channel.ARN, store.Page{Max: 1})
	if err != nil {
		w.Fatal(err)
	}
	if list[0].HasErrorEvent != want {
		w.Errorf("hasErrorEvent = %v, want %v", list[0].HasErrorEvent, want)
	}
}

// StopStream disconnects within a second, and the session ends with its events.
func TestStop(t *testing.T) {
	bubble(t, ivs.TypeStandard, live.Limits{}, func(w *world) {
		began := time.Now()
		e := w.publish(w.key, "")
		e.mustSend(5 * sec)
		go func() {
			time.Sleep(sec)
			if err := w.Stop(w.Context(), w.channel.ARN); err != nil {
				w.Error(err)
			}
			if d := time.Since(began); d > 7*sec {
				w.Errorf("StopStream took %v", d-6*sec)
			}
		}()
		w.refused(e.Send(5*sec), "StopStream")
		if d := time.Since(began); d > 7*sec {
			w.Errorf("the encoder was cut off %v after StopStream", d-6*sec)
		}
		want := []string{"Session Created 0", "Stream Start 0", "Session Ended 6", "Stream End 6"}
		if diff := cmp.Diff(want, w.events(began)); diff != "" {
			w.Error(diff)
		}
		if err := w.Stop(w.Context(), w.channel.ARN); !ivs.Is(err, ivs.NotBroadcasting) {
			w.Errorf("StopStream of a channel that is not live: %v", err)
		}
	})
}

// A stream may last no longer than the limit.
func TestMaxDuration(t *testing.T) {
	bubble(t, ivs.TypeStandard, live.Limits{Duration: 20 * sec}, func(w *world) {
		began := time.Now()
		w.refused(w.publish(w.key, "").Send(30*sec), "maximum duration")
		if d := time.Since(began).Round(sec); d != 20*sec {
			w.Errorf("cut off after %v", d)
		}
		want := []string{"Session Created 0", "Stream Start 0", "Session Ended 20", "Stream End 20"}
		if diff := cmp.Diff(want, w.events(began)); diff != "" {
			w.Error(diff)
		}
	})
}
