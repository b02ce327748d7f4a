package record

import (
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/store/storetest"
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
	look(90*time.Second, 2, 200, false) // the watcher was suspended
	look(100*time.Second, 2, 200, false)
	look(110*time.Second, 2, 200, true)
}

// A recording is taken from a node that is lost when it has shown no life for as long as
// it may take to return: one that has started again keeps it.
func TestTakeFromLost(t *testing.T) {
	folder := t.TempDir()
	db := storetest.Open(t, storetest.SQLite(t))
	r, err := New(Config{Store: db, Owner: "node2", OwnerLost: func(string) bool { return true }, Folder: filepath.Join(folder, "spool"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	row := store.Recording{ID: "recording", ChannelARN: "arn:aws:ivs:us-west-2:111122223333:channel/AbCdEfGhIjKl", Owner: "node1", Streams: []string{"st-1"}}
	if err := db.CreateRecording(t.Context(), row); err != nil {
		t.Fatal(err)
	}
	starts := func() {
		t.Helper()
		if _, err := db.RegisterNode(t.Context(), store.Node{Name: "node1", Place: "here"}); err != nil {
			t.Fatal(err)
		}
	}
	starts()
	began := time.Now()
	var watch ownerWatch
	takes := func(after time.Duration, want bool) {
		t.Helper()
		if got := r.takeFromLost(t.Context(), row, &watch, began.Add(after)); got != want {
			t.Errorf("after %v it is taken: %v, want %v", after, got, want)
		}
	}
	takes(0, false)
	takes(9*time.Second, false)
	starts()
	takes(10*time.Second, false)
	takes(19*time.Second, false)
	takes(20*time.Second, false)
	watch = ownerWatch{}
	takes(20*time.Second, false)
	takes(30*time.Second, true)
}
