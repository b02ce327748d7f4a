package cluster

import (
	"time"

	"github.com/millrace/millrace/internal/store"
)

const (
	// watchEvery is how often a member looks at the others.
	watchEvery = memberEvery / 2

	// leaseTime is how long a member may be silent. Its sessions are ended after
	// that, so a session without an owner lasts for leaseTime, the time to the next
	// look, and that to end it: less than 5 s.
	leaseTime = 3500 * time.Millisecond

	// slowReport is how long a report may take before the database is taken to have
	// been unreachable.
	slowReport = time.Second

	// recovery is how long the other members get in addition once the database is back: this
	// node may have kept its connections, and they may have to make new ones, all at
	// once and on a busy machine. A session's own lease is as long.
	recovery = 15 * time.Second
)

// A watch judges the other members: one has died when its number of heartbeats has
// stayed the same for leaseTime, on this node's monotonic clock, while the database
// took this node's. So setting a clock makes no node count as dead, and a node that was
// suspended itself, or whose database accepted no writes from any node, watches for a full lease before it judges again. The zero watch is ready.
type watch struct {
	seen   map[string]sighting // by name
	looked time.Time
	grace  time.Time // before it no node is judged
}

type sighting struct {
	heartbeats int64
	since      time.Time // when that number was first seen
	silent     bool      // for longer than the lease
}

// reset forgets what was seen: the database was unreachable.
func (w *watch) reset(now time.Time) {
	w.seen, w.grace = nil, now.Add(recovery)
}

// look returns those of the members, which were read at that time, that have died.
// It returns one again after each further leaseTime.
func (w *watch) look(members []store.Member, self string, now time.Time) (dead []store.Member) {
	if now.Sub(w.looked) > 4*watchEvery && !w.looked.IsZero() {
		w.reset(now) // this process was suspended
	}
	w.looked = now
	seen := make(map[string]sighting, len(members))
	for _, m := range members {
		if m.Name == self {
			continue
		}
		s, known := w.seen[m.Name]
		if !known || s.heartbeats != m.Heartbeats {
			s = sighting{heartbeats: m.Heartbeats, since: now}
		}
		if now.Sub(s.since) >= leaseTime && !now.Before(w.grace) {
			s.since, s.silent = now, true
			dead = append(dead, m)
		}
		seen[m.Name] = s
	}
	w.seen = seen
	return dead
}

// silent reports whether a member has died, as far as this node knows.
func (w *watch) silent(name string) bool { return w.seen[name].silent }
