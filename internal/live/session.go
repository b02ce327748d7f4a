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
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/audience"
	"github.com/millrace/millrace/internal/broadcast"
	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/ingest"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/meter"
	"github.com/millrace/millrace/internal/store"
)

// A Session is one broadcast of a channel, by one encoder or by several that took over
// from each other. It writes the frames that its admission takes to its Broadcast, and
// records the events.
type Session struct {
	Channel  ivs.Channel // as it was when the encoder connected
	StreamID string
	Stream   *hls.Stream // the stream that viewers are served
	Viewers  audience.Viewers

	log        *slog.Logger
	store      *store.DB
	done       chan struct{} // closed when the last event is written
	broadcast  *broadcast.Broadcast
	renditions renditions
	admission  admission
	seats      seats
	publishing publishing
	starting   chan struct{} // a lock, held from before Stream Start is written until viewers can find the session
	started    atomic.Int64  // when Stream Start was written, Unix nanoseconds; 0 before
	input      inputTotals
	journal    journal
	judged     atomic.Int32 // a meter.Health, at most a second old
	held       held
}

// inputTotals count the input of a session, or of all sessions of a node, that could not
// be carried as it came.
type inputTotals struct {
	media.InputTotals
	node *media.InputTotals
}

func (t *inputTotals) add(n media.InputStats) {
	t.Add(n)
	t.node.Add(n)
}

// held are the resources that a session holds until its end. They belong to the goroutine
// of the encoder that has the seat.
type held struct {
	expiry    *time.Timer     // cuts the session off when it has lasted for too long
	unreserve func()          // gives back what Machine.Admit reserved
	recorded  func(lost bool) // ends its recording; nil where there is none
}

// publishing is the state of the goroutine of the encoder that has the seat.
type publishing struct {
	noted     time.Time // when the session last looked at what follows
	metadata  ingest.Metadata
	input     media.InputStats         // what its source could not carry so far
	tracks    *broadcast.Tracks        // the tracks that described describes
	described ivs.IngestConfigurations // what the session shows of the encoder, or is about to
}

