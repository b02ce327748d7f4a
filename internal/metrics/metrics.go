// Package metrics serves the figures of a node to Prometheus.
package metrics

import (
	"bytes"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"

	"github.com/millrace/millrace/internal/event"
	"github.com/millrace/millrace/internal/live"
	"github.com/millrace/millrace/internal/logs"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/record"
	"github.com/millrace/millrace/internal/relay"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/timeline"
)

// Sources are the parts of a node that have figures.
type Sources struct {
	Hub        *live.Hub
	Relay      *relay.Relay                  // nil without a cluster
	Viewers    func() (streams, viewers int) // of this node
	Store      *store.DB                     // has the events that are to be delivered
	Targets    []event.Target
	Recorder   *record.Recorder
	LogWriter  *logs.Writer
	Machine    func() MachineFigures
	PerChannel bool // also the figures of each channel
	Log        *slog.Logger

	PlaybackRequests, RecordingRequests func() int // that are in progress
}

// New returns the handler of GET /metrics.
func New(s Sources) http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(viewerMetrics(s.Viewers, s.Relay)...)
	r.MustRegister(
		eventMetrics{s.Store, s.Targets, s.Log}, hubMetrics{s.Hub, s.PerChannel}, logMetrics{s.LogWriter},
		machineMetrics{s.Machine}, recordingMetrics{s.Recorder, s.PerChannel},
		requests("millrace_playback_requests_in_flight", "Playback requests that are being answered, most of which wait for what is to come.", s.PlaybackRequests),
		requests("millrace_recording_requests_in_flight", "Requests for recordings (playlists, media, thumbnails) that are being answered.", s.RecordingRequests))
	registerHub(r, s.Hub)
	return &cachedMetrics{gatherer: r, log: s.Log}
}

func requests(name, help string, inProgress func() int) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(inProgress()) })
}

// registerHub adds the counters of the process and of the hub.
func registerHub(r *prometheus.Registry, hub *live.Hub) {
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "millrace_old_sessions_deleted_total", Help: "Old sessions that this node deleted because their channels had more than 10,000."}, func() float64 {
			return float64(hub.SessionsDropped.Load())
		}),
	)
	for _, kind := range timeline.Kinds() {
		r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "millrace_timestamp_repairs_total", Help: "Frames whose time was repaired because an encoder's clock was wrong.",
			ConstLabels: prometheus.Labels{"kind": kind.String()},
		}, func() float64 { return float64(hub.Repairs[kind].Load()) }))
	}
	media.InputStats{}.Each(func(kind string, _ int64) {
		r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "millrace_ingest_anomalies_total", Help: "Frames (and configurations, bad_config) that could not be carried as the encoder sent them: early, malformed and bad_config are left out, repaired and joined are shown.",
			ConstLabels: prometheus.Labels{"kind": kind},
		}, func() (value float64) {
			hub.Input.Load().Each(func(k string, n int64) {
				if k == kind {
					value = float64(n)
				}
			})
			return value
		}))
	})
}

// metricsAge is how long metrics are cached: anyone may request them, and collecting them
// takes locks and a query.
const metricsAge = time.Second

// cachedMetrics serves the metrics of gatherer in the text format of Prometheus. They are
// collected at most once per metricsAge.
type cachedMetrics struct {
	gatherer prometheus.Gatherer
	log      *slog.Logger

	mu   sync.Mutex
	text []byte    // guarded by mu; never changed, only replaced
	made time.Time // guarded by mu
}

func (m *cachedMetrics) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", string(expfmt.NewFormat(expfmt.TypeTextPlain)))
	w.Write(m.current()) // the client may have left
}

// current collects the metrics if they are too old; concurrent requests wait for that.
func (m *cachedMetrics) current() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.text != nil && time.Since(m.made) < metricsAge {
		return m.text
	}
	families, err := m.gatherer.Gather() // also returns what it could gather
	if err != nil {
		m.log.Error("some metrics are missing", "error", err)
	}
	var text bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
			m.log.Error("a metric is missing", "metric", f.GetName(), "error", err)
		}
	}
	m.text, m.made = text.Bytes(), time.Now()
	return m.text
}
