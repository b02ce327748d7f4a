package audience

import (
	"time"

	"github.com/millrace/millrace/internal/cmcd"
)

// qualityWindow is over how long reports of players count as how playback is now.
const qualityWindow = time.Minute

// A playbackState is what the player of a viewer session says. Times are since the
// base of Viewers, in milliseconds.
type playbackState struct {
	at       uint32 // of the last report
	stalled  uint32 // when its buffer ran empty last; 0 for never
	stalls   uint16
	started  bool   // it needs nothing at once any more
	startup  uint32 // how long that took, milliseconds; 0 for unknown
	bitrate  uint32 // kbit/s
	buffer   uint32 // milliseconds
	latency  uint32 // milliseconds behind live; 0 for unknown
	starting bool   // it has said that it is starting
}

// Report takes what a viewer session's player says. Of a session that does not
// count it takes nothing, so as many reports are kept as sessions at most.
func (v *Viewers) Report(number uint64, r cmcd.Report, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s, ok := v.sessions[number]
	if !ok {
		return
	}
	if v.playback == nil {
		v.playback = map[uint64]playbackState{}
	}
	at := v.since(now)
	p := v.playback[number]
	p.at = at
	if r.Latency > 0 {
		p.latency = uint32(r.Latency / time.Millisecond)
	}
	if r.Bitrate > 0 {
		p.bitrate = uint32(r.Bitrate)
	}
	if r.Buffer > 0 {
		p.buffer = uint32(r.Buffer / time.Millisecond)
	}
	if r.Starved && p.started { // before, it is the start that takes its time
		p.stalled = max(at, 1)
		p.stalls = min(p.stalls, 1<<16-2) + 1
		v.stalls++
	}
	p.start(r, at-s.first)
	v.playback[number] = p
}

// start notes how long the start took: as the player says (version 2), or from
// its first request to the first that it does not need at once.
func (p *playbackState) start(r cmcd.Report, age uint32) {
	p.starting = p.starting || r.Startup
	if p.started || r.Startup {
		return
	}
	p.started = true
	switch {
	case r.StartDelay > 0:
		p.startup = uint32(r.StartDelay / time.Millisecond)
	case p.starting:
		p.startup = max(age, 1)
	}
}

// A Playback is how playback is for those viewers of a stream whose players report
// it, over the last minute. Means are over those that report.
type Playback struct {
	Reporting  int // viewer sessions whose players report
	Stalled    int // of them, those whose buffer ran empty
	Stalls     uint64
	Renditions map[string]int // of Stalled, by the rendition that they ask for
	Bitrate    int            // kbit/s
	Buffer     time.Duration
	Startup    time.Duration // 0 for unknown, as is Latency
	Latency    time.Duration
}

// Playback sums the reports up.
func (v *Viewers) Playback(now time.Time) Playback {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := Playback{Stalls: v.stalls, Renditions: map[string]int{}}
	if v.base.IsZero() {
		return out
	}
	at := v.since(now)
	var bitrate, buffer, startup, latency mean
	for number, p := range v.playback {
		if recent(p.at, at) {
			out.Reporting++
			bitrate.add(p.bitrate)
			buffer.add(p.buffer)
			startup.add(p.startup)
			latency.add(p.latency)
		}
		if p.stalled > 0 && recent(p.stalled, at) {
			out.Stalled++
			out.Renditions[v.renditionName(number)]++
		}
	}
	out.Reporting = max(out.Reporting, out.Stalled)
	out.Bitrate = int(bitrate.value())
	out.Buffer, out.Startup, out.Latency = buffer.duration(), startup.duration(), latency.duration()
	return out
}

func recent(at, now uint32) bool {
	return now-at <= uint32(qualityWindow/time.Millisecond)
}

// renditionName is what the session asked for last, "" where that is unknown.
func (v *Viewers) renditionName(number uint64) string {
	if i := int(v.sessions[number].rendition); i < len(v.renditions) {
		return v.renditions[i]
	}
	return ""
}

// A mean is of what is not 0.
type mean struct{ sum, n uint64 }

func (m *mean) add(x uint32) {
	if x > 0 {
		m.sum += uint64(x)
		m.n++
	}
}

func (m *mean) value() uint64 {
	if m.n == 0 {
		return 0
	}
	return m.sum / m.n
}

func (m *mean) duration() time.Duration { return time.Duration(m.value()) * time.Millisecond }