// newSession returns the session of an encoder, which has the first seat. Repairs of its
// clock and of its input are counted for the node too.
func (h *Hub) newSession(channel ivs.Channel, src ingest.Source, first *seat) *Session {
	stream := &hls.Stream{
		LowLatency:     channel.LatencyMode == ivs.LatencyLow,
		TargetDuration: targetDuration(src.Info().Query),
	}
	if channel.ContainerFormat == ivs.ContainerFMP4 {
		stream.Container = hls.FMP4
	}
	s := &Session{
		Channel:   channel,
		StreamID:  ivs.NewStreamID(),
		Stream:    stream,
		broadcast: broadcast.New(stream, &h.Repairs),
		done:      make(chan struct{}),
		starting:  make(chan struct{}, 1),
		store:     h.Store,
		input:     inputTotals{node: &h.Input},
	}
	s.log = h.Log.With("channel", s.Channel.ARN, "stream", s.StreamID)
	s.broadcast.Log = s.log
	s.admission = admission{channel: &s.Channel, limits: h.Limits.OrDefaults(), log: s.log}
	priority, _ := priorityOf(src)
	s.seats.init(first, priority)
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

// run lets the first encoder begin, and reads its frames until it leaves.
// goLive is called once, when a player can start.
func (s *Session) run(ctx context.Context, src ingest.Source, goLive func()) error {
	defer context.AfterFunc(ctx, func() { src.Cut(context.Cause(ctx)) })()
	if err := src.Accept(); err != nil {
		return err
	}
	return s.readFrames(ctx, src, goLive)
}

// readFrames reads the frames of src and writes them to the broadcast, until src leaves.
func (s *Session) readFrames(ctx context.Context, src ingest.Source, goLive func()) error {
	p := &s.publishing
	p.input, p.noted = media.InputStats{}, time.Time{}
	defer s.note(src)
	for {
		f, err := src.ReadFrame()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		now := time.Now()
		if err := s.writeFrame(f, src, now); err != nil {
			return err
		}
		if !s.visible() && s.broadcast.Ready(now) {
			p.metadata = src.Metadata()
			if err := s.start(ctx, goLive); err != nil {
				return err
			}
		}
		if now.Sub(p.noted) >= noteEvery {
			p.noted = now
			s.note(src)
		}
	}
}

// noteEvery is how often a session looks at what its encoder says of itself.
const noteEvery = time.Second

// note takes over what src has said of itself and counted since the last time.
func (s *Session) note(src ingest.Source) {
	s.noteInput(src.Stats())
	if p := &s.publishing; s.visible() && (s.broadcast.Tracks() != p.tracks || src.Metadata() != p.metadata) {
		p.metadata = src.Metadata()
		s.describe()
	}
}

// noteInput counts what could not be carried as it came, and says once that
// something was left out.
func (s *Session) noteInput(now media.InputStats) {
	p := &s.publishing
	if now == p.input {
		return
	}
	first := s.input.Load().LeftOut() == 0
	more := now.Minus(p.input)
	p.input = now
	s.input.add(more)
	if first && more.LeftOut() > 0 {
		s.log.Warn("the encoder sends data that has to be dropped; the counts are logged when the session ends", "input", now)
	}
}

// writeFrame writes a frame to the broadcast, if its admission takes it.
func (s *Session) writeFrame(f media.Frame, src ingest.Source, now time.Time) error {
	ok, breaches, err := s.admission.admit(f, &s.broadcast.Meter, now)
	if len(breaches) > 0 {
		s.addEvents(breaches...)
	}
	if !ok {
		return err
	}
	if f.Key && f.Track.IsVideo() {
		md := src.Metadata()
		s.broadcast.Meter.Announce(meter.Announced{VideoBitrate: md.VideoBitrate, AudioBitrate: md.AudioBitrate, Framerate: md.FrameRate})
	}
	return s.broadcast.WriteFrame(f, src.AudioTrack(), now)
}

// describe has the session show what the encoder sends now: a track may come
// late, or change.
func (s *Session) describe() {
	p := &s.publishing
	p.tracks = s.broadcast.Tracks()
	c := ingestConfigurations(p.tracks, p.metadata)
	if slices.Equal(c.Video, p.described.Video) && slices.Equal(c.Audio, p.described.Audio) {
		return
	}
	p.described = c
	s.journal.describe(c)
	s.log.Info("the encoder's tracks have changed", "video", describeVideo(c), "audio", describeAudio(c))
}

// start makes the session live: it writes Stream Start, then goLive makes the stream
// visible to viewers.
func (s *Session) start(ctx context.Context, goLive func()) error {
	ctx, cancel := context.WithTimeout(ctx, dbTimeout)
	defer cancel()
	s.starting <- struct{}{}
	defer func() { <-s.starting }()
	now := time.Now()
	p := &s.publishing
	p.tracks = s.broadcast.Tracks()
	p.described = ingestConfigurations(p.tracks, p.metadata)
	if err := s.store.StartStream(ctx, s.StreamID, now, p.described); err != nil {
		s.log.Error("going live failed", "error", err)
		return ingest.Refuse(ingest.Unavailable, "The server could not start the stream; try again.")
	}
	s.started.Store(now.UnixNano())
	s.log.Info("stream started", "after", now.Sub(s.broadcast.Began()).Round(time.Millisecond), "video", describeVideo(p.described), "audio", describeAudio(p.described), "encoder", p.metadata.Encoder)
	goLive()
	return nil
}

// errSingleTrack ends a session of a channel that accepts only multitrack video.
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

// addEvents has events written with the next heartbeat, or when the session ends.
func (s *Session) addEvents(events ...store.Event) {
	if !s.journal.add(maxPending, events...) {
		s.log.Error("events were dropped: the database accepts none, and too many are pending", "events", len(events))
	}
}

// flush writes what is pending, with the health of the session. What fails stays
// pending.
func (s *Session) flush(ctx context.Context, health string) error {
	pending, err := s.journal.take(ctx)
	if err != nil {
		return err
	}
	if !pending.empty() {
		err = s.store.ChangeSessions(ctx, []store.SessionChange{{StreamID: s.StreamID, Health: health, Events: pending.events, Ingest: pending.ingest}})
	}
	if err == nil {
		pending = entries{}
	}
	s.journal.putBack(pending)
	return err
}

// ingestConfigurations describes tracks from their bytes, and what the encoder
// said about itself. What it did not say is 0 or "".
func ingestConfigurations(t *broadcast.Tracks, md ingest.Metadata) (c ivs.IngestConfigurations) {
	if t == nil {
		return c
	}
	v := t.Video.Video
	rate := v.FrameRate
	if md.FrameRate > 0 {
		rate = md.FrameRate
	}
	c.Video = append(c.Video, ivs.VideoConfiguration{
		Profile:         v.Profile,
		Level:           v.Level,
		Codec:           t.Video.RFC6381(),
		Encoder:         md.Encoder,
		TargetBitrate:   int(md.VideoBitrate),
		TargetFramerate: int(math.Round(rate)),
		VideoWidth:      v.Width,
		VideoHeight:     v.Height,
		Track:           trackName(t.Video),
	})
	if t.Audio != nil {
		a := t.Audio.Audio
		c.Audio = append(c.Audio, ivs.AudioConfiguration{
			Codec:         t.Audio.RFC6381(),
			TargetBitrate: int(md.AudioBitrate),
			SampleRate:    a.SampleRate,
			Channels:      a.Channels,
			Track:         trackName(t.Audio),
		})
	}
	return c
}

// trackName is the API's name of a track.
func trackName(t *media.Track) string { return fmt.Sprintf("track%d", t.ID) }

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
