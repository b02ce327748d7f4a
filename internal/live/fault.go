package live

import (
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/ivs"
)

// Faults that can be injected. Each has the effect of the real failure and the events
// that follow from it, for teams that test how they handle them.
const (
	FaultStarvation      = "starvation"       // nothing that the encoder sends arrives
	FaultIngestCut       = "ingest-cut"       // the encoder's connection breaks, once
	FaultBitrateLimit    = "bitrate-limit"    // the encoder has twice the bit rate that its channel takes
	FaultResolutionLimit = "resolution-limit" // the video has an edge twice as long as the channel takes

	// FaultTranscodeFailure kills the ffmpeg that makes the renditions, and each
	// one that is started in its place.
	FaultTranscodeFailure = "transcode-failure"
)

// Faults are the faults that a session can have.
var Faults = []string{FaultStarvation, FaultIngestCut, FaultBitrateLimit, FaultResolutionLimit, FaultTranscodeFailure}

var errIngestCut = errors.New("fault on demand: the encoder's connection is cut")

// faults holds the injected faults of a session, and when each ends.
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

// Inject makes the named fault happen to s for a while. It returns ivs.Validation for a
// fault that does not exist, or that s cannot have.
func (s *Session) Inject(name string, d time.Duration) error {
	now := time.Now()
	switch name {
	case FaultStarvation, FaultBitrateLimit, FaultResolutionLimit:
		s.fault.set(name, now.Add(d))
	case FaultTranscodeFailure:
		if !s.renditions.working() {
			return ivs.Errorf(ivs.Validation, "fault %s needs a stream that is transcoded, and this one is not: its source is shown alone", name)
		}
		s.renditions.fail(now.Add(d))
	case FaultIngestCut:
		s.Cut(errIngestCut)
	default:
		return ivs.Errorf(ivs.Validation, "fault must be one of %s", strings.Join(Faults, ", "))
	}
	s.log.Warn("FAULT ON DEMAND", "fault", name, "duration", d)
	return nil
}
