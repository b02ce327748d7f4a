package live

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
)

// fault asks for a fault as a signed caller of scope does.
func (w *world) fault(scope store.Scope, fault, duration string) error {
	body := fmt.Sprintf(`{"channelArn":%q,"fault":%q,"duration":%s}`, w.channel.ARN, fault, duration)
	return w.ServeFault(httptest.NewRecorder(), httptest.NewRequestWithContext(w.Context(), "POST", "/", strings.NewReader(body)), scope)
}

// A fault has the events of the real thing.
func TestFaults(t *testing.T) {
	for _, tt := range []struct {
		fault, duration string
		want            []string
		hasError        bool
	}{
		{FaultStarvation, `"10s"`, []string{"Starvation Start 5", "Starvation End 16"}, false},
		{FaultStarvation, `10`, []string{"Starvation Start 5", "Starvation End 16"}, false},
		{FaultIngestCut, `0`, []string{"Session Ended 5", "Stream End 5"}, false},
		{FaultBitrateLimit, `"5s"`, []string{"Ingest Bitrate 6", "Session Ended 6", "Stream End 6"}, true},
		{FaultResolutionLimit, `"5s"`, []string{"Ingest Resolution 6", "Session Ended 6", "Stream End 6"}, true},
	} {
		bubble(t, ivs.TypeStandard, Limits{}, func(w *world) {
			began := time.Now()
			e := w.publish(w.key, "")
			e.mustSend(5 * sec)
			if err := w.fault(here, tt.fault, tt.duration); err != nil {
				w.Fatal(err)
			}
			e.send(20 * sec) //nolint:errcheck // the events tell
			time.Sleep(sec)
			got := w.events(began)
			if diff := cmp.Diff(tt.want, got[2:min(len(got), 2+len(tt.want))]); diff != "" {
				w.Errorf("%s: %s", tt.fault, diff)
			}
			checkErrorEvent(w, tt.hasError)
			if !strings.Contains(w.log.String(), "FAULT ON DEMAND") {
				w.Errorf("%s is not in the log", tt.fault)
			}
			e.conn.Close()
		})
	}
}

func TestFaultRefused(t *testing.T) {
	bubble(t, ivs.TypeStandard, Limits{}, func(w *world) {
		want := func(err error, kind ivs.Kind, text string) {
			w.Helper()
			if !ivs.Is(err, kind) || !strings.Contains(err.Error(), text) {
				w.Errorf("%v, want %v with %q", err, kind, text)
			}
		}
		want(w.fault(here, FaultStarvation, "1"), ivs.NotBroadcasting, "not live")
		e := w.publish(w.key, "")
		e.mustSend(2 * sec)
		want(w.fault(store.Scope{Account: here.Account, Region: "eu-west-1"}, FaultStarvation, "1"), ivs.NotBroadcasting, "not live")
		want(w.fault(here, "earthquake", "1"), ivs.Validation, "must be one of starvation, ")
		want(w.fault(here, "slow-bucket", "1"), ivs.Validation, "this version does not record")
		want(w.fault(here, FaultTranscodeFailure, "1"), ivs.Validation, "shown alone")
		want(w.fault(here, FaultStarvation, `"2h"`), ivs.Validation, "between 0 and 1h")
		want(w.fault(here, FaultStarvation, `"soon"`), ivs.Validation, "The body must be")
		w.Faults = false
		want(w.fault(here, FaultStarvation, "1"), ivs.AccessDenied, "--faults")
		e.mustSend(2 * sec) // undisturbed
		e.leave()
	})
}
