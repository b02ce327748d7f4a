// Package live runs broadcasts: one Session from the first byte of an encoder
// to the last event in the history. It is the only room that knows both
// vocabularies, the pictures' (media) and the API's (ivs).
package live

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/rtmp"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/timeline"
)

// Why a session was ended, when it was not the encoder that left.
var (
	ErrStopped = errors.New("stopped by StopStream")
	errPanic   = errors.New("an error in the program")
	ErrLost    = errors.New("the session's lease was lost: the database had not heard from this node for too long")
)

const (
	beat         = time.Second      // how often rows are brought up to date
	leaseTime    = 15 * time.Second // a session that has not been renewed for so long has lost its owner
	renewal      = 5 * time.Second  // how often a lease is renewed although nothing changed
	cleanupEvery = time.Hour
	dbTimeout    = 10 * time.Second // for one change of a session's state
)

// A Hub holds the sessions of this node. Its methods may be called from any
// goroutine.
type Hub struct {
	Store *store.DB
	Owner string // names this node in the leases of its sessions; the same after a restart
	Log   *slog.Logger

	// Linger is how long the end of a stream can still be fetched, so that
	// its last viewers see the last seconds and EXT-X-ENDLIST. 0 means 60 s.
	Linger time.Duration

	// Repairs counts what was mended of encoders' clocks since the start.
	Repairs timeline.Totals

	mu      sync.Mutex
	live    map[string]*Session // guarded by mu; by channel ARN, from Stream Start to Stream End
	streams map[string]*Session // guarded by mu; by stream id, from Session Created to Linger after Stream End
}

// Channel returns the session that is live on a channel, nil if there is none.
func (h *Hub) Channel(arn string) *Session {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.live[arn]
}

// Stream returns the session with that stream id, nil if it is unknown, not
// yet live, or ended longer than Linger ago.
func (h *Hub) Stream(id string) *Session {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s := h.streams[id]; s != nil && s.visible() {
		return s
	}
	return nil
}

// Counts returns how many channels are live here and how many viewers they
// have.
func (h *Hub) Counts() (streams, viewers int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	for _, s := range h.live {
		viewers += s.Viewers.Count(now)
	}
	return len(h.live), viewers
}

// Publish runs one broadcast, from its stream key to its last event. It is
// the handler of an rtmp.Server and returns a *rtmp.Refusal where the encoder
// can be told what is wrong.
func (h *Hub) Publish(ctx context.Context, p *rtmp.Publisher) error {
	channel, err := h.admit(ctx, p)
	if err != nil {
		h.Log.Warn("publish refused", "remote", p.RemoteAddr, "channel", channel.ARN, "reason", err)
		return err
	}
	ctx, cut := context.WithCancelCause(ctx)
	defer cut(nil)
	s := newSession(channel, p, cut)
	s.log = h.Log.With("channel", channel.ARN, "stream", s.StreamID)
	s.store = h.Store
	s.clock.Totals = &h.Repairs
	err = h.Store.CreateSession(ctx, store.NewSession{ChannelARN: channel.ARN, StreamID: s.StreamID, Owner: h.Owner, At: time.Now()})
	if ivs.Is(err, ivs.Conflict) {
		h.Log.Warn("publish refused", "remote", p.RemoteAddr, "channel", channel.ARN, "reason", "the channel is live already")
		return refuse("NetStream.Publish.BadName", "This channel is live already: another encoder is publishing to it, or stopped less than 30 seconds ago.")
	}
	if err != nil {
		h.Log.Error("publish failed", "remote", p.RemoteAddr, "channel", channel.ARN, "error", err)
		return refuse("NetStream.Publish.Denied", "The server could not create a stream session; try again.")
	}
	s.log.Info("session created", "name", channel.Name, "remote", p.RemoteAddr, "tls", p.TLS)
	h.add(s)
	cause := errPanic // unless run returns
	defer func() { h.end(context.WithoutCancel(ctx), s, cause) }()
	err = s.run(ctx, p, func() { h.publish(s) })
	cause = cmp.Or(context.Cause(ctx), err)
	return err
}

// admit finds the channel that p's stream key opens, or says why it does not.
func (h *Hub) admit(ctx context.Context, p *rtmp.Publisher) (ivs.Channel, error) {
	if p.App != "app" {
		return ivs.Channel{}, refuse("NetConnection.Connect.InvalidApp", fmt.Sprintf("Unknown application %q: the address ends in /app/<stream key>.", p.App))
	}
	channel, err := h.Store.ChannelByStreamKey(ctx, p.StreamKey)
	switch {
	case ivs.Is(err, ivs.NotFound):
		return channel, refuse("NetStream.Publish.BadName", "Unknown stream key: copy it again from the channel.")
	case err != nil:
		h.Log.Error("looking up a stream key failed", "remote", p.RemoteAddr, "error", err)
		return channel, refuse("NetStream.Publish.Denied", "The server could not look up the stream key; try again.")
	case !p.TLS && !channel.InsecureIngest:
		return channel, refuse("NetStream.Publish.Denied", "This channel takes RTMPS only: use rtmps://, or set insecureIngest on the channel.")
	}
	return channel, nil
}

