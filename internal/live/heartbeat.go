package live

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/lease"
	"github.com/millrace/millrace/internal/meter"
	"github.com/millrace/millrace/internal/store"
)

const (
	heartbeatEvery = time.Second // how often rows are brought up to date
	cleanupEvery   = time.Hour
	cleanupTime    = 10 * time.Minute // limit for one cleanup; the next one does the rest

	// maxUnsaved bounds the blocks of measurements that wait for the database.
	// The oldest are given up.
	maxUnsaved = 20_000
)

// Run judges the health of this node's sessions every second until ctx is done, and keeps
// the database up to date: health, viewer counts and leases every second, the end of
// sessions whose owner died, the end of old history. A database that hangs delays the
// writes, not the judgement.
func (h *Hub) Run(ctx context.Context) error {
	due := make(chan struct{}, 1) // holds one while a heartbeat is to be written
	var writers sync.WaitGroup
	defer writers.Wait()
	writers.Go(func() { (&heartbeat{Hub: h}).run(ctx, due) })
	writers.Go(func() { h.cleanUp(ctx) })
	tick := time.NewTicker(heartbeatEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			now := time.Now() // the tick may be old: the process was suspended
			for _, s := range h.running() {
				s.judge(now)
			}
			select {
			case due <- struct{}{}:
			default: // the writer is late, and writes this heartbeat together with the one that is due
			}
		}
	}
}

// A heartbeat is the state of the goroutine that writes the rows of this node's sessions,
// kept from one heartbeat to the next.
type heartbeat struct {
	*Hub
	renewed time.Time                     // when all leases were last renewed
	leases  lease.Watch[int64]            // leases of other nodes' sessions
	written map[string]store.SessionState // what the rows say; by stream id
	others  store.ScopeCount              // views of the streams of other nodes
}

// run writes a heartbeat each time that one is due.
func (h *heartbeat) run(ctx context.Context, due <-chan struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-due:
			now := time.Now() // it may be late: the database was slow
			all := now.Sub(h.renewed) >= renewEvery
			if h.write(ctx, now, all) && all {
				h.renewed = now
			}
			if all {
				h.endExpired(ctx, &h.leases)
			}
			done := time.Now()
			h.lastHeartbeat.Store(&done)
		}
	}
}

// stalledAfter is how long a heartbeat may take, whether the database answers or not.
const stalledAfter = 30 * time.Second

// Stalled returns an error if the heartbeats of this node's streams have stopped, which
// is a bug of the program. It blocks while the lock of a stream is held.
func (h *Hub) Stalled() error {
	for _, s := range h.running() {
		s.Stream.Ready()
	}
	if last := h.lastHeartbeat.Load(); last != nil && time.Since(*last) > stalledAfter {
		return fmt.Errorf("heartbeats of streams are stuck: the last one was done %v ago", time.Since(*last).Round(time.Second))
	}
	return nil
}

// write writes what has changed of the sessions since the last heartbeat; with all, it
// renews every lease. Leases come first, so that nothing else delays them. It reports
// false if they were not renewed.
func (h *heartbeat) write(ctx context.Context, now time.Time, all bool) (ok bool) {
	ctx, cancel := context.WithTimeout(ctx, dbTimeout)
	defer cancel()
	var states []store.SessionState
	written := map[string]store.SessionState{}
	running := h.running()
	for _, s := range running {
		b := store.SessionState{StreamID: s.StreamID, Health: s.health(), ViewerCount: s.Viewers.Count(now)}
		if all || b != h.written[s.StreamID] {
			states = append(states, b)
		}
		written[s.StreamID] = b
	}
	if ok = h.writeStates(ctx, now, states); ok {
		h.written = written
	}
	views := h.othersViews(ctx, all)
	var changes []change
	var blocks []store.Metrics
	for _, s := range running {
		if pending := s.journal.tryTake(); !pending.empty() {
			changes = append(changes, change{s, pending})
		}
		views[store.ScopeOf(s.Channel.ARN)] += written[s.StreamID].ViewerCount
		blocks = append(blocks, s.measurements(now, false)...)
	}
	h.accounts.setViews(views)
	h.writeChanges(ctx, changes)
	h.writeEnds(ctx)
	h.writeMetrics(ctx, blocks)
	return ok
}

// running are the sessions that have not ended.
func (h *Hub) running() (all []*Session) {
	for _, s := range h.sessions.all() {
		if !s.ended() {
			all = append(all, s)
		}
	}
	return all
}

// othersViews returns the views of the streams of other nodes. It reads them from the
// database if look is set; otherwise, or if that fails, it returns those of the last
// look.
func (h *heartbeat) othersViews(ctx context.Context, look bool) map[store.Scope]int {
	if look {
		others, err := h.Store.Views(ctx, h.Owner)
		switch {
		case err == nil:
			h.others = others
		case ctx.Err() == nil:
			h.Log.Error("counting the views of other nodes failed: those counted before stay in use", "error", err)
		}
	}
	views := make(map[store.Scope]int, len(h.others)+1)
	maps.Copy(views, h.others)
	return views
}

// A change holds the entries that were taken from the journal of a session.
type change struct {
	session *Session
	pending entries
}

