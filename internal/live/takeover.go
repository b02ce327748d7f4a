package live

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/millrace/millrace/internal/broadcast"
	"github.com/millrace/millrace/internal/ingest"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/store"
)

const (
	// probeTime is how long an encoder that wants to take over may take to show
	// what it sends.
	probeTime = 15 * time.Second

	// probeBytes bounds what is kept of its frames meanwhile.
	probeBytes = 16 << 20

	// frameOverhead is the memory that a kept frame takes in addition to its bytes.
	frameOverhead = 256

	// noAudioAfter is how long after its first key frame an encoder may take to send
	// audio before it is taken to have none; audioWithin is that time if the stream to
	// take over has audio.
	noAudioAfter = 300 * time.Millisecond
	audioWithin  = 3 * time.Second
)

// priorityOf reads ?priority= on a stream key: 1 to 2,147,483,647. given reports whether
// there is one; anything else counts as 0.
func priorityOf(src ingest.Source) (priority int, given bool) {
	query := src.Info().Query
	if !query.Has("priority") {
		return 0, false
	}
	n, err := strconv.Atoi(query.Get("priority"))
	if err != nil || n < 1 || n > math.MaxInt32 {
		return 0, true
	}
	return n, true
}

// takeOver lets src continue with s in place of its present encoder, if it may. If
// it may not, s is left as it is.
func (h *Hub) takeOver(ctx context.Context, s *Session, src ingest.Source, cut context.CancelCauseFunc) error {
	defer context.AfterFunc(ctx, func() { src.Cut(context.Cause(ctx)) })()
	mine := newSeat(src, cut)
	prelude, left, err := s.tryTakeover(ctx, src, mine)
	if err != nil {
		s.log.Warn("takeover refused", "remote", src.Info().RemoteAddr, "reason", err)
		return err
	}
	return h.runEncoder(ctx, s, src, mine, func() error {
		<-left
		if err := s.splice(ctx, src, prelude); err != nil {
			return err
		}
		return s.readFrames(ctx, src, func() { h.goLive(s) })
	})
}

// tryTakeover decides whether src takes the seat. It runs for one encoder at a time. It
// returns what src has shown of itself, and when the seat is free.
func (s *Session) tryTakeover(ctx context.Context, src ingest.Source, mine *seat) (prelude []timed, left <-chan struct{}, err error) {
	select {
	case s.seats.trying <- struct{}{}:
		defer func() { <-s.seats.trying }()
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	}
	priority, _ := priorityOf(src)
	if err := s.mayTakeOver(priority); err != nil {
		return nil, nil, err
	}
	if err := src.Accept(); err != nil {
		return nil, nil, err
	}
	if prelude, err = s.probe(src); err != nil {
		return nil, nil, err
	}
	left, ok := s.seats.claim(mine, priority)
	if !ok {
		return nil, nil, ingest.Refuse(ingest.Unavailable, "The stream that was to be taken over has just ended; publish again.")
	}
	return prelude, left, nil
}

// mayTakeOver compares a priority with that of the present encoder.
func (s *Session) mayTakeOver(priority int) error {
	has, takeovers := s.seats.state()
	switch limit := s.admission.limits.Takeovers; {
	case priority == 0:
		return s.refuseTakeover(ivs.CodeTakeoverInvalidPriority, "A priority is a whole number from 1 to 2147483647.")
	case priority <= has:
		return s.refuseTakeover(ivs.CodeTakeoverInvalidPriority, fmt.Sprintf("Priority %d is not above that of the stream, %d.", priority, has))
	case takeovers >= limit:
		return s.refuseTakeover(ivs.CodeTakeoverLimitBreached, fmt.Sprintf("This stream has been taken over %d times, and may not be again.", limit))
	}
	return nil
}

// refuseTakeover records Stream Takeover Failure.
func (s *Session) refuseTakeover(code, why string) error {
	s.journal.add(maxPendingRefusals, store.Event{Type: ivs.EventStreamState, Name: ivs.StreamTakeoverFailure, Code: code, At: time.Now()})
	return ingest.Refuse(ingest.TakeoverDenied, why)
}

// A timed is a frame with the time of its arrival.
type timed struct {
	media.Frame
	at time.Time
}

