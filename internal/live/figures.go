package live

import (
	"fmt"
	"time"

	"github.com/millrace/millrace/internal/audience"
	"github.com/millrace/millrace/internal/broadcast"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/meter"
	"github.com/millrace/millrace/internal/timeline"
)

// Figures describe the present state of a live stream.
type Figures struct {
	ChannelARN string
	StreamID   string
	Health     string // such as ivs.HealthHealthy
	Views      int
	Playback   audience.Playback // as players report it
	Measured   meter.Measured
	Repairs    timeline.Counters
	Input      media.InputStats
	Source     broadcast.Stats // of the source rendition
}

// Figures returns the figures of all live streams of this node.
func (h *Hub) Figures() []Figures {
	now := time.Now()
	live := h.sessions.allLive()
	all := make([]Figures, len(live))
	for i, s := range live {
		r := s.broadcast.Meter.Report(now)
		all[i] = Figures{s.Channel.ARN, s.StreamID, healthNames[r.Health], s.Viewers.Count(now), s.Viewers.Playback(now), r.Measured, s.broadcast.Repairs(), s.input.Load(), s.broadcast.Stats()}
	}
	return all
}

// A Rendition is a rendition of a live stream as the multivariant playlist lists it.
type Rendition struct {
	Name             string  `json:"name"`  // in the URLs of its playlist and media
	Label            string  `json:"label"` // such as "720p30"
	Width            int     `json:"width,omitempty"`
	Height           int     `json:"height,omitempty"`
	Framerate        float64 `json:"framerate,omitempty"` // frames a second
	Codecs           string  `json:"codecs"`              // RFC 6381
	Bandwidth        int64   `json:"bandwidth"`           // bit/s of its largest segment, at least the target of its encoder
	AverageBandwidth int64   `json:"averageBandwidth"`    // bit/s, measured
	Playing          bool    `json:"playing"`             // it has media and keeps up with the source
}

// Renditions returns the renditions that are offered now, the source first if viewers get
// it.
func (s *Session) Renditions() []Rendition {
	all, _ := s.Stream.Renditions()
	var offered []Rendition
	for _, v := range all {
		if v.Codecs != "" && !v.Fallback {
			offered = append(offered, Rendition{v.Name(), v.Label, v.Width, v.Height, v.FrameRate, v.Codecs, v.Bandwidth, v.AverageBandwidth, v.Playing})
		}
	}
	return offered
}

// Report returns how the broadcast arrives now, and why viewers get only the source
// although the channel's type has more renditions.
func (s *Session) Report() meter.Report {
	r := s.broadcast.Meter.Report(time.Now())
	if why := s.renditions.lost(); why != "" {
		r.Sentence += " Viewers get the source alone: " + why + "."
	}
	if t := s.broadcast.Tracks(); t != nil {
		r.Sentence += inputSentence(t, s.input.Load())
	}
	return r
}

// inputSentence describes problems with the encoder's input; "" if there are none that a
// viewer would notice.
func inputSentence(t *broadcast.Tracks, in media.InputStats) (text string) {
	if why := t.Video.Video.Limits(); why != "" {
		text += " " + why
	}
	switch {
	case in.Early > 0 && t.Audio == nil:
		text += fmt.Sprintf(" There is no audio: %d frames came without its decoder configuration.", in.Early)
	case in.Early > 0:
		text += fmt.Sprintf(" %d frames came before the decoder configuration of their track and were left out.", in.Early)
	}
	if in.Malformed > 0 {
		text += fmt.Sprintf(" %d frames were damaged and left out or cut.", in.Malformed)
	}
	if in.BadConfigs > 0 {
		text += fmt.Sprintf(" %d decoder configurations or parameter sets were damaged and left out.", in.BadConfigs)
	}
	return text
}

// Recent returns the points of a period that are not in the database yet, and those just
// before them.
func (s *Session) Recent(period int64) []meter.Point { return s.broadcast.Meter.Recent(period) }
