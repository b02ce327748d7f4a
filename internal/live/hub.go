// Package live runs broadcasts: a Session lasts from an encoder's first byte to the last
// event in the history. Here, and nowhere else, what an encoder sends (media) becomes a
// stream of the API (ivs). The package knows no protocol of encoders.
package live

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/audience"
	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/ingest"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/proxies"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/timeline"
	"github.com/millrace/millrace/internal/transcode"
)

// Reasons for which a session was ended by the server.
var (
	ErrStopped = ingest.Refuse(ingest.Stopped, "The stream was stopped by its operator (StopStream).")
	ErrTooLong = ingest.Refuse(ingest.LimitExceeded, "The stream has reached its maximum duration; publish again.")
	ErrLost    = errors.New("the session's lease expired: this node had not renewed it for too long, and another one ended the session")
	errMoved   = ingest.Refuse(ingest.TakenOver, "The encoder has moved to another node: this one is about to stop.")
	errPanic   = errors.New("internal error: a panic, which the log has")
)

const (
	dbTimeout = 10 * time.Second // for one change of a session's state
	startTime = 5 * time.Second  // for which callers wait for a session that is going live

	// The connection of an encoder that has sent nothing for quiet may be dead. Another
	// encoder of its channel then waits, for up to answerTime, until that is known.
	quiet      = time.Second
	answerTime = 4 * time.Second

	// maxTries bounds how often an encoder tries again because the session that it found
	// on its channel has ended.
	maxTries = 3
)

// A Machine decides which streams there is room for on this node.
type Machine interface {
	// Admit reserves the resources of one more stream of a channel, until release is
	// called; share bounds its media. The error is for the encoder.
	Admit(channel ivs.Channel) (share hls.Share, release func(), err error)

	// RoomWithout reports whether Admit would have room for a stream of a channel without
	// streams of other channels, which have ended.
	RoomWithout(channel ivs.Channel, ended []ivs.Channel) bool

	// Crowded reports whether streams that have ended must be forgotten to make room for
	// an admitted stream of a channel: they may hold more than they reserved.
	Crowded(channel ivs.Channel) bool
}

// A Hub holds the sessions of this node. Its methods may be called from any
// goroutine.
type Hub struct {
	Store  *store.DB
	Owner  string // this node's name in the leases of its sessions; the same after a restart
	Log    *slog.Logger
	Limits Limits

	Transcode *transcode.Pool // makes renditions; nil makes none

	// Record begins to record a session that has gone live. The function it returns is
	// called when the session has ended; lost says that this node has lost the session
	// and must write nothing more for it. nil records nothing.
	Record func(*Session) (end func(lost bool))

	Machine Machine // decides which streams there is room for; nil has room for all

	// Linger is how long the end of a stream can still be fetched, so that its last
	// viewers see the last seconds and EXT-X-ENDLIST. 0 means 60 s. It ends early if a
	// new stream needs the room and gets enough that way.
	Linger time.Duration

	// Repairs counts repairs of encoders' clocks since the start.
	Repairs timeline.Totals

	// Input counts what encoders sent that could not be carried as it was.
	Input media.InputTotals

	// SessionsDropped counts the sessions that were deleted because their channels
	// had more than store.MaxSessions.
	SessionsDropped atomic.Int64

	// Elsewhere forwards an encoder to the node that has the session of its channel, and
	// returns the error with which that ended. again says that the node no longer has the
	// session: the encoder may begin one here. nil refuses such encoders.
	Elsewhere func(ctx context.Context, channelARN string, src ingest.Source) (again bool, err error)

	// Drain is closed when no more sessions may begin; encoders that support it are then
	// asked to connect again, which leads them to another node. nil never drains.
	Drain <-chan struct{}

	lastHeartbeat atomic.Pointer[time.Time] // when the last one was done; nil before
	accounts      accounts
	pacer         pacer
	sessions      registry
	lingering     lingering
	backlog       backlog
}

// LiveSession returns the live session of a channel, which viewers can join; nil if there
// is none on this node. It waits for a session that is going live, since the caller may
// have read in the database that it is.
func (h *Hub) LiveSession(arn string) *Session {
	if s := h.sessions.liveOn(arn); s != nil {
		return s
	}
	s := h.sessions.openOn(arn)
	if s == nil {
		return nil
	}
	select {
	case s.starting <- struct{}{}:
		<-s.starting
	case <-time.After(startTime):
	}
	return h.sessions.liveOn(arn)
}