// probe reads from src until it is known what it sends, and compares that with
// what s has. It returns the frames from the first key frame on.
func (s *Session) probe(src ingest.Source) (frames []timed, err error) {
	late := ingest.Refuse(ingest.Unsupported, "No key frame came.")
	defer time.AfterFunc(probeTime, func() { src.Cut(late) }).Stop()
	now := s.broadcast.Tracks()
	var video, audio *media.Track
	size := 0
	for {
		f, err := src.ReadFrame()
		if err != nil {
			if errors.Is(err, late) {
				err = s.refuseTakeover(ivs.CodeTakeoverMediaMismatch, "The stream to take over has video, and no key frame came.")
			}
			return nil, err
		}
		if f.Track.IsVideo() {
			video = f.Track
		} else {
			audio = f.Track
		}
		if video == nil || len(frames) == 0 && !f.Key || len(frames) == 0 && !f.Track.IsVideo() {
			continue
		}
		if size += len(f.Data) + frameOverhead; size > probeBytes {
			return nil, ingest.Refuse(ingest.LimitExceeded, "The broadcast sent too much before its tracks were known; send the decoder configurations of video and audio first.")
		}
		f.Data = bytes.Clone(f.Data)
		frames = append(frames, timed{f, time.Now()})
		received := f.DTS - frames[0].DTS
		why := mismatch(now, broadcast.Tracks{Video: video, Audio: audio})
		if why == "" && audio == nil && now.Audio != nil && received >= audioWithin {
			why = "The stream to take over has audio, this one has none."
		}
		if why != "" {
			return nil, s.refuseTakeover(ivs.CodeTakeoverMediaMismatch, why)
		}
		if audio != nil || now.Audio == nil && received >= noAudioAfter {
			return frames, nil
		}
	}
}

// mismatch returns how an encoder that wants to take over differs from the present one;
// "" if it does not, as far as is known: its audio may not have come yet.
func mismatch(now *broadcast.Tracks, next broadcast.Tracks) string {
	switch {
	case now == nil:
		return "The stream to take over has no video yet."
	case now.Video.Codec != next.Video.Codec:
		return fmt.Sprintf("The stream to take over has %v video, this one %v.", now.Video.Codec, next.Video.Codec)
	case now.Video.Video.Width != next.Video.Video.Width || now.Video.Video.Height != next.Video.Video.Height:
		return fmt.Sprintf("The stream to take over is %dx%d, this one %dx%d.",
			now.Video.Video.Width, now.Video.Video.Height, next.Video.Video.Width, next.Video.Video.Height)
	case now.Audio == nil && next.Audio != nil:
		return "The stream to take over has no audio, this one has."
	case next.Audio != nil && now.Audio.Codec != next.Audio.Codec:
		return fmt.Sprintf("The stream to take over has %v audio, this one %v.", now.Audio.Codec, next.Audio.Codec)
	}
	return ""
}

// splice joins src to the end of what s has, and records Stream Takeover. s is
// the caller's now.
func (s *Session) splice(ctx context.Context, src ingest.Source, prelude []timed) error {
	began := prelude[0].at
	s.broadcast.Splice(began)
	s.publishing.metadata = src.Metadata()
	for _, f := range prelude {
		if err := s.writeFrame(f.Frame, src, f.at); err != nil {
			return err
		}
	}
	s.recordTakeover(ctx, began)
	s.log.Info("stream taken over", "remote", src.Info().RemoteAddr, "encoder", s.publishing.metadata.Encoder)
	return nil
}

// recordTakeover writes Stream Takeover and what the new encoder sends. What the
// database does not take now is written with a heartbeat.
func (s *Session) recordTakeover(ctx context.Context, at time.Time) {
	ctx, cancel := context.WithTimeout(ctx, dbTimeout)
	defer cancel()
	p := &s.publishing
	p.tracks = s.broadcast.Tracks()
	p.described = ingestConfigurations(p.tracks, p.metadata)
	s.journal.describe(p.described)
	s.addEvents(store.Event{Type: ivs.EventStreamState, Name: ivs.StreamTakeover, At: at})
	if err := s.flush(ctx, s.health()); err != nil {
		s.log.Error("writing Stream Takeover failed; it will be written with a heartbeat", "error", err)
	}
}
