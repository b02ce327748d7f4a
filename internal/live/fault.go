package live

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
)

// Faults that can be asked for. Each has the effect of the real thing and the
// events that follow from it, for teams that test how they take them.
const (
	FaultStarvation      = "starvation"       // nothing that the encoder sends arrives
	FaultIngestCut       = "ingest-cut"       // the encoder's connection breaks, once
	FaultBitrateLimit    = "bitrate-limit"    // the encoder has twice the bit rate that its channel takes
	FaultResolutionLimit = "resolution-limit" // the picture has an edge twice as long as the channel takes

	// FaultTranscodeFailure kills the ffmpeg that makes the renditions, and each
	// one that is started in its place.
	FaultTranscodeFailure = "transcode-failure"
)

// faultNames are all faults, as they are told to who asks for another.
var faultNames = []string{FaultStarvation, FaultIngestCut, FaultBitrateLimit, FaultResolutionLimit, FaultTranscodeFailure}

var (
	errIngestCut     = errors.New("fault on demand: the encoder's connection is cut")
	errTranscodeKill = errors.New("fault on demand: ffmpeg is killed")
)

// maxFault bounds how long a fault may last.
const maxFault = time.Hour

// faults are the faults of a session, and until when they last.
type faults struct {
	mu    sync.Mutex
	until map[string]time.Time // guarded by mu; by name
}

func (f *faults) set(name string, until time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.until == nil {
		f.until = map[string]time.Time{}
	}
	f.until[name] = until
}

func (f *faults) active(name string, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return now.Before(f.until[name])
}

// inject makes a fault happen to s.
func (s *Session) inject(name string, d time.Duration, now time.Time) error {
	switch name {
	case FaultStarvation, FaultBitrateLimit, FaultResolutionLimit:
		s.fault.set(name, now.Add(d))
	case FaultTranscodeFailure:
		if !s.ladder.working() {
			return ivs.Errorf(ivs.Validation, "fault %s needs a stream that is transcoded, and this one is not: its source is shown alone", name)
		}
		s.fault.set(name, now.Add(d))
	case FaultIngestCut:
		s.Cut(errIngestCut)
	default:
		return ivs.Errorf(ivs.Validation, "fault must be one of %s; there are none of buckets, since this version does not record", strings.Join(faultNames, ", "))
	}
	s.log.Warn("FAULT ON DEMAND", "fault", name, "duration", d)
	return nil
}

// ServeFault answers POST /_millrace/faults with a body of
// {"channelArn": …, "fault": …, "duration": "30s"}: the fault happens to the
// channel's live session. The duration may also be a number of seconds.
func (h *Hub) ServeFault(w http.ResponseWriter, r *http.Request, scope store.Scope) error {
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
	s := h.Channel(in.ChannelARN)
	if s == nil || scopeOf(in.ChannelARN) != scope {
		return ivs.Errorf(ivs.NotBroadcasting, "The channel is not live on this server")
	}
	if err := s.inject(in.Fault, d, time.Now()); err != nil {
		return err
	}
	return writeJSON(w, map[string]string{"channelArn": in.ChannelARN, "streamId": s.StreamID, "fault": in.Fault, "duration": d.String()})
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
