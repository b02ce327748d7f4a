package live_test

import (
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/live"
	"github.com/millrace/millrace/internal/media/mediatest"
	"github.com/millrace/millrace/internal/store"
)

// So many sessions may begin with one stream key at once, and one more after each time.
const (
	freeSessions = 10
	sessionEvery = 10 * sec
)

// An encoder that reconnects over and over soon has to wait, and learns for how
// long; after that it is taken. Another channel is not affected.
func TestFlappingEncoder(t *testing.T) {
	bubble(t, ivs.TypeStandard, live.Limits{}, func(w *world) {
		_, otherKey := w.addChannel(ivs.TypeStandard)
		for n := range freeSessions {
			e, err := w.dial(w.key, "", mediatest.Ordered)
			if err != nil {
				w.Fatalf("reconnect %d: %v", n, err)
			}
			e.leave()
		}
		refusals := 0
		for ; refusals < 200; refusals++ {
			e, err := w.dial(w.key, "", mediatest.Ordered)
			if err == nil {
				e.leave()
				break
			}
			w.refused(err, "wait ")
			time.Sleep(sec / 10)
		}
		if d := time.Duration(refusals) * sec / 10; d < sessionEvery-sec || d > sessionEvery+sec {
			w.Errorf("taken again after %v, want about %v", d, sessionEvery)
		}
		_, err := w.dial(w.key, "", mediatest.Ordered)
		w.refused(err, "wait 10 seconds")
		e, err := w.dial(otherKey, "", mediatest.Ordered)
		if err != nil {
			w.Fatalf("another channel: %v", err)
		}
		e.leave()
		list, _, err := w.Store.ListStreamSessions(w.Context(), w.channel.ARN, store.Page{Max: 100})
		if err != nil || len(list) != freeSessions+1 {
			w.Errorf("%d sessions, want %d: %v", len(list), freeSessions+1, err)
		}
		if !strings.Contains(w.log.String(), "Too many streams have begun") {
			w.Error("the log does not say it")
		}
	})
}

// Takeovers begin no session.
func TestTakeoverIsNotPaced(t *testing.T) {
	bubble(t, ivs.TypeStandard, live.Limits{}, func(w *world) {
		for range freeSessions - 1 {
			e, err := w.dial(w.key, "", mediatest.Ordered)
			if err != nil {
				w.Fatal(err)
			}
			e.leave()
		}
		e := w.publish(w.key, "?priority=5")
		e.mustSend(3 * sec)
		_, err := w.dial(w.key, "?priority=1", mediatest.Ordered)
		w.refused(err, "is not above that of the stream")
		e.leave()
	})
}
