package live

import (
	"testing"
	"time"

	"github.com/millrace/millrace/internal/clocktest"
	"github.com/millrace/millrace/internal/store"
)

// A lease expires when it has been watched for its whole length and was not
// renewed. What the watcher missed does not count.
func TestLeaseWatch(t *testing.T) {
	noon := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	var w leaseWatch
	look := func(after time.Duration, renewals int64, want bool) {
		t.Helper()
		open := []store.OpenSession{{StreamID: "st-1", Renewals: renewals}, {StreamID: "st-mine", Renewals: 7}}
		expired := w.expired(open, func(id string) bool { return id == "st-mine" }, noon.Add(after))
		if got := len(expired) == 1 && expired[0] == open[0]; got != want || len(expired) > 1 {
			t.Errorf("after %v: expired %v, want %v", after, expired, want)
		}
	}
	look(0, 1, false)
	look(5*time.Second, 1, false)
	look(10*time.Second, 1, false)
	look(14*time.Second, 2, false) // renewed in time
	look(19*time.Second, 2, false)
	look(24*time.Second, 2, false)
	look(29*time.Second, 2, true)
	look(34*time.Second, 2, true)
	look(54*time.Second, 2, false) // the watcher was suspended, and so may the owner have been
	look(59*time.Second, 2, false)
	look(64*time.Second, 2, false)
	look(69*time.Second, 2, true)
	look(74*time.Second, 3, false)
}

// A wall clock that is set while leases are watched expires none, and delays none.
func TestLeaseWatchWhileTheClockIsSet(t *testing.T) {
	began := time.Now()
	for _, step := range []time.Duration{20 * time.Second, time.Hour, -time.Hour} {
		var w leaseWatch
		open := []store.OpenSession{{StreamID: "st-1", Renewals: 1}}
		for after := time.Duration(0); after <= 20*time.Second; after += renewEvery {
			now := began.Add(after)
			if after >= 2*renewEvery {
				now = clocktest.Set(now, step)
			}
			expired := w.expired(open, func(string) bool { return false }, now)
			if got, want := len(expired) == 1, after >= leaseTime; got != want {
				t.Errorf("set by %v: %v after the last renewal, expired is %v", step, after, got)
			}
		}
	}
}
