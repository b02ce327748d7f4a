package live_test

import (
	"errors"
	"net/url"
	"testing"
	"testing/synctest"

	"github.com/millrace/millrace/internal/ingest"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/live"
	"github.com/millrace/millrace/internal/media/mediatest"
)

// On a node that drains, encoders that can be asked are asked to connect again. One that
// comes to another node then ends the stream of such an encoder, to begin its own there;
// that of an encoder which could not be asked it does not end.
func TestDrain(t *testing.T) {
	bubble(t, ivs.TypeStandard, live.Limits{}, func(w *world) {
		drain := make(chan struct{})
		w.Hub.Drain = drain
		join := func(priority string) (*encoder, error) {
			query := url.Values{}
			if priority != "" {
				query.Set("priority", priority)
			}
			return w.dialTo(w.Join, ingest.Info{Protocol: "memory", StreamKey: w.key, Query: query, Reconnects: true}, mediatest.Ordered)
		}
		asked := func(e *encoder) bool {
			synctest.Wait()
			select {
			case <-e.Asked():
				return true
			default:
				return false
			}
		}
		other, otherKey := w.addChannel(ivs.TypeStandard)
		moving, err := w.dialTo(w.Publish, ingest.Info{Protocol: "memory", StreamKey: otherKey, Reconnects: true}, mediatest.Ordered)
		if err != nil {
			w.Fatal(err)
		}
		moving.mustSend(3 * sec)
		first := w.publish(w.key, "?priority=1")
		first.mustSend(3 * sec)
		id := w.session().StreamID
		if asked(moving) {
			w.Error("an encoder is asked to connect again although the node does not drain")
		}
		close(drain)
		if !asked(moving) || asked(first) {
			w.Errorf("asked: %t of one that can be, %t of one that cannot", asked(moving), asked(first))
		}
		moving.leave()
		if w.OpenSession(other.ARN) != nil {
			w.Error("the stream of the encoder that has moved has not ended")
		}

		if _, err := join(""); err == nil {
			w.Error("a second encoder has the stream")
		} else {
			w.refused(err, "live already")
		}
		first.mustSend(sec)
		higher, err := join("2")
		if err != nil {
			w.Fatal(err)
		}
		higher.mustSend(3 * sec)
		if now := w.session().StreamID; now != id {
			w.Errorf("the takeover has begun stream %s", now)
		}
		if !asked(higher) {
			w.Error("an encoder that takes over on a node that drains is not asked to connect again")
		}
		if _, err := join(""); !errors.Is(err, ingest.ErrNoSession) {
			w.Errorf("the encoder that has connected again: %v", err)
		}
		w.refused(higher.Send(sec), "moved to another node")
	})
}