// PlayableSession returns the session with that stream id if viewers can see it, live or
// ended; nil if it is unknown, not live yet, or ended longer than Linger ago.
func (h *Hub) PlayableSession(id string) *Session {
	if s := h.sessions.stream(id); s != nil && s.visible() {
		return s
	}
	return nil
}

// Counts returns how many channels are live here and how many viewers they
// have on this node.
func (h *Hub) Counts() (streams, viewers int) {
	now := time.Now()
	live := h.sessions.allLive()
	for _, s := range live {
		viewers += s.Viewers.CountHere(now)
	}
	return len(live), viewers
}

// Publish runs one broadcast, from its stream key to its last event, or src's part of it.
// It is the handler of an ingest server, and returns an *ingest.Refusal if there is a
// message for the encoder.
func (h *Hub) Publish(ctx context.Context, src ingest.Source) error {
	channel, rec, err := h.channelOf(ctx, src)
	if err != nil {
		h.Log.Warn("publish refused", "remote", src.Info().RemoteAddr, "channel", channel.ARN, "reason", err)
		return err
	}
	defer h.reconnectOnDrain(src)()
	ctx, cut := context.WithCancelCause(ctx)
	defer cut(nil)
	for tries := 0; ; tries++ {
		mine := newSeat(src, cut)
		s := h.newSession(channel, src, mine)
		err := h.create(ctx, s, src.Info().StreamKey, rec)
		if err == nil {
			s.log.Info("session created", "name", channel.Name, "remote", src.Info().RemoteAddr, "protocol", src.Info().Protocol)
			return h.runEncoder(ctx, s, src, mine, func() error { return s.run(ctx, src, func() { h.goLive(s) }) })
		}
		if !ivs.Is(err, ivs.Conflict) {
			return h.notCreated(ctx, channel, src, err)
		}
		again, err := h.continueSession(ctx, channel.ARN, src, cut)
		if !again || tries >= maxTries {
			return err
		}
	}
}

// continueSession has src continue the session of its channel, on this node or another, if it
// may. again reports that the session has ended.
func (h *Hub) continueSession(ctx context.Context, arn string, src ingest.Source, cut context.CancelCauseFunc) (again bool, err error) {
	if present := h.OpenSession(arn); present != nil {
		return h.takeOverOrWait(ctx, present, src, cut)
	}
	if h.Elsewhere != nil {
		return h.Elsewhere(ctx, arn, src)
	}
	return false, h.alreadyLive(arn, src)
}

// takeOverOrWait lets src take over from the encoder of present, if it may, or waits for the
// end of that session.
func (h *Hub) takeOverOrWait(ctx context.Context, present *Session, src ingest.Source, cut context.CancelCauseFunc) (again bool, err error) {
	if _, given := priorityOf(src); given && !present.hasLeft() {
		return false, h.takeOver(ctx, present, src, cut)
	}
	if !present.awaitEnd(ctx) {
		return false, h.alreadyLive(present.Channel.ARN, src)
	}
	return true, ingest.Refuse(ingest.Unavailable, "The stream of this channel has just ended; publish again.")
}

func (h *Hub) alreadyLive(arn string, src ingest.Source) error {
	h.Log.Warn("publish refused", "remote", src.Info().RemoteAddr, "channel", arn, "reason", "the channel is live already")
	return ingest.Refuse(ingest.AlreadyLive, "This channel is live already: another encoder is publishing to it, or stopped less than 30 seconds ago.")
}

// Join is Publish for an encoder that connected to another node, which has found that the
// session of its channel is here. It begins no session: if there is none any more it
// returns ingest.ErrNoSession. On a draining node, a session whose encoder was asked to connect
// again ends: the new connection is taken to be that encoder's, which begins a session
// elsewhere.
func (h *Hub) Join(ctx context.Context, src ingest.Source) error {
	channel, _, err := h.channelOf(ctx, src)
	if err != nil {
		return err
	}
	present := h.OpenSession(channel.ARN)
	if present == nil {
		return ingest.ErrNoSession
	}
	if h.Draining() && present.seats.moves() {
		present.Cut(errMoved)
		return present.awaitMove(ctx)
	}
	defer h.reconnectOnDrain(src)()
	ctx, cut := context.WithCancelCause(ctx)
	defer cut(nil)
	again, err := h.takeOverOrWait(ctx, present, src, cut)
	if again {
		return ingest.ErrNoSession
	}
	return err
}

// awaitMove waits for the end of a session that is being cut off.
func (s *Session) awaitMove(ctx context.Context) error {
	select {
	case <-s.done:
		return ingest.ErrNoSession
	case <-time.After(answerTime):
	case <-ctx.Done():
	}
	return ingest.Refuse(ingest.Unavailable, "The stream of this channel is ending; publish again.")
}

