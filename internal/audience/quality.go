package audience

import (
	"time"

	"github.com/millrace/millrace/internal/cmcd"
)

// qualityWindow is over how long reports of players count as how playback is now.
const qualityWindow = time.Minute

// A playbackState holds what a viewer session's player has reported last. Times are since
// the base of Viewers, in milliseconds.
type playbackState struct {
	at       uint32 // of the last report
	stalled  uint32 // when its buffer ran empty last; 0 for never
	on       uint8  // the rendition that it had requested then: an index of Viewers.renditions
	stalls   uint16
	started  bool   // it needs nothing at once any more
	startup  uint32 // how long that took, milliseconds; 0 for unknown
	bitrate  uint32 // kbit/s
	buffer   uint32 // milliseconds
	latency  uint32 // milliseconds behind live; 0 for unknown
	starting bool   // it has said that it is starting
}

// Report records what a viewer session's player reports. Reports of sessions that are not
// counted are dropped, so there are never more reports than sessions.
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
	at := v.sinceLocked(now)
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
	// Before it has started, it is the start that takes its time. One stall a second is all
	// that a player can have, and a client that invents them may add.
	if r.Starved && p.started && (p.stalled == 0 || int32(at-p.stalled) >= 1000) {
		p.stalled, p.on = max(at, 1), s.rendition
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
	switch {
	case r.StartDelay > 0:
		p.started, p.startup = true, uint32(r.StartDelay/time.Millisecond)
	case p.started || r.Startup:
	case p.starting:
		p.started, p.startup = true, max(age, 1)
	default:
		p.started = true
	}
}

// A Playback summarizes the playback of those viewers of a stream whose players report
// it, over the last minute. Nodes send it to each other as JSON.
type Playback struct {
	Reporting  int            `json:"reporting"`            // viewer sessions whose players report
	Stalled    int            `json:"stalled"`              // those whose buffer ran empty
	Stalls     uint64         `json:"stalls"`               // since the stream began
	Renditions map[string]int `json:"renditions,omitempty"` // the Stalled sessions, by the rendition that they had requested when they stalled
	Bitrate    Mean           `json:"bitrate"`              // kbit/s
	Buffer     Mean           `json:"buffer"`               // milliseconds, as are those below
	Startup    Mean           `json:"startup"`
	Latency    Mean           `json:"latency"` // behind live
}

// Playback sums up the reports of viewers on all nodes.
func (v *Viewers) Playback(now time.Time) Playback {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := v.playbackHereLocked(now)
	v.elsewhere.addPlayback(&out, now)
	return out
}

// PlaybackHere is Playback for this node alone.
func (v *Viewers) PlaybackHere(now time.Time) Playback {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.playbackHereLocked(now)
}

func (v *Viewers) playbackHereLocked(now time.Time) Playback {
	out := Playback{Stalls: v.stalls, Renditions: map[string]int{}}
	if v.base.IsZero() {
		return out
	}
	at := v.sinceLocked(now)
	for _, p := range v.playback {
		if recent(p.at, at) {
			out.Reporting++
			out.Bitrate.add(p.bitrate)
			out.Buffer.add(p.buffer)
			out.Startup.add(p.startup)
			out.Latency.add(p.latency)
		}
		if p.stalled > 0 && recent(p.stalled, at) {
			out.Stalled++
			out.Renditions[v.renditionNameLocked(p.on)]++
		}
	}
	out.Reporting = max(out.Reporting, out.Stalled)
	return out
}

// playerLocked returns what the player of a session reports; nil if it has not in the last minute.
func (v *Viewers) playerLocked(number uint64, at uint32) *Player {
	p, ok := v.playback[number]
	if !ok || !recent(p.at, at) {
		return nil
	}
	ms := func(n uint32) time.Duration { return time.Duration(n) * time.Millisecond }
	return &Player{
		Stalls: int(p.stalls), Stalled: p.stalled > 0 && recent(p.stalled, at),
		Bitrate: int(p.bitrate), Buffer: ms(p.buffer), Startup: ms(p.startup), Latency: ms(p.latency),
	}
}

// add adds what another node has, but for its stalls, which are counted as they come.
func (p *Playback) add(o Playback) {
	p.Reporting += o.Reporting
	p.Stalled += o.Stalled
	for name, n := range o.Renditions {
		p.Renditions[name] += n
	}
	p.Bitrate.join(o.Bitrate)
	p.Buffer.join(o.Buffer)
	p.Startup.join(o.Startup)
	p.Latency.join(o.Latency)
}

func recent(at, now uint32) bool {
	return now-at <= uint32(qualityWindow/time.Millisecond)
}

// renditionNameLocked is the name of a rendition by its index, "" where that is unknown.
func (v *Viewers) renditionNameLocked(i uint8) string {
	if int(i) < len(v.renditions) {
		return v.renditions[i]
	}
	return ""
}

// A Mean is the mean of the values that players report; 0 without any.
type Mean struct {
	Sum uint64 `json:"sum"`
	N   uint64 `json:"n"`
}

func (m *Mean) add(x uint32) {
	if x > 0 {
		m.join(Mean{uint64(x), 1})
	}
}

func (m *Mean) join(o Mean) {
	m.Sum += o.Sum
	m.N += o.N
}

// Value returns the mean, 0 if it is unknown.
func (m Mean) Value() uint64 {
	if m.N == 0 {
		return 0
	}
	return m.Sum / m.N
}

// Duration returns Value as a number of milliseconds.
func (m Mean) Duration() time.Duration { return time.Duration(m.Value()) * time.Millisecond }
