package live

import (
	"errors"
	"strings"
	"sync/atomic"
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

// faults are the injected faults that last for a while. Any goroutine may set them.
type faults struct {
	starvation, bitrate, resolution fault
}

// A fault is when an injected fault ends; nil if it never was injected.
type fault struct{ atomic.Pointer[time.Time] }

func (f *fault) active(now time.Time) bool {
	until := f.Load()
	return until != nil && now.Before(*until)
}

// Inject makes the named fault happen to s for a while. It returns ivs.Validation for a
// fault that does not exist, or that s cannot have.
func (s *Session) Inject(name string, d time.Duration) error {
	until := time.Now().Add(d)
	switch name {
	case FaultStarvation:
		s.admission.faults.starvation.Store(&until)
	case FaultBitrateLimit:
		s.admission.faults.bitrate.Store(&until)
	case FaultResolutionLimit:
		s.admission.faults.resolution.Store(&until)
	case FaultTranscodeFailure:
		if !s.renditions.working() {
			return ivs.Errorf(ivs.Validation, "fault %s needs a stream that is transcoded, and this one is not: its source is shown alone", name)
		}
		s.renditions.fail(until)
	case FaultIngestCut:
		s.Cut(errIngestCut)
	default:
		return ivs.Errorf(ivs.Validation, "fault must be one of %s", strings.Join(Faults, ", "))
	}
	s.log.Warn("FAULT ON DEMAND", "fault", name, "duration", d)
	return nil
}