// writeChanges writes what was pending of sessions, with their health. What the
// database does not take goes back into the journals.
func (h *Hub) writeChanges(ctx context.Context, changes []change) {
	if len(changes) == 0 {
		return
	}
	rows := make([]store.SessionChange, len(changes))
	for i, c := range changes {
		rows[i] = store.SessionChange{StreamID: c.session.StreamID, Health: c.session.health(), Events: c.pending.events, Ingest: c.pending.ingest}
	}
	err := h.Store.ChangeSessions(ctx, rows)
	if err != nil {
		h.Log.Error("writing changes of sessions failed", "sessions", len(changes), "error", err)
	}
	for _, c := range changes {
		if err == nil {
			c.pending = entries{}
		}
		c.session.journal.putBack(c.pending)
	}
}

func (h *Hub) writeStates(ctx context.Context, now time.Time, states []store.SessionState) (ok bool) {
	if len(states) == 0 {
		return true
	}
	lost, err := h.Store.Heartbeat(ctx, h.Owner, now, states)
	if err != nil && ctx.Err() == nil {
		h.Log.Error("writing health and viewer counts failed", "sessions", len(states), "error", err)
	}
	for _, id := range lost {
		if s := h.sessions.stream(id); s != nil {
			s.Cut(ErrLost)
		}
	}
	return err == nil
}

// writeMetrics writes measurements, and those that the database did not take before.
func (h *Hub) writeMetrics(ctx context.Context, blocks []store.Metrics) {
	blocks = append(h.backlog.takeMetrics(), blocks...)
	if len(blocks) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, dbTimeout)
	defer cancel()
	if err := h.Store.PutMetrics(ctx, blocks); err != nil {
		h.Log.Error("writing measurements failed", "blocks", len(blocks), "error", err)
		h.backlog.addMetrics(blocks)
	}
}

// cleanUp deletes old history immediately and then every hour, independently of the
// heartbeat: deleting a lot, or waiting for a lock, may take longer than a lease lasts.
func (h *Hub) cleanUp(ctx context.Context) {
	tick := time.NewTicker(cleanupEvery)
	defer tick.Stop()
	for {
		limited, cancel := context.WithTimeout(ctx, cleanupTime)
		err := h.deleteOld(limited, time.Now())
		cancel()
		if err != nil && ctx.Err() == nil {
			h.Log.Error("deleting old sessions and measurements failed", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// deleteOld deletes what is older than it is kept, or more than is kept.
func (h *Hub) deleteOld(ctx context.Context, now time.Time) error {
	n, err := h.Store.Cleanup(ctx, now)
	if n > 0 {
		h.Log.Info("deleted old sessions", "sessions", n, "older_than", store.Retention)
	}
	if err == nil {
		err = h.trimHistory(ctx)
	}
	for _, period := range []int64{meter.Second, meter.Minute} {
		if err == nil {
			_, err = h.Store.DeleteMetrics(ctx, period, now.Add(-meter.Kept(period)))
		}
	}
	return err
}

func (h *Hub) trimHistory(ctx context.Context) error {
	dropped, err := h.Store.TrimHistory(ctx, store.MaxSessions)
	for arn, n := range dropped {
		h.SessionsDropped.Add(n)
		h.Log.Warn("dropped the oldest sessions of a channel that has too many", "channel", arn, "sessions", n, "kept", store.MaxSessions)
	}
	return err
}

// healthNames are the names of the API.
var healthNames = [...]string{meter.Unknown: ivs.HealthUnknown, meter.Healthy: ivs.HealthHealthy, meter.Starving: ivs.HealthStarving}

// judge looks once a second whether the session is in time.
func (s *Session) judge(now time.Time) {
	if s.hasLeft() || !s.visible() {
		return
	}
	health, changes := s.broadcast.Meter.Judge(now)
	began := time.Unix(0, s.started.Load())
	for _, c := range changes {
		name := ivs.StarvationEnd
		if c.Health == meter.Starving {
			name = ivs.StarvationStart
		}
		at := c.At
		if at.Before(began) {
			at = began
		}
		s.log.Warn(name, "since", now.Sub(at).Round(100*time.Millisecond))
		s.addEvents(store.Event{Type: ivs.EventStreamHealth, Name: name, At: at})
	}
	s.judged.Store(int32(health))
}

// health returns the session's health by its name in the API. Any goroutine may call it.
func (s *Session) health() string { return healthNames[s.judged.Load()] }

// measurements returns the blocks of figures that have something new.
func (s *Session) measurements(now time.Time, last bool) (rows []store.Metrics) {
	stats := s.broadcast.Stats()
	playback := s.Viewers.Playback(now)
	totals := meter.Totals{
		Views: s.Viewers.Count(now), Reporting: playback.Reporting, Stalled: playback.Stalled, Startup: playback.Startup.Duration(),
		Repairs: s.broadcast.Repairs().Sum(), Dropped: stats.Dropped,
		Parts: stats.Parts, PartBytes: stats.PartBytes, PartDelay: stats.PartDelay,
		Segments: stats.Segments, SegmentSize: stats.SegmentBytes, SegmentDelay: stats.SegmentDelay,
	}
	for _, b := range s.broadcast.Meter.Tick(now, totals, last) {
		rows = append(rows, store.Metrics{StreamID: s.StreamID, Period: b.Period, Start: b.Start, Data: b.Data})
	}
	return rows
}
