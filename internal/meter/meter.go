// Package meter measures a broadcast from the frames that arrive: what came in
// each second, whether the video comes in time, and the series of figures
// that charts are drawn from.
//
// Two clocks are compared. Media time is that of the video frames, on the broadcast's
// repaired timeline; wall time is when they arrive. A broadcast is in time
// while both continue alike.
package meter

import (
	"sync"
	"time"

	"github.com/millrace/millrace/internal/media"
)

// remembered is for how many seconds samples are kept to judge by.
const remembered = 64

// longest is how long a frame may last; more is a hole in the broadcast.
const longest = 3 * time.Second

// leak is the rate at which the schedule drifts, so that an encoder with a slow clock does
// not become late over time: 0.2 %, ten times the error of a bad crystal.
const leak = 500

// A sample holds the figures of what arrived in one second of the wall clock.
type sample struct {
	second     int64 // Unix
	videoBytes int64
	audioBytes int64
	frames     int64         // of video, as all that follows
	media      time.Duration // by which the frames' timeline went on
	shown      time.Duration // the same without holes: how long its frames last
	keys       int64         // key frames but the first
	keyGaps    time.Duration // from key frame to key frame, their sum
}

// Announced holds the rates that an encoder announces; 0 for those that it does not.
type Announced struct {
	VideoBitrate float64 `json:"videoBitrate"` // bit/s
	AudioBitrate float64 `json:"audioBitrate"` // bit/s
	Framerate    float64 `json:"framerate"`    // frames a second
}

// A Meter measures one session. The zero Meter is ready to use. Only one goroutine may
// write frames, any may read.
type Meter struct {
	mu        sync.Mutex
	announced Announced     // guarded by mu, as is what follows
	anchor    time.Time     // the first time that was asked for
	second    int64         // that is being filled; 0 before the first frame
	first     int64         // second of the first frame
	lastAudio time.Time     // arrival
	lastKey   time.Duration // DTS; 0 before the first
	schedule  schedule
	verdict   verdict
	series    series
	ring      [remembered]sample // by second; last, so that what each frame changes is close together
}

// A schedule says when a video frame was to arrive: at its media time, counted from
// the punctual ones.
type schedule struct {
	epoch   time.Time     // arrival of the first video frame
	last    time.Time     // arrival of the last one
	dts     time.Duration // the latest
	base    time.Duration // arrival, since epoch, less DTS, of punctual frames
	baseAt  time.Duration // since epoch; when base was set
	frame   time.Duration // running mean of the distance between frames
	onTime  time.Time     // arrival of the last frame that was not late
	late    time.Duration // how late the least late frame of this second was
	hasLate bool
}

// Announce sets what the encoder announces. It may be called again.
func (m *Meter) Announce(a Announced) {
	m.mu.Lock()
	m.announced = a
	m.mu.Unlock()
}

// Frame records a frame that arrived at the given time. Its DTS is on the broadcast's
// timeline.
func (m *Meter) Frame(f media.Frame, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.turnLocked(m.unixLocked(at))
	s := m.atLocked(m.second)
	if !f.Track.IsVideo() {
		s.audioBytes += int64(len(f.Data))
		m.lastAudio = at
		return
	}
	s.videoBytes += int64(len(f.Data))
	s.frames++
	if !m.schedule.epoch.IsZero() {
		step := max(0, f.DTS-m.schedule.dts)
		s.media += step
		if step <= longest {
			s.shown += step
		}
	}
	if f.Key {
		if m.lastKey > 0 {
			s.keys++
			s.keyGaps += f.DTS - m.lastKey
		}
		m.lastKey = f.DTS
	}
	if m.schedule.silent(at) > maxLate {
		m.judgeLocked(at) // the tick that should have noticed may be late itself
	}
	m.verdict.resume(&m.schedule, at)
	m.schedule.add(f.DTS, at)
}

