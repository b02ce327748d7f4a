package live

import (
	"testing"
	"time"

	"github.com/millrace/millrace/internal/lease"
	"github.com/millrace/millrace/internal/store"
)

// A lease expires when it has been watched for its whole length and was not
// renewed. What the watcher missed does not count.
func TestExpired(t *testing.T) {
	noon := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	var w lease.Watch[int64]
	look := func(after time.Duration, renewals int64, want bool) {
		t.Helper()
		open := []store.OpenSession{{StreamID: "st-1", Renewals: renewals}, {StreamID: "st-mine", Renewals: 7}}
		got := expired(&w, open, func(id string) bool { return id == "st-mine" }, noon.Add(after))
		if is := len(got) == 1 && got[0] == open[0]; is != want || len(got) > 1 {
			t.Errorf("after %v: expired %v, want %v", after, got, want)
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
