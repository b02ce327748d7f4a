package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/internal/relay"
)

// viewerMetrics are the metrics of viewers, and of the streams of other nodes that they
// watch through this one.
func viewerMetrics(counts func() (streams, viewers int), r *relay.Relay) []prometheus.Collector {
	counter := func(name, help string, value func(relay.Stats) int64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(value(r.Stats())) })
	}
	return []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "millrace_viewers", Help: "Viewer sessions of the last seconds on this node."}, func() float64 {
			_, viewers := counts()
			return float64(viewers)
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "millrace_relay_streams", Help: "Streams of other nodes that are watched on this one."}, func() float64 { return float64(r.Stats().Streams) }),
		counter("millrace_relay_streams_opened_total", "Streams of other nodes that this one has begun to relay.", func(s relay.Stats) int64 { return s.Opened }),
		counter("millrace_relay_connections_lost_total", "Connections to the owners of streams that were lost.", func(s relay.Stats) int64 { return s.Lost }),
		counter("millrace_relay_received_bytes_total", "Bytes that came from the owners of streams.", func(s relay.Stats) int64 { return s.Bytes }),
	}
}
