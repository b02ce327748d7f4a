package record

import (
	"testing"
	"time"

	"github.com/millrace/millrace/internal/store"
)

// A node is gone when nothing of it has changed for as long as it was watched.
// What the watcher missed does not count.
func TestOwnerWatch(t *testing.T) {
	noon := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	var w ownerWatch
	look := func(after time.Duration, epoch, heartbeat int64, want bool) {
		t.Helper()
		w.look([]store.RecordingOwner{{Name: "n", Epoch: epoch, HeartbeatAt: heartbeat}}, noon.Add(after), 5*time.Second)
		if got := len(w.silent(20*time.Second)) == 1; got != want {
			t.Errorf("after %v it is gone: %v, want %v", after, got, want)
		}
	}
	look(0, 1, 100, false)
	look(10*time.Second, 1, 100, false)
	look(19*time.Second, 1, 200, false) // a heartbeat in time
	look(29*time.Second, 1, 200, false)
	look(38*time.Second, 1, 200, false)
	look(39*time.Second, 1, 200, true)
	look(44*time.Second, 2, 200, false) // it has started again
	look(54*time.Second, 2, 200, false)
	look(64*time.Second, 2, 200, true)
	look(90*time.Second, 2, 200, false) // the watcher was away
	look(100*time.Second, 2, 200, false)
	look(110*time.Second, 2, 200, true)
}
