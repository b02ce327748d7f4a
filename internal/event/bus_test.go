package event_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/ivs"
)

// A putEvents is the request of PutEvents.
type putEvents struct {
	Entries []struct {
		EventBusName, Source, DetailType, Detail string
		Resources                                []string
		Time                                     float64
	}
}

// newBus starts a server with EventBridge's API: it checks the SDK's request and answers
// with one error code, "" for none, for each entry, or with a status.
func newBus(t *testing.T, got *putEvents, status int, codes ...string) (endpoint string) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDBUS")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if auth := r.Header.Get("Authorization"); !strings.HasPrefix(auth, "AWS4-HMAC-SHA256 Credential=AKIDBUS/") || !strings.Contains(auth, "/eu-west-1/events/aws4_request") {
			t.Errorf("Authorization: %s", auth)
		}
		if r.Method != "POST" || r.Header.Get("X-Amz-Target") != "AWSEvents.PutEvents" {
			t.Errorf("%s %s with X-Amz-Target %q", r.Method, r.URL, r.Header.Get("X-Amz-Target"))
		}
		if err := json.Unmarshal(body, got); err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		if status != http.StatusOK {
			w.WriteHeader(status)
			fmt.Fprint(w, `{"__type":"ResourceNotFoundException","message":"no such bus"}`)
			return
		}
		type entry struct{ EventId, ErrorCode, ErrorMessage string }
		var out struct {
			FailedEntryCount int
			Entries          []entry
		}
		for i := range got.Entries {
			e := entry{EventId: fmt.Sprint(i)}
			if i < len(codes) && codes[i] != "" {
				e = entry{ErrorCode: codes[i], ErrorMessage: "because"}
				out.FailedEntryCount++
			}
			out.Entries = append(out.Entries, e)
		}
		json.NewEncoder(w).Encode(out)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestBus(t *testing.T) {
	at := time.Date(2026, 5, 1, 9, 3, 5, 0, time.UTC)
	limit := ivs.Event{ID: "u", Type: ivs.EventLimitBreach, Name: "Concurrent Viewers", Time: at, Extra: map[string]json.RawMessage{"limit_value": json.RawMessage("100")}}
	for _, tt := range []struct {
		name   string
		status int
		codes  []string
		sent   int
		err    string
	}{
		{"all taken", 200, nil, 2, ""},
		{"the second refused", 200, []string{"", "MalformedDetail"}, 1, "refused: MalformedDetail: because"},
		{"the first throttled", 200, []string{"ThrottlingException"}, 0, "no answer: ThrottlingException: because"},
		{"both failed inside", 200, []string{"InternalFailure", "InternalFailure"}, 0, "no answer: InternalFailure: because"},
		{"no bus", 400, nil, 0, "no answer: "},
		{"down", 500, nil, 0, "no answer: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got putEvents
			endpoint := newBus(t, &got, tt.status, tt.codes...)
			bus := target(t, "bus=eventbridge:my-bus?endpoint="+endpoint+"&source=aws.ivs")
			sent, err := bus.Sender.Send(t.Context(), append([]ivs.Event{limit}, oneEvent...))
			if sent != tt.sent || (tt.err == "") != (err == nil) || err != nil && !strings.HasPrefix(err.Error(), tt.err) {
				t.Errorf("Send = %d, %v; want %d, %s", sent, err, tt.sent, tt.err)
			}
			if len(got.Entries) != 2 {
				t.Fatalf("the bus got %+v", got)
			}
			first, second := got.Entries[0], got.Entries[1]
			if first.EventBusName != "my-bus" || first.Source != "aws.ivs" || first.DetailType != "IVS Limit Breach" || first.Time != float64(at.Unix()) ||
				first.Detail != `{"limit_name":"Concurrent Viewers","limit_value":100}` || len(first.Resources) != 0 {
				t.Errorf("the first entry is %+v", first)
			}
			if diff := cmp.Diff([]string{oneEvent[0].ChannelARN}, second.Resources); diff != "" || second.DetailType != "IVS Stream State Change" {
				t.Errorf("the second entry is %+v", second)
			}
		})
	}
}

// Without a setting the source is one that AWS lets others than itself use.
func TestBusSource(t *testing.T) {
	var got putEvents
	bus := target(t, "bus=eventbridge:default?endpoint="+newBus(t, &got, 200))
	if sent, err := bus.Sender.Send(t.Context(), oneEvent); sent != 1 || err != nil || got.Entries[0].Source != "millrace.ivs" {
		t.Errorf("Send = %d, %v, entries %+v", sent, err, got.Entries)
	}
	must(t, bus.Sender.Flush())
}
