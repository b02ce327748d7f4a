package live

import (
	"maps"
	"slices"
	"sync"

	"github.com/millrace/millrace/internal/store"
)

// A registry finds the sessions of a node. The zero value has none.
type registry struct {
	mu      sync.Mutex
	open    map[string]*Session // guarded by mu; by channel ARN, the newest from Session Created to Stream End
	live    map[string]*Session // guarded by mu; by channel ARN, from Stream Start until its encoder has left
	streams map[string]*Session // guarded by mu; by stream id, from Session Created to Linger after Stream End
}

// begin adds a session.
func (r *registry) begin(s *Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.streams == nil {
		r.open, r.live, r.streams = map[string]*Session{}, map[string]*Session{}, map[string]*Session{}
	}
	r.open[s.Channel.ARN], r.streams[s.StreamID] = s, s
}

// goLive makes s the session that is live on its channel.
func (r *registry) goLive(s *Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.live[s.Channel.ARN] = s
}

// left removes s from the live sessions.
func (r *registry) left(s *Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.live[s.Channel.ARN] == s {
		delete(r.live, s.Channel.ARN)
	}
}

// end removes s from the open sessions, and closes s.done.
func (r *registry) end(s *Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open[s.Channel.ARN] == s {
		delete(r.open, s.Channel.ARN)
	}
	close(s.done)
}

// forget removes s.
func (r *registry) forget(s *Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.streams, s.StreamID)
}

func (r *registry) openOn(channelARN string) *Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.open[channelARN]
}

func (r *registry) liveOn(channelARN string) *Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.live[channelARN]
}

func (r *registry) stream(id string) *Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.streams[id]
}

// allLive are the sessions that are live.
func (r *registry) allLive() []*Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Values(r.live))
}

// all are the sessions that are not forgotten.
func (r *registry) all() []*Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Values(r.streams))
}

// A backlog holds rows that the database has not accepted yet. The zero value is empty.
type backlog struct {
	mu      sync.Mutex
	metrics []store.Metrics    // guarded by mu; oldest first
	ends    map[string]unended // guarded by mu; by stream id
}

// unended is a session that has ended on this node, but not yet in the database.
type unended struct {
	session *Session
	end     store.End
}

// takeMetrics removes the measurements.
func (b *backlog) takeMetrics() []store.Metrics {
	b.mu.Lock()
	defer b.mu.Unlock()
	taken := b.metrics
	b.metrics = nil
	return taken
}

// addMetrics keeps measurements, which are older than those that have been added since
// they were taken. The oldest are given up beyond maxUnsaved.
func (b *backlog) addMetrics(older []store.Metrics) {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := append(older, b.metrics...)
	b.metrics = all[max(0, len(all)-maxUnsaved):]
}

func (b *backlog) addEnd(s *Session, end store.End) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ends == nil {
		b.ends = map[string]unended{}
	}
	b.ends[s.StreamID] = unended{s, end}
}

func (b *backlog) allEnds() []unended {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Collect(maps.Values(b.ends))
}

func (b *backlog) hasEnd(streamID string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.ends[streamID]
	return ok
}

func (b *backlog) removeEnd(streamID string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.ends, streamID)
}