// Arrived returns when the last frame came, of any track; zero before the first.
func (m *Meter) Arrived() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lastAudio.After(m.schedule.last) {
		return m.lastAudio
	}
	return m.schedule.last
}

// NewEncoder begins a new schedule: another encoder continues with the timeline.
func (m *Meter) NewEncoder() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.schedule, m.lastKey, m.announced = schedule{}, 0, Announced{}
	if m.verdict.health == Starving {
		m.verdict.proof = time.Time{}
	}
}

// atLocked is the sample of a second that is remembered.
func (m *Meter) atLocked(second int64) *sample { return &m.ring[uint64(second)%remembered] }

// unixLocked is the Unix second of a time, by the monotonic clock from the anchor on:
// a wall clock that is set makes no second long or empty.
func (m *Meter) unixLocked(t time.Time) int64 {
	if m.anchor.IsZero() {
		m.anchor = t
	}
	return m.anchor.Add(t.Sub(m.anchor)).Unix()
}

// turnLocked begins a new second. Seconds that went by without a frame are empty.
func (m *Meter) turnLocked(second int64) {
	if second <= m.second {
		return
	}
	if m.second == 0 || second-m.second > remembered {
		if m.second == 0 {
			m.first = second
		}
		m.second = second - remembered
	}
	for m.second < second {
		m.second++
		*m.atLocked(m.second) = sample{second: m.second}
	}
}

func (s *schedule) add(dts time.Duration, at time.Time) {
	if s.epoch.IsZero() {
		*s = schedule{epoch: at, last: at, dts: dts, base: -dts, onTime: at, hasLate: true}
		return
	}
	if step := dts - s.dts; step > 0 {
		s.frame += (min(step, 5*time.Second) - s.frame) / 8
	}
	since := at.Sub(s.epoch)
	s.base += (since - s.baseAt) / leak
	s.baseAt = since
	s.dts, s.last = max(s.dts, dts), at
	s.base = min(s.base, since-s.dts)
	late := since - s.dts - s.base
	if !s.hasLate || late < s.late {
		s.late, s.hasLate = late, true
	}
	if late <= punctual {
		s.onTime = at
	}
}

// behind is how late the next frame is, or will be at least.
func (s *schedule) behind(now time.Time) time.Duration {
	if s.epoch.IsZero() {
		return 0
	}
	return max(0, now.Sub(s.epoch)-s.dts-s.base-s.frame)
}

// silent is for how long no frame has come, beyond the time between two.
func (s *schedule) silent(now time.Time) time.Duration {
	if s.epoch.IsZero() {
		return 0
	}
	return max(0, now.Sub(s.last)-s.frame)
}

// rebase takes the lateness of the last frame for punctual.
func (s *schedule) rebase() {
	s.base = s.last.Sub(s.epoch) - s.dts
	s.late, s.hasLate = 0, false
}

// sumLocked adds up the n whole seconds before the one that is being filled; had is
// how many of them the broadcast has lasted for.
func (m *Meter) sumLocked(n int) (total sample, had int) {
	for s := max(m.second-int64(n), m.first); s < m.second; s++ {
		q := m.atLocked(s)
		total.videoBytes += q.videoBytes
		total.audioBytes += q.audioBytes
		total.frames += q.frames
		total.media += q.media
		total.keys += q.keys
		total.keyGaps += q.keyGaps
		had++
	}
	return total, had
}

// Bitrate returns the bit rate of all tracks together, in bits a second, over the window
// that ends with the last whole second. ok is false until a whole window has been
// observed. Frames that arrive in a burst after a stall count for the time in which they
// were due.
func (m *Meter) Bitrate(now time.Time, window time.Duration) (bits int64, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.turnLocked(m.unixLocked(now))
	n := min(max(int(window/time.Second), 1), remembered-2)
	total, had := m.sumLocked(n)
	if had < n {
		return 0, false
	}
	lasted := max(time.Duration(n)*time.Second, total.media)
	return int64(float64(total.videoBytes+total.audioBytes) * 8 / lasted.Seconds()), true
}
