package live

import (
	"slices"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/ivs"
)

// lingering are sessions that have ended, whose last seconds viewers can still fetch.
type lingering struct {
	mu   sync.Mutex
	list []*endedSession // guarded by mu; the one that ended first is the first
}

type endedSession struct {
	channel ivs.Channel
	forget  func()
	timer   *time.Timer
}

// add calls forget, of a session of a channel, after some time, or sooner.
func (l *lingering) add(after time.Duration, channel ivs.Channel, forget func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := &endedSession{channel: channel, forget: forget}
	l.list = append(l.list, e)
	e.timer = time.AfterFunc(after, func() {
		if l.remove(e) {
			forget()
		}
	})
}

// remove reports whether e was still there.
func (l *lingering) remove(e *endedSession) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.Index(l.list, e)
	if i < 0 {
		return false
	}
	l.list = slices.Delete(l.list, i, i+1)
	return true
}

// channels are those of all of them.
func (l *lingering) channels() (list []ivs.Channel) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.list {
		list = append(list, e.channel)
	}
	return list
}

// forgetOldest forgets the session that ended first, and reports whether there was one.
func (l *lingering) forgetOldest() bool {
	l.mu.Lock()
	if len(l.list) == 0 {
		l.mu.Unlock()
		return false
	}
	e := l.list[0]
	l.list = slices.Delete(l.list, 0, 1)
	l.mu.Unlock()
	e.timer.Stop()
	e.forget()
	return true
}
