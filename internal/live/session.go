package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/audience"
	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/ingest"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/meter"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/timeline"
)

// pictureWithin is how long after the first frame of sound a broadcast may take
// to show its first picture; after that it is audio only.
const pictureWithin = 10 * time.Second

// A Session is one broadcast of a channel, by one encoder or by several that
// took over from each other.
type Session struct {
	Channel  ivs.Channel // as it was when the encoder connected
	StreamID string
	Stream   *hls.Stream // what viewers are served
	Viewers  audience.Viewers

	log    *slog.Logger
	store  *store.DB
	limits Limits
	done   chan struct{} // closed when the last event is written
	expiry *time.Timer   // cuts it off when it has lasted for too long
	source *hls.Rendition
	ladder *ladder // nil where only the source is shown
	sound  sound
	meter  meter.Meter
	fault  faults

	// The goroutine of the encoder that has the seat uses these alone.
	clock     sessionClock
	began     time.Time // when the first frame came
	video     *media.Track
	audio     *media.Track
	checked   *media.Track // that was held against the limits
	metadata  ingest.Metadata
	frames    int64
	withheld  bool // frames are, until the next key frame
	silence   silence
	announced *media.Track             // of sound, by its sequence header; nil before
	described ivs.IngestConfigurations // what the session shows of the encoder, or is about to

	repairs    timeline.Totals // of the clock
	started    atomic.Int64    // when Stream Start was written, Unix nanoseconds; 0 before
	progress   atomic.Int64    // the latest DTS
	maxBitrate atomic.Int64    // bit/s; 0 before the first picture
	tracks     atomic.Pointer[tracks]
	ingest     atomic.Pointer[ivs.IngestConfigurations] // described, until the heartbeat has written it

	journal  journal
	recorded func(lost bool) // ends its recording; nil where there is none. The encoder's goroutine alone uses it

	contested chan struct{} // holds one while an encoder tries to take over

	mu        sync.Mutex
	seat      *seat // guarded by mu; of the present encoder
	leaving   bool  // guarded by mu; it has left, and nobody took over
	priority  int   // guarded by mu; 0 is none
	takeovers int   // guarded by mu

	// The Hub's heartbeat alone uses these.
	health      string
	beaten      store.Beat // what the row says
	overBitrate bool       // the encoder was cut off for it
}

func newSession(channel ivs.Channel, p ingest.Source, cut context.CancelCauseFunc) *Session {
	s := &Session{
		Channel:  channel,
		StreamID: ivs.NewStreamID(),
		Stream: &hls.Stream{
			LowLatency:     channel.LatencyMode == ivs.LatencyLow,
			TargetDuration: targetDuration(p.Info().Query),
		},
		done:      make(chan struct{}),
		contested: make(chan struct{}, 1),
		seat:      &seat{cut, make(chan struct{})},
		health:    ivs.HealthUnknown,
	}
	s.priority, _ = priorityOf(p)
	if channel.ContainerFormat == ivs.ContainerFMP4 {
		s.Stream.Container = hls.FMP4
	}
	s.source = s.Stream.AddRendition("source")
	return s
}

// targetDuration reads the segment length that ?keyframeInterval= on a stream
// key asks for: 2 to 6 seconds. Anything else leaves the default.
func targetDuration(query url.Values) time.Duration {
	n, err := strconv.Atoi(query.Get("keyframeInterval"))
	if err != nil || n < 2 || n > 6 {
		return 0
	}
	return time.Duration(n) * time.Second
}

// run lets the first encoder begin, and carries its frames until it leaves.
// publish is called once, when a player can start.
func (s *Session) run(ctx context.Context, p ingest.Source, publish func()) error {
	defer context.AfterFunc(ctx, func() { p.Cut(context.Cause(ctx)) })()
	if err := p.Accept(); err != nil {
		return err
	}
	return s.deliver(ctx, p, publish)
}

// deliver carries p's frames until it leaves.
func (s *Session) deliver(ctx context.Context, p ingest.Source, publish func()) error {
	for {
		f, err := p.ReadFrame()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.take(f, p, time.Now()); err != nil {
			return err
		}
		if s.visible() {
			continue
		}
		select {
		case <-s.Stream.Ready():
			if !s.ladder.ready(time.Since(s.began)) {
				continue
			}
			s.metadata = p.Metadata()
			if err := s.start(ctx); err != nil {
				return err
			}
			publish()
		default:
		}
	}
}

