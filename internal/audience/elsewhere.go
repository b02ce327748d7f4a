package audience

import "time"

const (
	// elsewhereFor is how long a number of viewers on another node is good: several
	// times as long as nodes report it. So the viewers of a node that has died are
	// off the count well within a minute.
	elsewhereFor = 10 * time.Second

	// maxElsewhere bounds the nodes whose viewers of a stream are counted.
	maxElsewhere = 1000
)

// elsewhere is how many viewers of a stream other nodes have.
type elsewhere map[string]reported // by name of the node

type reported struct {
	viewers int
	at      time.Time
}

// SetElsewhere notes that another node has so many viewers of the stream.
func (v *Viewers) SetElsewhere(node string, viewers int, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if viewers <= 0 {
		delete(v.elsewhere, node)
		return
	}
	if v.elsewhere == nil {
		v.elsewhere = elsewhere{}
	}
	if _, known := v.elsewhere[node]; known || len(v.elsewhere) < maxElsewhere {
		v.elsewhere[node] = reported{viewers, now}
	}
}

// count sums them up, and forgets the nodes that do not report any more.
func (e elsewhere) count(now time.Time) (n int) {
	for node, r := range e {
		if now.Sub(r.at) > elsewhereFor {
			delete(e, node)
			continue
		}
		n += r.viewers
	}
	return n
}
