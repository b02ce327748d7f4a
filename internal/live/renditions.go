package live

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/ingest"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/transcode"
)

// flushWithin is how long the end of a broadcast waits for the end of its
// renditions.
const flushWithin = 3 * time.Second

// renditions control the goroutine that makes the renditions of a session. The zero value
// is for a session that shows its source alone.
type renditions struct {
	cancel context.CancelFunc
	fail   func(until time.Time) // injects FaultTranscodeFailure
	done   chan struct{}         // closed when none are made any more; nil where none ever are
	why    atomic.Pointer[error] // why renditions were given up; nil unless they were
}

// ladders are the renditions of the channel types; ivs.TypeBasic has none.
var ladders = map[string]transcode.Kind{
	ivs.TypeStandard:   transcode.Standard,
	ivs.TypeAdvancedSD: transcode.AdvancedSD,
	ivs.TypeAdvancedHD: transcode.AdvancedHD,
}

// startRenditions begins to transcode s, if the type of its channel has renditions. rec
// is its recording configuration, nil for none. It is called before the first frame, with
// the context of the first encoder, which the renditions outlive: wait ends them.
func (s *Session) startRenditions(ctx context.Context, pool *transcode.Pool, rec *ivs.RecordingConfiguration) {
	kind := ladders[s.Channel.Type]
	if !pool.Enabled() || kind == transcode.SourceOnly {
		return
	}
	ladder := &transcode.Ladder{
		Pool: pool, Kind: kind, Constrained: s.Channel.Preset == ivs.PresetConstrainedBandwidth,
		Thumbnails: thumbnails(rec), Log: s.log,
	}
	s.broadcast.Renditions = ladder
	r := &s.renditions
	r.fail = ladder.Kill
	ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	r.done = make(chan struct{})
	go func() {
		defer close(r.done)
		if err := s.broadcast.MakeRenditions(ctx); err != nil {
			s.renditionsFailed(err, pool.Required())
		}
	}()
}

// renditionsFailed lets the broadcast continue with its source alone, or ends it
// where transcoding is required.
func (s *Session) renditionsFailed(err error, required bool) {
	s.log.Warn("NOT TRANSCODED: viewers get the source rendition only", "type", s.Channel.Type, "reason", err)
	s.renditions.why.Store(&err)
	reason := ""
	switch {
	case errors.Is(err, transcode.ErrCapacity):
		reason = "Transcode capacity exceeded. Please try again."
	case errors.Is(err, transcode.ErrFailed):
		reason = "Transcoding failed. Please try again."
	}
	if reason != "" {
		s.addEvents(store.Event{Type: ivs.EventStreamState, Name: ivs.StreamFailure, At: time.Now(), Detail: map[string]any{"reason": reason}})
	}
	if required {
		s.Cut(ingest.Refuse(ingest.LimitExceeded, err.Error()))
	}
}

// wait waits until the renditions have ended, once the broadcast's
// source is closed, and ends them when that takes too long.
func (r *renditions) wait() {
	if r.done == nil {
		return
	}
	defer time.AfterFunc(flushWithin, r.cancel).Stop()
	<-r.done
	r.cancel()
}

// working reports whether there are renditions, or will be.
func (r *renditions) working() bool {
	if r.done == nil {
		return false
	}
	select {
	case <-r.done:
		return false
	default:
		return true
	}
}

// lost returns why viewers get only the source although the channel's type has more
// renditions; "" if they get all of them.
func (r *renditions) lost() string {
	if why := r.why.Load(); why != nil {
		return (*why).Error()
	}
	return ""
}

// AddAudioOnly offers viewers the rendition without video, unless it is offered already,
// and returns when it plays, or when it is clear that it will not soon.
func (s *Session) AddAudioOnly(ctx context.Context) { s.broadcast.AddAudioOnly(ctx) }
