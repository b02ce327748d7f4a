package live

import (
	"context"
	"encoding/json"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/meter"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/timeline"
)

// A metricsOutput is the answer to GET …/metrics. A value is a pair of a Unix
// time in seconds and a number.
type metricsOutput struct {
	ChannelARN string                  `json:"channelArn"`
	StreamID   string                  `json:"streamId"` // that was asked for, or else the latest
	Period     int64                   `json:"period"`
	Metrics    map[string][][2]float64 `json:"metrics"`
}

// ServeMetrics answers GET /_millrace/channels/{channel}/metrics with the series
// of a channel in [start, end), Unix seconds, by the second (period=1, kept for
// 3 hours) or the minute (period=60, kept for 15 days). streamId leaves out
// other sessions. By default it is the last 5 minutes, or 3 hours.
func (h *Hub) ServeMetrics(w http.ResponseWriter, r *http.Request, scope store.Scope) error {
	arn, err := h.channelOf(r.Context(), r.PathValue("channel"), scope)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	period, start, end, err := metricsRange(q, time.Now())
	if err != nil {
		return err
	}
	out := metricsOutput{ChannelARN: arn, StreamID: q.Get("streamId"), Period: period, Metrics: map[string][][2]float64{}}
	for _, m := range meter.Metrics() {
		out.Metrics[m.String()] = [][2]float64{}
	}
	var latest string
	err = h.points(r.Context(), arn, period, start, end, func(streamID string, p meter.Point) {
		if out.StreamID == "" || out.StreamID == streamID {
			latest = streamID
			out.add(p)
		}
	})
	if err != nil {
		return err
	}
	if out.StreamID == "" {
		out.StreamID = latest
	}
	return writeJSON(w, out)
}

func (o *metricsOutput) add(p meter.Point) {
	for _, m := range meter.Metrics() {
		if v := float64(p.Values[m]); !math.IsNaN(v) {
			o.Metrics[m.String()] = append(o.Metrics[m.String()], [2]float64{float64(p.Time), v})
		}
	}
}

// metricsRange reads the period and the range of time of a query.
func metricsRange(q url.Values, now time.Time) (period, start, end int64, err error) {
	number := func(name string, missing int64) int64 {
		if !q.Has(name) || err != nil {
			return missing
		}
		n, e := strconv.ParseInt(q.Get(name), 10, 64)
		if e != nil || n < 0 || n > math.MaxUint32 {
			err = ivs.Errorf(ivs.Validation, "%s must be a number of seconds", name)
		}
		return n
	}
	period = number("period", meter.Second)
	if err == nil && period != meter.Second && period != meter.Minute {
		err = ivs.Errorf(ivs.Validation, "period must be %d or %d", meter.Second, meter.Minute)
	}
	keep, usual := int64(keepBySecond/time.Second), int64(300)
	if period == meter.Minute {
		keep, usual = int64(keepByMinute/time.Second), int64(keepBySecond/time.Second)
	}
	end = number("end", now.Unix()+1)
	start = number("start", end-usual)
	return period, max(start, min(end, now.Unix())-keep), end, err
}

// points calls add for every point of the channel in [start, end), oldest
// first: those in the database, and behind them those in memory.
func (h *Hub) points(ctx context.Context, arn string, period, start, end int64, add func(string, meter.Point)) error {
	s := h.present(arn)
	var recent []meter.Point
	edge := end
	if s != nil {
		if recent = s.meter.Recent(period); len(recent) > 0 {
			edge = min(edge, recent[0].Time)
		}
	}
	rows, err := h.Store.Metrics(ctx, arn, period, start-60*period, end)
	if err != nil {
		return err
	}
	for _, row := range rows {
		points, err := meter.Block{Period: row.Period, Start: row.Start, Data: row.Data}.Points()
		if err != nil {
			return err
		}
		for _, p := range points {
			if inMemory := s != nil && row.StreamID == s.StreamID && p.Time >= edge; p.Time >= start && p.Time < end && !inMemory {
				add(row.StreamID, p)
			}
		}
	}
	for _, p := range recent {
		if p.Time >= start && p.Time < end {
			add(s.StreamID, p)
		}
	}
	return nil
}