// take holds a frame against the channel and its limits, and carries it on.
func (s *Session) take(f media.Frame, p ingest.Source, now time.Time) error {
	key := f.Key && f.Track.IsVideo()
	if s.withheld = s.withheld && !key || s.fault.active(FaultStarvation, now); s.withheld {
		return nil
	}
	if key {
		md := p.Metadata()
		s.meter.Announce(meter.Announced{VideoBitrate: md.VideoBitrate, AudioBitrate: md.AudioBitrate, Framerate: md.FrameRate})
	}
	if key && (f.Track != s.checked || s.fault.active(FaultResolutionLimit, now)) {
		s.checked = f.Track
		if m := s.Channel.Multitrack; m.Enabled && m.Policy == ivs.MultitrackRequire {
			return errSingleTrack
		}
		if err := s.checkPicture(f.Track.Video, now); err != nil {
			return err
		}
	}
	s.announced = p.AudioTrack()
	return s.write(f, now)
}

// write carries one frame of the encoder on, with its time repaired.
func (s *Session) write(f media.Frame, now time.Time) error {
	f, gap, ok := s.clock.Repair(f, now)
	if !ok {
		return nil
	}
	if s.began.IsZero() {
		s.began = now
	}
	s.Stream.SetEpoch(s.clock.Epoch())
	s.note(f.Track)
	s.meter.Frame(f, now)
	if s.video == nil {
		// Sound before the first picture has no segment to go into.
		if now.Sub(s.began) > pictureWithin {
			return ingest.Refuse(ingest.Unsupported, "The broadcast has no picture: send H.264 video with the sound.")
		}
		return nil
	}
	if gap {
		s.source.Discontinuity()
	}
	if err := s.fillSilence(f); err != nil {
		return err
	}
	if !f.Track.IsVideo() && !s.silence.sound(f) {
		return nil
	}
	s.frames++
	s.progress.Store(int64(f.DTS))
	return s.carry(f)
}

// carry writes a frame into every rendition.
func (s *Session) carry(f media.Frame) error {
	err := s.source.WriteFrame(f)
	s.ladder.write(f)
	s.writeSound(f)
	return err
}

// fillSilence puts silence ahead of a picture that lacks sound.
func (s *Session) fillSilence(f media.Frame) error {
	if !f.Track.IsVideo() {
		return nil
	}
	return s.silence.fill(s.announced, f.DTS, s.carry)
}

// note keeps track of what the session has.
func (s *Session) note(t *media.Track) {
	switch {
	case t == s.video || t == s.audio:
		return
	case t.IsVideo():
		s.video = t
	default:
		s.audio = t
	}
	if s.video != nil {
		s.tracks.Store(&tracks{s.video, s.audio})
	}
	if s.visible() {
		s.describe()
	}
}

// describe has the session show what the encoder sends now: a track may come
// late, or change.
func (s *Session) describe() {
	c := s.ingestConfigurations()
	if slices.Equal(c.Video, s.described.Video) && slices.Equal(c.Audio, s.described.Audio) {
		return
	}
	s.described = c
	s.ingest.Store(&c)
	s.log.Info("the encoder sends something else", "video", describeVideo(c), "audio", describeAudio(c))
}

// start makes the session live: Stream Start is written, then viewers may see
// it.
func (s *Session) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, dbTimeout)
	defer cancel()
	now := time.Now()
	s.described = s.ingestConfigurations()
	if err := s.store.StartStream(ctx, s.StreamID, now, s.described); err != nil {
		s.log.Error("going live failed", "error", err)
		return ingest.Refuse(ingest.Unavailable, "The server could not start the stream; try again.")
	}
	s.started.Store(now.UnixNano())
	s.log.Info("stream started", "after", now.Sub(s.began).Round(time.Millisecond), "video", describeVideo(s.described), "audio", describeAudio(s.described), "encoder", s.metadata.Encoder)
	return nil
}

// errSingleTrack ends a session of a channel that takes multitrack video alone.
var errSingleTrack = ingest.Refuse(ingest.Multitrack, "This channel requires multitrack video, which this version of Millrace does not take: set the policy of its multitrackInputConfiguration to ALLOW.")

