package live

import (
	"maps"
	"slices"
	"time"

	"github.com/millrace/millrace/internal/broadcast"
	"github.com/millrace/millrace/internal/meter"
	"github.com/millrace/millrace/internal/timeline"
)

// Figures are what is known of one live stream now.
type Figures struct {
	ChannelARN string
	Health     string // such as ivs.HealthHealthy
	Views      int
	Measured   meter.Measured
	Repairs    timeline.Counters
	Source     broadcast.Stats // of the rendition that is the encoder's
}

// Figures are those of all live streams of this node.
func (h *Hub) Figures() []Figures {
	now := time.Now()
	h.mu.Lock()
	live := slices.Collect(maps.Values(h.live))
	h.mu.Unlock()
	all := make([]Figures, len(live))
	for i, s := range live {
		r := s.broadcast.Meter.Report(now)
		all[i] = Figures{s.Channel.ARN, healthNames[r.Health], s.Viewers.Count(now), r.Measured, s.broadcast.Repairs(), s.broadcast.Stats()}
	}
	return all
}

// Report is how the broadcast arrives now, with why viewers get the source
// alone where the channel's type has more.
func (s *Session) Report() meter.Report {
	r := s.broadcast.Meter.Report(time.Now())
	if why := s.renditions.lost(); why != "" {
		r.Sentence += " Viewers get the source alone: " + why + "."
	}
	return r
}

// Recent are the points of a period that are not in the database yet, and the
// ones before them.
func (s *Session) Recent(period int64) []meter.Point { return s.broadcast.Meter.Recent(period) }
