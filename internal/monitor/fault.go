package monitor

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/live"
	"github.com/millrace/millrace/internal/store"
)

// maxFault bounds how long a fault may last.
const maxFault = time.Hour

// A FaultInput is a request for a fault.
type FaultInput struct {
	ChannelARN string   `json:"channelArn"`         // ARN or id of a live channel
	Fault      string   `json:"fault"`              // docs/health.md says what each of them does
	Duration   Duration `json:"duration,omitempty"` // such as 30s, or a number of seconds; 10 s by default, at most an hour
}

// A FaultOutput is a fault that is happening.
type FaultOutput struct {
	ChannelARN string `json:"channelArn"`
	StreamID   string `json:"streamId,omitempty"` // of the live stream; missing for faults of buckets
	Fault      string `json:"fault"`
	Duration   string `json:"duration"` // such as 30s
}

// Fault serves POST /_millrace/faults: makes a fault happen to a live stream, on a server
// that was started with --faults.
func (h *Handler) Fault(w http.ResponseWriter, r *http.Request, scope store.Scope) error {
	var in FaultInput
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		return ivs.Errorf(ivs.Validation, `The body must be {"channelArn": "…", "fault": "…", "duration": "30s"}`)
	}
	if !h.Faults {
		return ivs.Errorf(ivs.AccessDenied, "Faults on demand are off: start the server with --faults")
	}
	d := time.Duration(in.Duration)
	if d == 0 {
		d = 10 * time.Second
	}
	if d < 0 || d > maxFault {
		return ivs.Errorf(ivs.Validation, "duration must be between 0 and %v", maxFault)
	}
	arn, err := h.Channel(r.Context(), in.ChannelARN, scope)
	if err != nil {
		return err
	}
	if slices.Contains(h.BucketFaults, in.Fault) {
		if err := h.BucketFault(arn, in.Fault, d); err != nil {
			return err
		}
		return writeJSON(w, FaultOutput{ChannelARN: arn, Fault: in.Fault, Duration: d.String()})
	}
	if !slices.Contains(live.Faults, in.Fault) {
		return ivs.Errorf(ivs.Validation, "fault must be one of %s, or, for a channel that is recorded, one of %s", strings.Join(live.Faults, ", "), strings.Join(h.BucketFaults, ", "))
	}
	s := h.Hub.LiveSession(arn)
	if s == nil {
		return h.Hub.NotHere(r.Context(), arn)
	}
	if err := s.Inject(in.Fault, d); err != nil {
		return err
	}
	return writeJSON(w, FaultOutput{arn, s.StreamID, in.Fault, d.String()})
}

// A Duration is read from a Go duration or a number of seconds.
type Duration time.Duration

// UnmarshalJSON decodes "1m30s" or 90.
func (d *Duration) UnmarshalJSON(b []byte) error {
	if seconds, err := strconv.ParseFloat(string(b), 64); err == nil {
		*d = Duration(seconds * float64(time.Second))
		return nil
	}
	text, err := strconv.Unquote(string(b))
	if err != nil {
		return err
	}
	v, err := time.ParseDuration(text)
	*d = Duration(v)
	return err
}
