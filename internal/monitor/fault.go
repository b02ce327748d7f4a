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

// Fault handles POST /_millrace/faults with a body of {"channelArn": …, "fault": …,
// "duration": "30s"}: the fault happens to the channel's live session. The duration may
// also be a number of seconds.
func (h *Handler) Fault(w http.ResponseWriter, r *http.Request, scope store.Scope) error {
	var in struct {
		ChannelARN string   `json:"channelArn"`
		Fault      string   `json:"fault"`
		Duration   duration `json:"duration"`
	}
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
		return writeJSON(w, map[string]string{"channelArn": arn, "fault": in.Fault, "duration": d.String()})
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
	return writeJSON(w, map[string]string{"channelArn": arn, "streamId": s.StreamID, "fault": in.Fault, "duration": d.String()})
}

// duration is read from a Go duration or a number of seconds.
type duration time.Duration

// UnmarshalJSON decodes "1m30s" or 90.
func (d *duration) UnmarshalJSON(b []byte) error {
	if seconds, err := strconv.ParseFloat(string(b), 64); err == nil {
		*d = duration(seconds * float64(time.Second))
		return nil
	}
	text, err := strconv.Unquote(string(b))
	if err != nil {
		return err
	}
	v, err := time.ParseDuration(text)
	*d = duration(v)
	return err
}