// Draining reports whether Drain is closed.
func (h *Hub) Draining() bool {
	select {
	case <-h.Drain:
		return true
	default:
		return false
	}
}

// reconnectOnDrain asks an encoder that can be asked to connect again when the hub drains,
// unless stop is called before.
func (h *Hub) reconnectOnDrain(src ingest.Source) (stop func()) {
	if h.Drain == nil || !src.Info().Reconnects {
		return func() {}
	}
	stopped := make(chan struct{})
	var asking sync.WaitGroup
	asking.Go(func() {
		select {
		case <-h.Drain:
			src.Reconnect()
		case <-stopped:
		}
	})
	return func() {
		close(stopped)
		asking.Wait()
	}
}

// SessionCount returns how many sessions have not ended here.
func (h *Hub) SessionCount() int { return len(h.running()) }

// create writes the new session s and starts its parts, if its channel is free, the
// account and the machine have room for it, and its stream key has not begun too many
// sessions. Otherwise the error is ivs.Conflict, ivs.QuotaExceeded or a refusal.
func (h *Hub) create(ctx context.Context, s *Session, key string, rec *ivs.RecordingConfiguration) error {
	if h.OpenSession(s.Channel.ARN) == nil { // else it is a conflict, or a takeover
		if h.Draining() {
			return ingest.Refuse(ingest.Unavailable, "The server is about to stop and takes no new streams; publish again.")
		}
		if err := h.pacer.check(key, time.Now()); err != nil {
			return err
		}
	}
	if err := h.reserve(ctx, s); err != nil {
		return err
	}
	if err := h.Store.CreateSession(ctx, store.NewSession{
		ChannelARN: s.Channel.ARN, StreamID: s.StreamID, Owner: h.Owner, At: time.Now(), MaxStreams: s.admission.limits.Streams}); err != nil {
		s.held.unreserve()
		return err
	}
	h.pacer.began(key, time.Now())
	s.startRenditions(ctx, h.Transcode, rec)
	s.held.expiry = time.AfterFunc(s.admission.limits.Duration, func() { s.Cut(ErrTooLong) })
	s.Viewers.Shares = h.Shares(s.Channel.ARN)
	h.sessions.begin(s)
	return nil
}

// reserve reserves the resources of the machine that s needs. If the machine has no room,
// streams that have ended are forgotten, the oldest first, provided that this makes
// enough.
func (h *Hub) reserve(ctx context.Context, s *Session) (err error) {
	s.held.unreserve = func() {}
	if h.Machine == nil {
		return nil
	}
	s.Stream.Share, s.held.unreserve, err = h.Machine.Admit(s.Channel)
	if err != nil && h.taken(ctx, s.Channel.ARN) { // a second encoder, or one that takes over, needs nothing of the machine
		return ivs.Errorf(ivs.Conflict, "Channel %s already has a publisher", s.Channel.ARN)
	}
	if err != nil && h.canMakeRoom(s.Channel) {
		for err != nil && h.lingering.forgetOldest() {
			s.Stream.Share, s.held.unreserve, err = h.Machine.Admit(s.Channel)
		}
	}
	if err != nil {
		return ingest.Refuse(ingest.LimitExceeded, "The server cannot take another stream: "+err.Error()+".")
	}
	for h.Machine.Crowded(s.Channel) && h.lingering.forgetOldest() {
	}
	return nil
}

// canMakeRoom reports whether streams that have ended can make room for one of a channel.
func (h *Hub) canMakeRoom(channel ivs.Channel) bool {
	ended := h.lingering.channels()
	return len(ended) > 0 && h.Machine.RoomWithout(channel, ended)
}

// taken reports whether a channel has a session on this node, or is live on
// another one.
func (h *Hub) taken(ctx context.Context, arn string) bool {
	if h.OpenSession(arn) != nil {
		return true
	}
	_, err := h.Store.Stream(ctx, arn)
	return err == nil
}

// notCreated logs why src got no session, and returns the message for it.
func (h *Hub) notCreated(ctx context.Context, channel ivs.Channel, src ingest.Source, err error) error {
	if ivs.Is(err, ivs.QuotaExceeded) {
		limit := h.Limits.OrDefaults().Streams
		h.breachQuota(ctx, store.ScopeOf(channel.ARN), ivs.LimitConcurrentBroadcasts, limit, limit+1, ivs.UnitStreams)
		h.Log.Warn("publish refused", "remote", src.Info().RemoteAddr, "channel", channel.ARN, "reason", "too many streams are live")
		return ingest.Refuse(ingest.LimitExceeded, fmt.Sprintf("%d streams are live in this account and region, which is the limit.", limit))
	}
	if refusal, ok := errors.AsType[*ingest.Refusal](err); ok {
		h.Log.Warn("publish refused", "remote", src.Info().RemoteAddr, "channel", channel.ARN, "reason", refusal.Text)
		return refusal
	}
	h.Log.Error("publish failed", "remote", src.Info().RemoteAddr, "channel", channel.ARN, "error", err)
	return ingest.Refuse(ingest.Unavailable, "The server could not create a stream session; try again.")
}

