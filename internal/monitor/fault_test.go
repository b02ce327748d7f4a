package monitor

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/live"
	"github.com/millrace/millrace/internal/store"
)

// fault requests a fault as a signed caller of scope does.
func (n *node) fault(scope store.Scope, fault, duration string) (*httptest.ResponseRecorder, error) {
	body := fmt.Sprintf(`{"channelArn":%q,"fault":%q,"duration":%s}`, n.channel.ARN, fault, duration)
	r := httptest.NewRecorder()
	return r, n.Fault(r, httptest.NewRequestWithContext(n.Context(), "POST", "/", strings.NewReader(body)), scope)
}

func TestFault(t *testing.T) {
	inNode(t, func(n *node) {
		refused := func(scope store.Scope, fault, duration string, kind ivs.Kind, text string) {
			n.Helper()
			if _, err := n.fault(scope, fault, duration); !ivs.Is(err, kind) || !strings.Contains(err.Error(), text) {
				n.Errorf("%v, want %v with %q", err, kind, text)
			}
		}
		refused(here, live.FaultStarvation, "1", ivs.NotBroadcasting, "is not currently online")
		leave := n.publish(4)
		refused(store.Scope{Account: here.Account, Region: "eu-west-1"}, live.FaultStarvation, "1", ivs.NotFound, "does not exist")
		refused(here, "earthquake", "1", ivs.Validation, "must be one of starvation, ")
		n.BucketFaults = []string{"bucket-away"}
		refused(here, "earthquake", "1", ivs.Validation, "for a channel that is recorded, one of bucket-away")
		refused(here, live.FaultStarvation, `"2h"`, ivs.Validation, "between 0 and 1h")
		refused(here, live.FaultStarvation, `"soon"`, ivs.Validation, "The body must be")
		for _, duration := range []string{`"30s"`, "30", `"0.5m"`} {
			r, err := n.fault(here, live.FaultStarvation, duration)
			if body := r.Body.String(); err != nil || !strings.Contains(body, `"duration":"30s"`) || !strings.Contains(body, n.session().StreamID) {
				n.Errorf("%s: %s, %v", duration, body, err)
			}
		}
		n.Faults = false
		refused(here, live.FaultStarvation, "1", ivs.AccessDenied, "--faults")
		leave()
		time.Sleep(time.Second)
		n.Faults = true
		refused(here, live.FaultStarvation, "1", ivs.NotBroadcasting, "is not currently online")
	})
}
