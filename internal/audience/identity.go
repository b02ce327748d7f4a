package audience

import "time"

// An Identity is who watches, where a playback token says so.
type Identity struct {
	ViewerID string // not empty
	Version  int64  // of the viewer session: a revocation ends those up to a version
}

// identified is a viewer session that has an Identity.
type identified struct {
	who      Identity
	end      chan struct{} // closed when the session is ended
	ended    bool
	requests int    // that are being answered
	last     uint32 // when the last of them ended, or began
}

// Enter begins a request of the viewer session with that number, which belongs
// to who. It is not ok if the session has been ended, or if there are too many.
// Otherwise the request must be abandoned when ended is closed, and the caller
// calls Leave when it has been answered. Enter does not count the session: Seen
// does.
func (v *Viewers) Enter(number uint64, who Identity, now time.Time) (ended <-chan struct{}, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	at := v.since(now)
	s := v.identified[number]
	if s == nil {
		if len(v.identified) >= maxSessions {
			return nil, false
		}
		s = &identified{who: who, end: make(chan struct{})}
		v.addIdentified(number, s)
	}
	s.last = at
	if s.ended {
		return nil, false
	}
	s.requests++
	return s.end, true
}

// Leave ends a request that Enter began.
func (v *Viewers) Leave(number uint64, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.identified[number]
	s.requests--
	s.last = v.since(now)
}

// End ends the sessions of a viewer up to a version: their requests are
// abandoned, and they count no more. It returns how many they are. A session
// that was ended may be forgotten once it is idle: that a later one is refused
// is for the caller of Enter, who knows what is revoked.
func (v *Viewers) End(viewerID string, version int64) (ended int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for number := range v.byViewer[viewerID] {
		s := v.identified[number]
		if s.ended || s.who.Version > version {
			continue
		}
		s.ended = true
		close(s.end)
		ended++
		if counted, ok := v.sessions[number]; ok {
			v.forget(number, counted)
		}
	}
	return ended
}

func (v *Viewers) addIdentified(number uint64, s *identified) {
	if v.identified == nil {
		v.identified, v.byViewer = map[uint64]*identified{}, map[string]map[uint64]struct{}{}
	}
	v.identified[number] = s
	numbers := v.byViewer[s.who.ViewerID]
	if numbers == nil {
		numbers = map[uint64]struct{}{}
		v.byViewer[s.who.ViewerID] = numbers
	}
	numbers[number] = struct{}{}
}

func (v *Viewers) forgetIdentified(number uint64, s *identified) {
	delete(v.identified, number)
	numbers := v.byViewer[s.who.ViewerID]
	delete(numbers, number)
	if len(numbers) == 0 {
		delete(v.byViewer, s.who.ViewerID)
	}
}