// runEncoder calls read, which reads the frames of src, and then ends the session,
// unless another encoder has taken src's seat meanwhile. The encoder gets its close
// message at once: renditions may take some seconds to finish.
func (h *Hub) runEncoder(ctx context.Context, s *Session, src ingest.Source, mine *seat, read func() error) (err error) {
	cause, reason := error(errPanic), error(errPanic) // unless read returns
	defer func() {
		if !s.seats.release(mine) {
			return
		}
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			src.End(reason)
		}()
		h.end(context.WithoutCancel(ctx), s, cause)
		<-gone
	}()
	err = read()
	cause, reason = cmp.Or(context.Cause(ctx), err), err
	return err
}

// OpenSession returns the session of a channel that has not ended, even if viewers cannot
// see it yet, or no longer; nil if there is none on this node.
func (h *Hub) OpenSession(arn string) *Session {
	return h.sessions.openOn(arn)
}

// awaitEnd waits for the end of a session that is ending, or whose encoder is quiet
// and may turn out to be gone. It reports whether the end has come.
func (s *Session) awaitEnd(ctx context.Context) bool {
	if !s.hasLeft() && time.Since(s.broadcast.Meter.Arrived()) < quiet {
		return false
	}
	select {
	case <-s.done:
		return true
	case <-time.After(answerTime):
	case <-ctx.Done():
	}
	return false
}

// channelOf finds the channel of src's stream key, and its recording
// configuration, or says why src may not publish to it.
func (h *Hub) channelOf(ctx context.Context, src ingest.Source) (channel ivs.Channel, rec *ivs.RecordingConfiguration, err error) {
	from := src.Info()
	channel, rec, err = h.Store.ChannelByStreamKey(ctx, from.StreamKey, proxies.ClientOf(fmt.Sprint(from.RemoteAddr)).String())
	switch {
	case ivs.Is(err, ivs.NotFound):
		return channel, nil, ingest.Refuse(ingest.UnknownKey, "Unknown stream key: copy it again from the channel.")
	case err != nil:
		h.Log.Error("looking up a stream key failed", "remote", from.RemoteAddr, "error", err)
		return channel, nil, ingest.Refuse(ingest.Unavailable, "The server could not look up the stream key; try again.")
	case !from.Secure && !channel.InsecureIngest:
		return channel, nil, ingest.Refuse(ingest.Insecure, "This channel takes encrypted ingest only, unless insecureIngest is set on it.")
	}
	return channel, rec, nil
}

// Shares returns the shares of client addresses in the viewers of a channel's account and
// region, on this node.
func (h *Hub) Shares(channelARN string) *audience.Shares {
	return h.accounts.sharesOf(store.ScopeOf(channelARN), h.Limits.OrDefaults().PerAddress)
}

// goLive lets viewers see s, and has it recorded.
func (h *Hub) goLive(s *Session) {
	h.sessions.goLive(s)
	if h.Record != nil {
		s.held.recorded = h.Record(s)
	}
}

func (h *Hub) forget(s *Session) {
	h.sessions.forget(s)
	s.Stream.Release()
}

// Stop disconnects the encoder of a channel and returns when the session has ended. If
// this node has no session of the channel, the error is the one that NotHere returns.
func (h *Hub) Stop(ctx context.Context, arn string) error {
	s := h.OpenSession(arn)
	if s == nil {
		return h.NotHere(ctx, arn)
	}
	s.Cut(ErrStopped)
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// NotHere returns the error for a channel without a live session on this node:
// ivs.StreamUnavailable if another node has its stream, which only that node can change,
// or else ivs.NotBroadcasting.
func (h *Hub) NotHere(ctx context.Context, arn string) error {
	stream, err := h.Store.Stream(ctx, arn)
	if err != nil {
		return err
	}
	if h.ownsSession(stream.StreamID) {
		return ivs.NotLive(arn) // its end is being written
	}
	return ivs.Errorf(ivs.StreamUnavailable, "The stream of channel %s is on another server: send this call to the server that its encoder publishes to", arn)
}
