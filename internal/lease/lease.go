// Package lease judges holders of leases by whether they renew them: a holder is silent for
// as long as the number that it renews stays the same, on the watcher's own monotonic clock.
// So setting a clock, here, there or in the database, makes no holder silent, and a watcher
// that was suspended itself watches for a full lease before it judges again.
package lease

import "time"

// A Watch has what was last seen of a number of holders, each of which has a key. The zero
// Watch has seen none.
type Watch[Seen comparable] struct {
	seen   map[string]sighting[Seen]
	looked time.Time
}

type sighting[Seen comparable] struct {
	what  Seen
	since time.Time // when it was first seen so
}

// Look compares what there is now of all holders with what it saw before. Looks are at most
// apart: if more time has passed since the previous one, the watcher was suspended, and so
// may the holders have been. Then Look forgets what it saw before, and reports that.
func (w *Watch[Seen]) Look(holders map[string]Seen, now time.Time, apart time.Duration) (suspended bool) {
	if suspended = !w.looked.IsZero() && now.Sub(w.looked) > apart; suspended {
		w.Forget()
	}
	w.looked = now
	seen := make(map[string]sighting[Seen], len(holders))
	for key, what := range holders {
		s, known := w.seen[key]
		if !known || s.what != what {
			s = sighting[Seen]{what, now}
		}
		seen[key] = s
	}
	w.seen = seen
	return suspended
}

// Forget has all holders watched from the next Look on, as if none had been seen: renewals
// could not be seen, or not be written.
func (w *Watch[Seen]) Forget() { w.seen = nil }

// Silent returns for how long a holder has been seen unchanged, up to the last Look; 0 for
// one that is not known.
func (w *Watch[Seen]) Silent(key string) time.Duration {
	s, known := w.seen[key]
	if !known {
		return 0
	}
	return w.looked.Sub(s.since)
}