// endCode is the code that Session Ended has for a cause; most have none.
func (s *Session) endCode(cause error) string {
	refusal := (*ingest.Refusal)(nil)
	switch m := s.Channel.Multitrack; {
	case errors.Is(cause, errSingleTrack):
		return ivs.CodeMultitrackRequired
	case errors.As(cause, &refusal) && refusal.Reason == ingest.Multitrack && !m.Enabled:
		return ivs.CodeMultitrackNotAllowed
	}
	return ""
}

// recordLeft writes what has happened to a session until its encoder left, and
// that it has: Session Ended.
func (s *Session) recordLeft(ctx context.Context, cause error) {
	ctx, cancel := context.WithTimeout(ctx, dbTimeout)
	defer cancel()
	now := time.Now()
	if err := s.flush(ctx); err != nil {
		s.log.Error("writing the session's last events failed", "error", err)
	}
	if err := s.store.EndSession(ctx, s.StreamID, now, s.endCode(cause)); err != nil {
		s.log.Error("writing Session Ended failed; it will be written with Stream End", "error", err)
	}
}

// finish writes Stream End: the session's media has ended.
func (s *Session) finish(ctx context.Context, cause error) {
	ctx, cancel := context.WithTimeout(ctx, dbTimeout)
	defer cancel()
	if err := s.store.EndStream(ctx, s.StreamID, time.Now()); err != nil {
		s.log.Error("writing Stream End failed; it will be written when the lease runs out", "error", err)
		return
	}
	reason := "encoder left"
	switch {
	case errors.Is(cause, context.Canceled):
		reason = "the server is stopping"
	case cause != nil:
		reason = cause.Error()
	}
	s.log.Info("session ended", "reason", reason, "frames", s.frames, "media", s.carried().Round(time.Second), "repairs", s.clock.Counters, "live", s.visible())
}

// carried is how much media has come.
func (s *Session) carried() time.Duration {
	return max(0, time.Duration(s.progress.Load())-timeline.Start)
}

// visible reports whether viewers may see s.
func (s *Session) visible() bool { return s.started.Load() != 0 }

func (s *Session) ended() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// record has events written with the next heartbeat, or when the session ends.
func (s *Session) record(events ...store.Event) {
	if !s.journal.add(maxPending, events...) {
		s.log.Error("events left out: the database takes none", "events", len(events))
	}
}

// flush writes the pending events.
func (s *Session) flush(ctx context.Context) error {
	events, err := s.journal.take(ctx)
	if err != nil {
		return err
	}
	if len(events) > 0 {
		err = s.store.ChangeHealth(ctx, []store.HealthChange{{StreamID: s.StreamID, Health: ivs.HealthUnknown, Events: events}})
	}
	if err != nil {
		s.journal.putBack(events...)
		return err
	}
	s.journal.putBack()
	return nil
}

// ingestConfigurations describes the tracks from their bytes, and what the
// encoder said about itself in onMetaData. What it did not say is 0 or "".
func (s *Session) ingestConfigurations() (c ivs.IngestConfigurations) {
	if s.video != nil {
		v := s.video.Video
		rate := v.FrameRate
		if s.metadata.FrameRate > 0 {
			rate = s.metadata.FrameRate
		}
		c.Video = append(c.Video, ivs.VideoConfiguration{
			Profile:         v.ProfileName(),
			Level:           v.LevelName(),
			Codec:           s.video.RFC6381(),
			Encoder:         s.metadata.Encoder,
			TargetBitrate:   int(s.metadata.VideoBitrate),
			TargetFramerate: int(math.Round(rate)),
			VideoWidth:      v.Width,
			VideoHeight:     v.Height,
			Track:           "track0",
		})
	}
	if s.audio != nil {
		a := s.audio.Audio
		c.Audio = append(c.Audio, ivs.AudioConfiguration{
			Codec:         s.audio.RFC6381(),
			TargetBitrate: int(s.metadata.AudioBitrate),
			SampleRate:    a.SampleRate,
			Channels:      a.Channels,
			Track:         "track0",
		})
	}
	return c
}

func describeVideo(c ivs.IngestConfigurations) string {
	if len(c.Video) == 0 {
		return "none"
	}
	v := c.Video[0]
	return fmt.Sprintf("%s %dx%d %d fps", v.Codec, v.VideoWidth, v.VideoHeight, v.TargetFramerate)
}

func describeAudio(c ivs.IngestConfigurations) string {
	if len(c.Audio) == 0 {
		return "none"
	}
	a := c.Audio[0]
	return fmt.Sprintf("%s %d Hz %d ch", a.Codec, a.SampleRate, a.Channels)
}
