package cluster

import (
	"time"

	"github.com/millrace/millrace/internal/lease"
	"github.com/millrace/millrace/internal/store"
)

const (
	// watchEvery is how often a member looks at the others.
	watchEvery = memberEvery / 2

	// memberLease is how long a member may be silent. Its sessions are ended after
	// that, so a session without an owner lasts for memberLease, the time to the next
	// look, and that to end it: less than 5 s.
	memberLease = 3500 * time.Millisecond

	// slowReport is how long a report may take before the database is taken to have
	// been unreachable.
	slowReport = time.Second

	// recovery is how long the other members get in addition once the database is back: this
	// node may have kept its connections, and they may have to make new ones, all at
	// once and on a busy machine. A session's own lease is as long.
	recovery = 15 * time.Second
)

// A watch judges the other members: one has died when its number of heartbeats has
// stayed the same for memberLease while the database took this node's. The zero watch is
// ready.
type watch struct {
	members lease.Watch[int64]   // by name
	died    map[string]time.Time // by name; when look last returned a member that is still silent
	grace   time.Time            // before it no node is judged
}

// reset forgets what was seen: the database was unreachable.
func (w *watch) reset(now time.Time) {
	w.members.Forget()
	w.died, w.grace = nil, now.Add(recovery)
}

// look returns those of the members, which were read at that time, that have died.
// It returns one again after each further memberLease.
func (w *watch) look(members []store.Member, self string, now time.Time) (dead []store.Member) {
	heartbeats := make(map[string]int64, len(members))
	for _, m := range members {
		if m.Name != self {
			heartbeats[m.Name] = m.Heartbeats
		}
	}
	if w.members.Look(heartbeats, now, 4*watchEvery) {
		w.died, w.grace = nil, now.Add(recovery) // this process was suspended
	}
	died := map[string]time.Time{}
	for _, m := range members {
		silent := w.members.Silent(m.Name)
		at, before := w.died[m.Name]
		switch {
		case silent < memberLease:
			continue
		case !now.Before(w.grace) && (!before || now.Sub(at) >= memberLease):
			at = now
			dead = append(dead, m)
		case !before:
			continue
		}
		died[m.Name] = at
	}
	w.died = died
	return dead
}

// silent reports whether a member has died, as far as this node knows.
func (w *watch) silent(name string) bool { return !w.died[name].IsZero() }
