package audience

import (
	"maps"
	"time"
)

const (
	// elsewhereFor is how long a number of viewers on another node is good: several
	// times as long as nodes report it. So the viewers of a node that has died are
	// off the count well within a minute.
	elsewhereFor = 10 * time.Second

	// maxElsewhere bounds the nodes whose viewers of a stream are counted.
	maxElsewhere = 1000
)

// elsewhere counts a stream's viewers on other nodes, and sums up what their players
// report. A node that does not report any more is kept while there is room: its stalls
// were added.
type elsewhere map[string]reported // by name of the node

type reported struct {
	viewers  int
	playback Playback
	at       time.Time
}

// silent reports whether the node reports no more.
func (r reported) silent(now time.Time) bool { return now.Sub(r.at) > elsewhereFor }

// SetElsewhere records the number of viewers that another node has for the stream, and
// what their players report.
func (v *Viewers) SetElsewhere(node string, viewers int, p Playback, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.elsewhere == nil {
		v.elsewhere = elsewhere{}
	}
	last, known := v.elsewhere[node]
	if !known && len(v.elsewhere) >= maxElsewhere {
		maps.DeleteFunc(v.elsewhere, func(_ string, r reported) bool { return r.silent(now) })
		if len(v.elsewhere) >= maxElsewhere {
			return
		}
	}
	if last.playback.Stalls > p.Stalls { // the node has begun to count anew
		last.playback.Stalls = 0
	}
	v.stalls += p.Stalls - last.playback.Stalls
	v.elsewhere[node] = reported{max(viewers, 0), p, now}
}

// count sums up those of the nodes that report.
func (e elsewhere) count(now time.Time) (n int) {
	for _, r := range e {
		if r.silent(now) {
			continue
		}
		n += r.viewers
	}
	return n
}

// addPlayback adds what players report there.
func (e elsewhere) addPlayback(to *Playback, now time.Time) {
	for _, r := range e {
		if !r.silent(now) {
			to.add(r.playback)
		}
	}
}
