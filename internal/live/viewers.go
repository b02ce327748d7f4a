package live

import (
	"sync"
	"time"
)

const (
	// viewerIdle is how long after its last request a viewer session still
	// counts. A player asks for a playlist at least once a target duration.
	viewerIdle = 12 * time.Second

	// A session behind which another one of the same client has begun was most
	// likely left by a reload: it counts for as long after its last request as it
	// lasted before, within these bounds. If it asks again, they are two viewers
	// behind one address. Players without parts ask once a target duration, at
	// most every 6 s.
	minFollowed = time.Second
	maxFollowed = 7 * time.Second

	// maxViewers bounds the viewer sessions remembered for one stream. Beyond
	// it new ones are served but not counted.
	maxViewers = 1_000_000

	sweepEvery = time.Second
)

// Viewers counts the viewer sessions that watch one stream: those that asked
// for a media playlist, a part or a segment a short while ago. A viewer
// session is one player's; it keeps its number however many connections and
// renditions the player uses. The zero Viewers is ready.
type Viewers struct {
	mu     sync.Mutex
	base   time.Time         // guarded by mu, as is what follows; what times are counted from
	seen   map[uint64]viewer // by session
	newest map[uint64]uint64 // by client, its youngest session
	away   int               // how many of seen do not count
	swept  time.Duration     // when the idle ones were last forgotten
}

// A viewer is what is known of a viewer session. Times are milliseconds, which
// are enough for 49 days.
type viewer struct {
	client      uint64
	first, last uint32
	followed    bool // its client has a younger session, and it has not asked since
	shared      bool // it has: its client is more than one viewer
	away        bool // it does not count unless it asks again
}

// Seen notes a request of the viewer session with that number. The client is
// any number that stands for where the request comes from.
func (v *Viewers) Seen(session, client uint64, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.seen == nil {
		v.base, v.seen, v.newest = now, map[uint64]viewer{}, map[uint64]uint64{}
	}
	at := uint32(now.Sub(v.base) / time.Millisecond)
	w, known := v.seen[session]
	if !known {
		if len(v.seen) >= maxViewers {
			return
		}
		w = viewer{client: client, first: at}
		v.follow(session, client)
	}
	v.touch(session, w, at)
}

// Renew notes a request of a viewer session, if it is known already.
func (v *Viewers) Renew(session uint64, now time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	w, known := v.seen[session]
	if known {
		v.touch(session, w, uint32(now.Sub(v.base)/time.Millisecond))
	}
	return known
}

// touch notes a request of session, which is w.
func (v *Viewers) touch(session uint64, w viewer, at uint32) {
	if w.away {
		v.away--
	}
	w.shared = w.shared || w.followed
	w.last, w.followed, w.away = at, false, false
	v.seen[session] = w
}

// follow makes session the youngest of its client.
func (v *Viewers) follow(session, client uint64) {
	if before, ok := v.newest[client]; ok {
		w := v.seen[before]
		w.followed = !w.shared
		v.seen[before] = w
	}
	v.newest[client] = session
}

// Count returns how many viewer sessions watch, and forgets those that went
// away.
func (v *Viewers) Count(now time.Time) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.seen == nil {
		return 0
	}
	at := now.Sub(v.base)
	if at-v.swept < sweepEvery && at >= v.swept {
		return len(v.seen) - v.away
	}
	v.swept = at
	ms := int64(at / time.Millisecond)
	for session, w := range v.seen {
		switch idle := ms - int64(w.last); {
		case idle > int64(viewerIdle/time.Millisecond):
			delete(v.seen, session)
			if v.newest[w.client] == session {
				delete(v.newest, w.client)
			}
			if w.away {
				v.away--
			}
		case idle > w.idle() && !w.away:
			w.away = true
			v.seen[session] = w
			v.away++
		}
	}
	return len(v.seen) - v.away
}

// idle is how many milliseconds after its last request w still counts.
func (w viewer) idle() int64 {
	if !w.followed {
		return int64(viewerIdle / time.Millisecond)
	}
	return min(max(int64(w.last-w.first), int64(minFollowed/time.Millisecond)), int64(maxFollowed/time.Millisecond))
}
