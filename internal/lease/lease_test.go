package lease_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/internal/clocktest"
	"github.com/millrace/millrace/internal/lease"
)

const (
	every = 5 * time.Second
	apart = 2 * every
)

// A holder is silent from when its number was first seen. What the watcher missed does not
// count.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var w lease.Watch[int]
		for _, look := range []struct {
			at        time.Duration
			number    int
			silent    time.Duration
			suspended bool
		}{
			{at: 0, number: 1},
			{at: 5 * time.Second, number: 1, silent: 5 * time.Second},
			{at: 14 * time.Second, number: 2}, // renewed
			{at: 24 * time.Second, number: 2, silent: 10 * time.Second},
			{at: 34 * time.Second, number: 2, silent: 20 * time.Second},
			{at: 54 * time.Second, number: 2, suspended: true}, // and so may the holder have been
			{at: 59 * time.Second, number: 2, silent: 5 * time.Second},
			{at: 64 * time.Second, number: 1}, // another number, even if it is smaller
			{at: 69 * time.Second, number: 1, silent: 5 * time.Second},
		} {
			time.Sleep(time.Until(began.Add(look.at)))
			suspended := w.Look(map[string]int{"a": look.number, "b": int(look.at)}, time.Now(), apart)
			if a, b := w.Silent("a"), w.Silent("b"); a != look.silent || b != 0 || suspended != look.suspended {
				t.Errorf("after %v: silent for %v, want %v, and one that renews for %v; suspended: %t", look.at, a, look.silent, b, suspended)
			}
		}
	})
}

// A holder that was away is watched as a new one, and so are all after Forget.
func TestForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w lease.Watch[int]
		look := func(holders map[string]int, want time.Duration) {
			t.Helper()
			w.Look(holders, time.Now(), apart)
			if got := w.Silent("a"); got != want {
				t.Errorf("silent for %v, want %v", got, want)
			}
			time.Sleep(every)
		}
		there := map[string]int{"a": 1}
		look(there, 0)
		look(there, every)
		look(nil, 0)
		look(there, 0)
		look(there, every)
		w.Forget()
		if got := w.Silent("a"); got != 0 {
			t.Errorf("silent for %v when it is forgotten", got)
		}
		look(there, 0)
		look(there, every)
	})
}

// A wall clock that is set makes no holder silent, and hides no silence.
func TestWallClockSet(t *testing.T) {
	began := time.Now()
	for _, step := range []time.Duration{20 * time.Second, time.Hour, -time.Hour} {
		var w lease.Watch[int]
		for after := time.Duration(0); after <= 4*every; after += every {
			now := began.Add(after)
			if after >= 2*every {
				now = clocktest.Set(now, step)
			}
			if suspended := w.Look(map[string]int{"a": 1}, now, apart); suspended || w.Silent("a") != after {
				t.Errorf("set by %v: silent for %v, want %v; suspended: %t", step, w.Silent("a"), after, suspended)
			}
		}
	}
}