// Figures are what is known of one live stream now.
type Figures struct {
	ChannelARN string
	Health     string // such as ivs.HealthHealthy
	Views      int
	Measured   meter.Measured
	Repairs    timeline.Counters
	Source     hls.Stats // of the rendition that is the encoder's
}

// Figures are those of all live streams of this node.
func (h *Hub) Figures() []Figures {
	now := time.Now()
	h.mu.Lock()
	live := slices.Collect(maps.Values(h.live))
	h.mu.Unlock()
	all := make([]Figures, len(live))
	for i, s := range live {
		r := s.meter.Report(now)
		all[i] = Figures{s.Channel.ARN, healthNames[r.Health], s.Viewers.Count(now), r.Measured, s.repairs.Load(), s.source.Stats()}
	}
	return all
}

// A healthOutput is the answer to GET …/health.
type healthOutput struct {
	ChannelARN  string          `json:"channelArn"`
	StreamID    string          `json:"streamId,omitempty"`
	State       string          `json:"state"`            // LIVE or OFFLINE
	Health      string          `json:"health,omitempty"` // HEALTHY, STARVING, UNKNOWN
	ViewerCount int             `json:"viewerCount"`
	Announced   meter.Announced `json:"announced"`
	Measured    meter.Measured  `json:"measured"`
	Sentence    string          `json:"sentence"`
}

// ServeHealth answers GET /_millrace/channels/{channel}/health: how the
// broadcast is now, what the encoder announced, what arrives, and what that
// means.
func (h *Hub) ServeHealth(w http.ResponseWriter, r *http.Request, scope store.Scope) error {
	arn, err := h.channelOf(r.Context(), r.PathValue("channel"), scope)
	if err != nil {
		return err
	}
	out := healthOutput{ChannelARN: arn, State: ivs.StateOffline, Sentence: "The channel is not live."}
	stream, err := h.Store.Stream(r.Context(), arn)
	if err == nil {
		out.StreamID, out.State, out.Health, out.ViewerCount = stream.StreamID, ivs.StateLive, stream.Health, stream.ViewerCount
		out.Sentence = "Another server has the broadcast; it knows more."
	} else if !ivs.Is(err, ivs.NotBroadcasting) && !ivs.Is(err, ivs.NotFound) {
		return err
	}
	if s := h.Channel(arn); s != nil {
		report := s.meter.Report(time.Now())
		out.Announced, out.Measured, out.Sentence = report.Announced, report.Measured, report.Sentence
		if why := s.sourceAlone(); why != "" {
			out.Sentence += " Viewers get the source alone: " + why + "."
		}
	}
	return writeJSON(w, out)
}

// channelOf is the ARN of a channel of scope that a path names by its ARN or
// the id in it. It is NotFound for what scope has not, and never had.
func (h *Hub) channelOf(ctx context.Context, name string, scope store.Scope) (string, error) {
	arn := name
	if _, ok := ivs.ParseARN(name); !ok {
		arn = ivs.ARN{Region: scope.Region, Account: scope.Account, Type: ivs.ChannelType, ID: name}.String()
	}
	a, ok := ivs.ParseARN(arn)
	if !ok || a.Type != ivs.ChannelType || a.Account != scope.Account || a.Region != scope.Region {
		return "", ivs.Errorf(ivs.NotFound, "Channel %s does not exist", name)
	}
	// A channel that was deleted is known while its sessions are.
	_, _, err := h.Store.ListStreamSessions(ctx, arn, store.Page{Max: 1})
	return arn, err
}

func writeJSON(w http.ResponseWriter, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body) // the client may have left
	return nil
}