func refuse(code, description string) error {
	return &rtmp.Refusal{Code: code, Description: description}
}

func (h *Hub) add(s *Session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.streams == nil {
		h.live, h.streams = map[string]*Session{}, map[string]*Session{}
	}
	h.streams[s.StreamID] = s
}

// publish lets viewers see s.
func (h *Hub) publish(s *Session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.live[s.Channel.ARN] = s
}

// end closes a session whose encoder has gone for the given cause (nil: it
// left in good order) and writes its last events.
func (h *Hub) end(ctx context.Context, s *Session, cause error) {
	h.mu.Lock()
	if h.live[s.Channel.ARN] == s {
		delete(h.live, s.Channel.ARN)
	}
	h.mu.Unlock()
	s.source.Close()
	s.finish(ctx, cause)
	close(s.done)

	linger := cmp.Or(h.Linger, time.Minute)
	if !s.visible() {
		linger = 0
	}
	time.AfterFunc(linger, func() { h.forget(s) })
}

func (h *Hub) forget(s *Session) {
	h.mu.Lock()
	delete(h.streams, s.StreamID)
	h.mu.Unlock()
	s.Stream.Release()
}

// Stop disconnects the encoder of a channel and returns when the session has
// ended. It returns an ivs.NotBroadcasting error if the channel is not live.
func (h *Hub) Stop(ctx context.Context, arn string) error {
	h.mu.Lock()
	var s *Session
	for _, open := range h.streams {
		if open.Channel.ARN == arn && !open.ended() {
			s = open
		}
	}
	h.mu.Unlock()
	if s == nil {
		return ivs.Errorf(ivs.NotBroadcasting, "The channel is not currently broadcasting")
	}
	s.cut(ErrStopped)
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Run keeps the rows of this node's sessions true until ctx is done: their
// health and viewer counts every second, their leases, the end of sessions
// whose owner died, the end of old history.
func (h *Hub) Run(ctx context.Context) error {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	var renewed, cleaned time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			all := now.Sub(renewed) >= renewal
			if all {
				renewed = now
				if err := h.endOrphans(ctx, ""); err != nil && ctx.Err() == nil {
					h.Log.Error("ending sessions whose owner died failed", "error", err)
				}
			}
			h.heartbeat(ctx, now, all)
			if now.Sub(cleaned) >= cleanupEvery {
				cleaned = now
				h.cleanup(ctx, now)
			}
		}
	}
}

// Recover ends the sessions that this node left open when it crashed, with
// their events. It is called once, before the first Publish.
func (h *Hub) Recover(ctx context.Context) error { return h.endOrphans(ctx, h.Owner) }

// endOrphans ends the sessions of owner, if it is not "", and those of every
// node whose lease ran out.
func (h *Hub) endOrphans(ctx context.Context, owner string) error {
	ended, err := h.Store.EndOrphans(ctx, owner, time.Now().Add(-leaseTime))
	for _, id := range ended {
		h.Log.Warn("session ended that a crash had left open", "stream", id)
	}
	return err
}

// heartbeat writes what changed since the last time; with all, every session.
func (h *Hub) heartbeat(ctx context.Context, now time.Time, all bool) {
	var beats []store.Beat
	h.mu.Lock()
	for _, s := range h.streams {
		if b, changed := s.beat(now); !s.ended() && (changed || all) {
			beats = append(beats, b)
		}
	}
	h.mu.Unlock()
	if len(beats) == 0 {
		return
	}
	lost, err := h.Store.Heartbeat(ctx, h.Owner, now, beats)
	if err != nil && ctx.Err() == nil {
		h.Log.Error("writing health and viewer counts failed", "sessions", len(beats), "error", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, id := range lost {
		if s := h.streams[id]; s != nil {
			s.cut(ErrLost)
		}
	}
}

func (h *Hub) cleanup(ctx context.Context, now time.Time) {
	n, err := h.Store.Cleanup(ctx, now)
	if err != nil && ctx.Err() == nil {
		h.Log.Error("deleting old sessions failed", "error", err)
	}
	if n > 0 {
		h.Log.Info("deleted old sessions", "sessions", n, "older_than", store.Retention)
	}
}
