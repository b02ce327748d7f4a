// Package audience counts and identifies the viewer sessions of streams.
package audience

import (
	"sync"
	"time"
)

const (
	// idleAfter is how long after its last request a viewer session still
	// counts. A player asks for a playlist at least once a target duration.
	idleAfter = 12 * time.Second

	// A session after which another one of the same client has begun was most
	// likely left by a reload: it counts for as long after its last request as it
	// lasted before, within these bounds. If it asks again, they are two viewers
	// behind one address. Players without parts ask once a target duration, at
	// most every 6 s.
	minReplaced = time.Second
	maxReplaced = 7 * time.Second

	// maxSessions bounds the viewer sessions remembered for one stream. Beyond
	// it new ones are served but not counted.
	maxSessions = 1_000_000

	sweepEvery = time.Second
)

// Viewers are the viewer sessions of one stream: those that have been served media and
// have made a request recently. A viewer session belongs to one player; it keeps its
// number across connections and renditions. The zero Viewers is ready to use. Its methods
// may be called from any goroutine.
type Viewers struct {
	Shares *Shares // bounds new viewers by client address; nil means no bound. Set before use

	mu         sync.Mutex
	base       time.Time          // guarded by mu, as is what follows; what times are counted from
	sessions   map[uint64]session // by number
	newest     map[Client]uint64  // the youngest session of each client
	inactive   int                // how many of sessions do not count
	renditions []string           // that sessions asked for; the first is "", for none
	swept      time.Duration      // when the idle ones were last forgotten

	elsewhere  elsewhere
	identities identities
	playback   map[uint64]playbackState // by number: of sessions whose players report
	stalls     uint64                   // that players have reported
}

// A session is the state of a viewer session. Times are milliseconds since the base, and
// wrap after 49 days: differences of them do not.
type session struct {
	client      Client
	first, last uint32
	replaced    bool // its client has a younger session, and it has not asked since
	shared      bool // it has: its client is more than one viewer
	inactive    bool // it does not count unless it asks again

	rendition uint8   // which of Viewers.renditions it asked for last
	class     Class   // where it asks from
	country   [2]byte // as ISO 3166-1 alpha-2; zero where it is unknown
}

// Seen records that the viewer session with that number was served media. It returns
// false for a new session if its client address has used up its share.
func (v *Viewers) Seen(number uint64, client Client, now time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	at := v.sinceLocked(now)
	s, known := v.sessions[number]
	if !known {
		if len(v.sessions) >= maxSessions {
			return true
		}
		if !v.Shares.take(client) {
			return false
		}
		s = session{client: client, first: at}
		v.replaceLocked(number, client)
	}
	v.touchLocked(number, s, at)
	return true
}

// HasRoom reports whether the client's address may have another viewer.
func (v *Viewers) HasRoom(c Client) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.Shares.hasRoom(c)
}

// Renew records a request of a viewer session, if the session is known.
func (v *Viewers) Renew(number uint64, now time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	s, known := v.sessions[number]
	if known {
		v.touchLocked(number, s, v.sinceLocked(now))
	}
	return known
}

// sinceLocked is a time in milliseconds since the base, which is the first one asked
// for.
func (v *Viewers) sinceLocked(now time.Time) uint32 {
	if v.base.IsZero() {
		v.base, v.sessions, v.newest = now, map[uint64]session{}, map[Client]uint64{}
	}
	return uint32(now.Sub(v.base) / time.Millisecond)
}

// touchLocked notes a request of s.
func (v *Viewers) touchLocked(number uint64, s session, at uint32) {
	if s.inactive {
		v.inactive--
	}
	s.shared = s.shared || s.replaced
	s.last, s.replaced, s.inactive = at, false, false
	v.sessions[number] = s
}

// replaceLocked makes a session the youngest of its client.
func (v *Viewers) replaceLocked(number uint64, client Client) {
	if before, ok := v.newest[client]; ok {
		s := v.sessions[before]
		s.replaced = !s.shared
		v.sessions[before] = s
	}
	v.newest[client] = number
}

// Count returns how many viewer sessions are watching, on all nodes. It drops idle
// sessions first, at most once every sweepEvery.
func (v *Viewers) Count(now time.Time) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.countHereLocked(now) + v.elsewhere.count(now)
}

// CountHere is Count for this node alone.
func (v *Viewers) CountHere(now time.Time) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.countHereLocked(now)
}

func (v *Viewers) countHereLocked(now time.Time) int {
	if v.base.IsZero() {
		return 0
	}
	at := now.Sub(v.base)
	if at-v.swept < sweepEvery && at >= v.swept {
		return len(v.sessions) - v.inactive
	}
	v.swept = at
	ms := v.sinceLocked(now)
	for number, s := range v.sessions {
		switch idle := int64(int32(ms - s.last)); { // below 0 where a request came meanwhile
		case idle > int64(idleAfter/time.Millisecond):
			v.forgetLocked(number, s)
		case idle > s.countsFor() && !s.inactive:
			s.inactive = true
			v.sessions[number] = s
			v.inactive++ // its share of the address stays taken: it may come back
		}
	}
	return len(v.sessions) - v.inactive
}

func (v *Viewers) forgetLocked(number uint64, s session) {
	delete(v.sessions, number)
	delete(v.playback, number)
	v.identities.remove(number)
	if v.newest[s.client] == number {
		delete(v.newest, s.client)
	}
	if s.inactive {
		v.inactive--
	}
	v.Shares.release(s.client)
}

// Close drops all sessions after the end of the stream. Sessions that still make requests
// take up no memory.
func (v *Viewers) Close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for number, s := range v.sessions {
		v.forgetLocked(number, s)
	}
	v.Shares = nil
}

// countsFor is how many milliseconds after its last request s still counts.
func (s session) countsFor() int64 {
	if !s.replaced {
		return int64(idleAfter / time.Millisecond)
	}
	return min(max(int64(s.last-s.first), int64(minReplaced/time.Millisecond)), int64(maxReplaced/time.Millisecond))
}
