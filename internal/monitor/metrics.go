package monitor

import (
	"context"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/meter"
	"github.com/millrace/millrace/internal/store"
)

// A MetricsOutput holds the series of a channel.
type MetricsOutput struct {
	ChannelARN string                  `json:"channelArn"`
	StreamID   string                  `json:"streamId"` // the one requested, or else the latest; empty if there is none
	Period     int64                   `json:"period"`   // seconds
	Metrics    map[string][][2]float64 `json:"metrics"`  // by name: pairs of a Unix time in seconds and a value
}

// Metrics serves GET /_millrace/channels/{channel}/metrics: the series of a channel, by the
// second or the minute.
//
//   - period: Seconds that a value stands for: 1 (kept for 3 hours) or 60 (kept for 15 days).
//   - start: Unix time in seconds. By default 5 minutes ago, or 3 hours with period=60.
//   - end: Unix time in seconds, excluded. Now by default.
//   - streamId: Only the points of this stream.
func (h *Handler) Metrics(w http.ResponseWriter, r *http.Request, scope store.Scope) error {
	arn, err := h.Channel(r.Context(), r.PathValue("channel"), scope)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	period, start, end, err := metricsRange(q, time.Now())
	if err != nil {
		return err
	}
	out := MetricsOutput{ChannelARN: arn, StreamID: q.Get("streamId"), Period: period, Metrics: map[string][][2]float64{}}
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

func (o *MetricsOutput) add(p meter.Point) {
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
	usual := 5 * time.Minute
	if period == meter.Minute {
		usual = 3 * time.Hour
	}
	end = number("end", now.Unix()+1)
	start = number("start", end-int64(usual/time.Second))
	return period, max(start, min(end, now.Unix())-int64(meter.Kept(period)/time.Second)), end, err
}

// points calls add for every point of the channel in [start, end), oldest
// first: those in the database, and behind them those in memory.
func (h *Handler) points(ctx context.Context, arn string, period, start, end int64, add func(string, meter.Point)) error {
	s := h.Hub.OpenSession(arn)
	var recent []meter.Point
	edge := end
	if s != nil {
		if recent = s.Recent(period); len(recent) > 0 {
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
