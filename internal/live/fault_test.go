package live_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/live"
)

// fault makes a fault happen to the live session.
func (w *world) fault(fault string, d time.Duration) error {
	w.Helper()
	s := w.LiveSession(w.channel.ARN)
	if s == nil {
		w.Fatal("the channel is not live")
	}
	return s.Inject(fault, d)
}

// A fault has the events of the real thing.
func TestFaults(t *testing.T) {
	for _, tt := range []struct {
		fault    string
		duration time.Duration
		want     []string
		hasError bool
	}{
		{live.FaultStarvation, 10 * sec, []string{"Starvation Start 5", "Starvation End 16"}, false},
		{live.FaultIngestCut, 0, []string{"Session Ended 5", "Stream End 5"}, false},
		{live.FaultBitrateLimit, 5 * sec, []string{"Ingest Bitrate 5", "Session Ended 5", "Stream End 5"}, true},
		{live.FaultResolutionLimit, 5 * sec, []string{"Ingest Resolution 6", "Session Ended 6", "Stream End 6"}, true},
	} {
		bubble(t, ivs.TypeStandard, live.Limits{}, func(w *world) {
			began := time.Now()
			e := w.publish(w.key, "")
			e.mustSend(5 * sec)
			if err := w.fault(tt.fault, tt.duration); err != nil {
				w.Fatal(err)
			}
			e.Send(20 * sec) // the events say
			time.Sleep(sec)
			got := w.events(began)
			if diff := cmp.Diff(tt.want, got[2:min(len(got), 2+len(tt.want))]); diff != "" {
				w.Errorf("%s: %s", tt.fault, diff)
			}
			checkErrorEvent(w, tt.hasError)
			if !strings.Contains(w.log.String(), "FAULT ON DEMAND") {
				w.Errorf("%s is not in the log", tt.fault)
			}
			e.Lose()
		})
	}
}

func TestFaultRefused(t *testing.T) {
	bubble(t, ivs.TypeStandard, live.Limits{}, func(w *world) {
		e := w.publish(w.key, "")
		e.mustSend(2 * sec)
		for fault, text := range map[string]string{"earthquake": "must be one of starvation, ", live.FaultTranscodeFailure: "shown alone"} {
			if err := w.fault(fault, sec); !ivs.Is(err, ivs.Validation) || !strings.Contains(err.Error(), text) {
				w.Errorf("%s: %v, want %q", fault, err, text)
			}
		}
		e.mustSend(2 * sec) // undisturbed
		e.leave()
	})
}
