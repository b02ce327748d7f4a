package meter

import "time"

// Health says whether a broadcast arrives in time.
type Health uint8

// A broadcast is Unknown until it has been observed for long enough.
const (
	Unknown Health = iota
	Healthy
	Starving
)

// The rules of health, which docs/health.md explains.
const (
	firstLook = 2 * time.Second // after the first video frame, health is known

	// maxLate is how late video frames may be. Up to it they are in time, whatever
	// their bits: a quiet scene has few.
	maxLate = 2500 * time.Millisecond

	// punctual is how late a frame may be and still count as punctual.
	punctual = 500 * time.Millisecond

	// proven is how long frames must arrive in time to end a starvation, and steady how
	// much their lateness may grow meanwhile: 2 %.
	proven = 5 * time.Second
	steady = 100 * time.Millisecond
	pause  = time.Second // a longer one and the proof starts again

	// thinAfter is for how long frames and bits must both be less than half of what was
	// announced: an encoder on a slow uplink drops frames, and those that it sends are in
	// time. thinOver of one of them ends that.
	thinAfter = 10 // seconds
	thin      = 0.5
	thinOver  = 0.7
)

// A Change is a change of health. At is when it happened, some seconds before it could be
// known.
type Change struct {
	Health Health
	At     time.Time
}

// maxChanges bounds the changes that have not been fetched.
const maxChanges = 64

// A verdict is the assessment of the broadcast so far.
type verdict struct {
	health  Health
	changes []Change // that have not been fetched

	// While Starving: since when frames come in time, zero if they do not, and
	// how late they were at least.
	proof time.Time
	late  time.Duration
}

// Judge returns the present health of the broadcast, and how it changed since the last
// call.
func (m *Meter) Judge(now time.Time) (Health, []Change) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.turnLocked(m.unixLocked(now))
	m.judgeLocked(now)
	changes := m.verdict.changes
	m.verdict.changes = nil
	return m.verdict.health, changes
}

func (m *Meter) judgeLocked(now time.Time) {
	s, v := &m.schedule, &m.verdict
	switch {
	case s.epoch.IsZero():
		return
	case v.health == Starving:
		m.proveLocked(now)
	case s.behind(now) > maxLate:
		v.change(Starving, s.onTime)
	case m.thinnedLocked(thinAfter, thin):
		v.change(Starving, time.Unix(m.thinSinceLocked(), 0))
	case v.health == Unknown && now.Sub(s.epoch) >= firstLook:
		v.health = Healthy // nothing has changed: it is known now
	}
	s.late, s.hasLate = 0, false
}

func (v *verdict) change(h Health, at time.Time) {
	v.health, v.proof = h, time.Time{}
	if len(v.changes) < maxChanges {
		v.changes = append(v.changes, Change{h, at})
	}
}

// resume begins the proof with the first video frame after a pause.
func (v *verdict) resume(s *schedule, at time.Time) {
	if v.health == Starving && (v.proof.IsZero() || s.silent(at) > pause) {
		v.proof, v.late = at, maxDuration
	}
}

const maxDuration = 1<<63 - 1

// proveLocked looks whether a starvation is over.
func (m *Meter) proveLocked(now time.Time) {
	s, v := &m.schedule, &m.verdict
	switch {
	case s.silent(now) > pause:
		v.proof = time.Time{}
	case s.hasLate && !v.proof.IsZero() && v.late != maxDuration && s.late > v.late+steady, m.thinnedLocked(1, thinOver):
		v.proof, v.late = now, maxDuration
	case s.hasLate:
		v.late = min(v.late, s.late)
	}
	if !v.proof.IsZero() && now.Sub(v.proof) >= proven {
		v.change(Healthy, v.proof)
		s.rebase()
	}
}

// thinnedLocked reports whether over the last seconds both frames and bits were less
// than that part of what the encoder announced.
func (m *Meter) thinnedLocked(seconds int, part float64) bool {
	a := m.announced
	total, had := m.sumLocked(seconds)
	if a.VideoBitrate == 0 || a.Framerate == 0 || had < seconds {
		return false
	}
	part *= float64(seconds)
	return float64(total.frames) < part*a.Framerate && float64(total.videoBytes*8) < part*a.VideoBitrate
}

// thinSinceLocked is the first of the thin seconds up to now.
func (m *Meter) thinSinceLocked() int64 {
	s := m.second
	for s > m.first && s > m.second-remembered+1 {
		q := m.atLocked(s - 1)
		if float64(q.frames) >= thin*m.announced.Framerate {
			break
		}
		s--
	}
	return s
}
