package live

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
)

func sends(encoder string) ivs.IngestConfigurations {
	return ivs.IngestConfigurations{Video: []ivs.VideoConfiguration{{Encoder: encoder}}}
}

func names(e entries) string {
	var list []string
	for _, e := range e.events {
		list = append(list, e.Name)
	}
	return strings.Join(list, "")
}

// Events keep their order whatever the database does, and one caller at a time
// has them. From outside the package, no test decides who writes when.
func TestJournalOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		j.describe(sends("old"))
		j.add(maxPending, store.Event{Name: "a"}, store.Event{Name: "b"})
		first := j.tryTake()
		j.describe(sends("new"))
		j.add(maxPending, store.Event{Name: "c"})
		if again := j.tryTake(); !again.empty() {
			t.Errorf("two writers have events: %s", names(again))
		}
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := j.take(canceled); err == nil {
			t.Error("take does not end with its context")
		}
		second := make(chan entries)
		go func() {
			events, err := j.take(t.Context())
			if err != nil {
				t.Error(err)
			}
			j.putBack(entries{})
			second <- events
		}()
		synctest.Wait()
		j.putBack(first)
		got := <-second
		if names(got) != "abc" {
			t.Errorf("the next writer has %q, want all in order", names(got))
		}
		if encoder := got.ingest.Video[0].Encoder; encoder != "new" {
			t.Errorf("the next writer has the tracks of the %s encoder", encoder)
		}
		if left := j.tryTake(); !left.empty() {
			t.Errorf("%q are left", names(left))
		}
		if events, err := j.take(t.Context()); err != nil || !events.empty() {
			t.Errorf("an empty journal: %v, %v", events, err)
		}
	})
}

// What waits is bounded, including what is being written; refused takeovers
// leave room for other events.
func TestJournalBound(t *testing.T) {
	var j journal
	refused := 0
	for range 2 * maxPendingRefusals {
		if !j.add(maxPendingRefusals, store.Event{}) {
			refused++
		}
	}
	if refused != maxPendingRefusals {
		t.Errorf("%d of %d are left out", refused, 2*maxPendingRefusals)
	}
	taken := j.tryTake()
	if j.add(maxPendingRefusals, store.Event{}) {
		t.Error("what is being written does not count")
	}
	for range maxPending {
		j.add(maxPending, store.Event{})
	}
	j.putBack(taken)
	if n := len(j.tryTake().events); n != maxPending {
		t.Errorf("%d events wait, want %d", n, maxPending)
	}
	if left := j.tryTake(); !left.empty() {
		t.Error("events are taken twice")
	}
}
