package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/internal/live"
	"github.com/millrace/millrace/internal/timeline"
)

// hubMetrics are what Prometheus reads of the live streams: sums of this node,
// and of each channel only where that was asked for.
type hubMetrics struct {
	hub        *live.Hub
	perChannel bool
}

var (
	streamsDesc  = prometheus.NewDesc("millrace_streams", "Live streams of this node by health.", []string{"health"}, nil)
	ingestDesc   = prometheus.NewDesc("millrace_ingest_bits_per_second", "What all encoders of this node send, over the last 10 s.", nil, nil)
	picturesDesc = prometheus.NewDesc("millrace_ingest_pictures_per_second", "Pictures that all encoders of this node send, over the last 10 s.", nil, nil)

	channelViewersDesc = prometheus.NewDesc("millrace_channel_viewers", "Viewer sessions of a channel.", []string{"channel"}, nil)
	channelIngestDesc  = prometheus.NewDesc("millrace_channel_ingest_bits_per_second", "What the encoder of a channel sends, over the last 10 s.", []string{"channel"}, nil)
	channelFPSDesc     = prometheus.NewDesc("millrace_channel_ingest_pictures_per_second", "Pictures that the encoder of a channel sends, over the last 10 s.", []string{"channel"}, nil)
	channelRepairsDesc = prometheus.NewDesc("millrace_channel_time_repairs_total", "Frames of a channel's live session whose time was mended; only kinds that occurred.", []string{"channel", "kind"}, nil)
	channelBehindDesc  = prometheus.NewDesc("millrace_channel_behind_seconds", "How late the pictures of a channel are.", []string{"channel"}, nil)
)

// Describe is prometheus.Collector's.
func (m hubMetrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{streamsDesc, ingestDesc, picturesDesc} {
		out <- d
	}
	if m.perChannel {
		for _, d := range []*prometheus.Desc{channelViewersDesc, channelIngestDesc, channelFPSDesc, channelBehindDesc, channelRepairsDesc} {
			out <- d
		}
	}
}

// Collect is prometheus.Collector's.
func (m hubMetrics) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	health := map[string]int{"HEALTHY": 0, "STARVING": 0, "UNKNOWN": 0}
	var bits, pictures float64
	for _, f := range m.hub.Figures() {
		health[f.Health]++
		rate := f.Measured.VideoBitrate + f.Measured.AudioBitrate
		bits += rate
		pictures += f.Measured.Framerate
		if m.perChannel {
			gauge(channelViewersDesc, float64(f.Views), f.ChannelARN)
			gauge(channelIngestDesc, rate, f.ChannelARN)
			gauge(channelFPSDesc, f.Measured.Framerate, f.ChannelARN)
			gauge(channelBehindDesc, f.Measured.Behind, f.ChannelARN)
			for kind, n := range f.Repairs {
				if n > 0 {
					out <- prometheus.MustNewConstMetric(channelRepairsDesc, prometheus.CounterValue, float64(n), f.ChannelARN, timeline.Kind(kind).String())
				}
			}
		}
	}
	for name, n := range health {
		gauge(streamsDesc, float64(n), name)
	}
	gauge(ingestDesc, bits)
	gauge(picturesDesc, pictures)
}
