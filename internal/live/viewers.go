package live

import (
	"sync"
	"time"
)

const (
	// viewerIdle is how long after its last request a viewer session still
	// counts. A player asks for a playlist at least once a target duration.
	viewerIdle = 12 * time.Second

	// maxViewers bounds the viewer sessions remembered for one stream. Beyond
	// it new ones are served but not counted.
	maxViewers = 1_000_000
)

// Viewers counts the viewer sessions that watch one stream: those that asked
// for a media playlist, a part or a segment a short while ago. A viewer
// session is one player's; it keeps its number however many connections and
// renditions the player uses. The zero Viewers is ready.
type Viewers struct {
	mu    sync.Mutex
	seen  map[uint64]int64 // guarded by mu; Unix seconds of the last request
	swept int64            // guarded by mu; Unix seconds
}

// Seen notes a request of the viewer session with that number.
func (v *Viewers) Seen(session uint64, now time.Time) {
	at := now.Unix()
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.seen == nil {
		v.seen = map[uint64]int64{}
	}
	if _, known := v.seen[session]; known || len(v.seen) < maxViewers {
		v.seen[session] = at
	}
}

// Count returns how many viewer sessions there are, and forgets those that
// went away.
func (v *Viewers) Count(now time.Time) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	if at := now.Unix(); at != v.swept {
		v.swept = at
		for session, last := range v.seen {
			if at-last > int64(viewerIdle/time.Second) {
				delete(v.seen, session)
			}
		}
	}
	return len(v.seen)
}
