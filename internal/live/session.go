package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/flv"
	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/rtmp"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/timeline"
)

const (
	// healthyAfter is how much media a session must have delivered before
	// its health is known.
	healthyAfter = 2 * time.Second

	// pictureWithin is how long after the first frame of sound a broadcast
	// may take to show its first picture; after that it is audio only.
	pictureWithin = 10 * time.Second
)

// A Session is one broadcast of a channel.
type Session struct {
	Channel  ivs.Channel // as it was when the encoder connected
	StreamID string
	Stream   *hls.Stream // what viewers are served
	Viewers  Viewers

	log    *slog.Logger
	store  *store.DB
	cut    context.CancelCauseFunc // ends the session for a reason
	done   chan struct{}           // closed when the last event is written
	source *hls.Rendition

	// The publisher's goroutine alone uses these.
	clock    timeline.Clock
	began    time.Time // when the first frame came
	video    *media.Track
	audio    *media.Track
	metadata flv.Metadata
	frames   int64

	started  atomic.Bool  // Stream Start is written
	progress atomic.Int64 // the latest DTS, for the heartbeat
	beaten   store.Beat   // guarded by the Hub's mu: what the row says
}

func newSession(channel ivs.Channel, p *rtmp.Publisher, cut context.CancelCauseFunc) *Session {
	s := &Session{
		Channel:  channel,
		StreamID: ivs.NewStreamID(),
		Stream: &hls.Stream{
			LowLatency:     channel.LatencyMode == ivs.LatencyLow,
			TargetDuration: targetDuration(p.Query),
		},
		cut:  cut,
		done: make(chan struct{}),
	}
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

// run lets the encoder begin, and carries its frames until it leaves. publish
// is called once, when a player can start.
func (s *Session) run(ctx context.Context, p *rtmp.Publisher, publish func()) error {
	defer context.AfterFunc(ctx, func() { p.Cut(context.Cause(ctx)) })()
	if err := p.Accept(); err != nil {
		return err
	}
	for {
		f, err := p.ReadFrame()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err // an unsupported codec is told to the encoder by the server
		}
		if err := s.write(f, time.Now()); err != nil {
			return err
		}
		if s.started.Load() {
			continue
		}
		select {
		case <-s.Stream.Ready():
			s.metadata, _ = p.Metadata()
			if err := s.start(ctx); err != nil {
				return err
			}
			publish()
		default:
		}
	}
}

// write carries one frame into the source rendition.
func (s *Session) write(f media.Frame, now time.Time) error {
	f, gap, ok := s.clock.Repair(f, now)
	if !ok {
		return nil
	}
	if s.began.IsZero() {
		s.began = now
	}
	s.Stream.Epoch = s.clock.Epoch()
	if f.Track.IsVideo() {
		s.video = f.Track
	} else {
		s.audio = f.Track
	}
	if s.video == nil {
		// Sound before the first picture has no segment to go into.
		if now.Sub(s.began) > pictureWithin {
			return refuse("NetStream.Publish.Rejected", "The broadcast has no picture: send H.264 video with the sound.")
		}
		return nil
	}
	if gap {
		s.source.Discontinuity()
	}
	s.frames++
	s.progress.Store(int64(f.DTS))
	return s.source.WriteFrame(f)
}

// start makes the session live: Stream Start is written, then viewers may see
// it.
func (s *Session) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, dbTimeout)
	defer cancel()
	now := time.Now()
	ingest := s.ingestConfigurations()
	if err := s.store.StartStream(ctx, s.StreamID, now, ingest); err != nil {
		s.log.Error("going live failed", "error", err)
		return refuse("NetStream.Publish.Denied", "The server could not start the stream; try again.")
	}
	s.started.Store(true)
	s.log.Info("stream started", "after", now.Sub(s.began).Round(time.Millisecond), "video", describeVideo(ingest), "audio", describeAudio(ingest), "encoder", s.metadata.Encoder)
	return nil
}

// finish writes the last events of a session whose media has ended.
func (s *Session) finish(ctx context.Context, cause error) {
	ctx, cancel := context.WithTimeout(ctx, dbTimeout)
	defer cancel()
	now := time.Now()
	if err := s.store.EndSession(ctx, s.StreamID, now, ""); err != nil {
		s.log.Error("writing Session Ended failed; it will be written when the lease runs out", "error", err)
		return
	}
	if err := s.store.EndStream(ctx, s.StreamID, now); err != nil {
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
	s.log.Info("session ended", "reason", reason, "frames", s.frames, "media", s.carried().Round(time.Second), "repairs", s.clock.Counters, "live", s.started.Load())
}

// carried is how much media has come.
func (s *Session) carried() time.Duration {
	return max(0, time.Duration(s.progress.Load())-timeline.Start)
}

// visible reports whether viewers may see s.
func (s *Session) visible() bool { return s.started.Load() }

func (s *Session) ended() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// beat returns what the session's row should say now, and whether that differs
// from what it was last told.
func (s *Session) beat(now time.Time) (b store.Beat, changed bool) {
	b = store.Beat{StreamID: s.StreamID, Health: ivs.HealthUnknown, ViewerCount: s.Viewers.Count(now)}
	if s.carried() >= healthyAfter {
		b.Health = ivs.HealthHealthy
	}
	changed = b != s.beaten
	s.beaten = b
	return b, changed
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
			TargetBitrate:   int(s.metadata.VideoDataRate),
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
			TargetBitrate: int(s.metadata.AudioDataRate),
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
