package metrics

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/internal/event"
	"github.com/millrace/millrace/internal/store"
)

// eventMetrics are the metrics of event targets, such as their lag.
type eventMetrics struct {
	store   *store.DB
	targets []event.Target
	log     *slog.Logger
}

var (
	eventLag     = prometheus.NewDesc("millrace_event_lag_seconds", "Age of the oldest event not yet delivered to the target, in seconds; 0 if none is pending.", []string{"target"}, nil)
	eventPending = prometheus.NewDesc("millrace_events_pending", "Events not yet delivered to the target.", []string{"target"}, nil)
	eventDead    = prometheus.NewDesc("millrace_event_dead_letters", "Events that are not retried any more for the target.", []string{"target"}, nil)
	eventSent    = prometheus.NewDesc("millrace_event_deliveries_total", "Events delivered to the target by this node.", []string{"target"}, nil)
	eventFailed  = prometheus.NewDesc("millrace_event_failures_total", "Failed delivery attempts of this node to the target.", []string{"target"}, nil)
)

// Describe sends the descriptions of the metrics.
func (m eventMetrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{eventLag, eventPending, eventDead, eventSent, eventFailed} {
		out <- d
	}
}

// Collect reads the outbox.
func (m eventMetrics) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, target string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, target)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second) // Prometheus gives none
	defer cancel()
	all, err := m.store.Targets(ctx, nil)
	if err != nil {
		m.log.Error("metrics of events are missing", "error", err)
	}
	for _, t := range all {
		gauge(eventLag, event.Lag(t, time.Now()).Seconds(), t.Name)
		gauge(eventPending, float64(t.Pending), t.Name)
		gauge(eventDead, float64(t.Dead), t.Name)
	}
	for _, t := range m.targets {
		sent, failed := t.Counts()
		out <- prometheus.MustNewConstMetric(eventSent, prometheus.CounterValue, float64(sent), t.Name)
		out <- prometheus.MustNewConstMetric(eventFailed, prometheus.CounterValue, float64(failed), t.Name)
	}
}
