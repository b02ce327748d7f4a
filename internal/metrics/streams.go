package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/live"
	"github.com/millrace/millrace/internal/timeline"
)

// hubMetrics are the metrics of live streams: totals of this node, and with a flag those of
// each channel.
type hubMetrics struct {
	hub        *live.Hub
	perChannel bool
}

var (
	streamsDesc = prometheus.NewDesc("millrace_streams", "Live streams of this node by health.", []string{"health"}, nil)
	ingestDesc  = prometheus.NewDesc("millrace_ingest_bits_per_second", "What all encoders of this node send, over the last 10 s.", nil, nil)
	framesDesc  = prometheus.NewDesc("millrace_ingest_frames_per_second", "Video frames that all encoders of this node send, over the last 10 s.", nil, nil)

	reportingDesc = prometheus.NewDesc("millrace_players_reporting", "Viewer sessions of this node whose players reported playback (CMCD) in the last minute.", nil, nil)
	stalledDesc   = prometheus.NewDesc("millrace_players_stalled", "Of them, those whose buffer ran empty in that time.", nil, nil)

	channelRepairsDesc = prometheus.NewDesc("millrace_channel_timestamp_repairs_total", "Frames of a channel's live session whose time was repaired; only kinds that occurred.", []string{"channel", "kind"}, nil)
)

// A channelMetric is a figure of a channel's live session. Counters restart
// with each session.
type channelMetric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(live.Figures) float64
}

func channelGauge(name, help string, of func(live.Figures) float64) channelMetric {
	return channelMetric{prometheus.NewDesc("millrace_channel_"+name, help, []string{"channel"}, nil), prometheus.GaugeValue, of}
}

func channelCounter(name, help string, of func(live.Figures) float64) channelMetric {
	m := channelGauge(name+"_total", help, of)
	m.kind = prometheus.CounterValue
	return m
}

var channelMetrics = []channelMetric{
	channelGauge("viewers", "Viewer sessions of a channel.", func(f live.Figures) float64 { return float64(f.Views) }),
	channelGauge("players_reporting", "Viewer sessions of a channel whose players reported playback (CMCD) in the last minute.", func(f live.Figures) float64 { return float64(f.Playback.Reporting) }),
	channelGauge("players_stalled", "Of them, those whose buffer ran empty in that time.", func(f live.Figures) float64 { return float64(f.Playback.Stalled) }),
	channelCounter("player_stalls", "How often players reported that their buffer had run empty.", func(f live.Figures) float64 { return float64(f.Playback.Stalls) }),
	channelGauge("player_startup_seconds", "How long players took to start, on average.", func(f live.Figures) float64 { return f.Playback.Startup.Duration().Seconds() }),
	channelGauge("player_bits_per_second", "Bit rate that players ask for, on average.", func(f live.Figures) float64 { return float64(f.Playback.Bitrate.Value()) * 1000 }),
	channelGauge("player_latency_seconds", "How far behind live players are, on average of those that report it (CMCD version 2).", func(f live.Figures) float64 { return f.Playback.Latency.Duration().Seconds() }),
	channelGauge("ingest_bits_per_second", "What the encoder of a channel sends, over the last 10 s.", func(f live.Figures) float64 { return f.Measured.VideoBitrate + f.Measured.AudioBitrate }),
	channelGauge("ingest_video_bits_per_second", "Of that, video.", func(f live.Figures) float64 { return f.Measured.VideoBitrate }),
	channelGauge("ingest_audio_bits_per_second", "Of that, audio.", func(f live.Figures) float64 { return f.Measured.AudioBitrate }),
	channelGauge("ingest_frames_per_second", "Video frames that the encoder of a channel sends, over the last 10 s.", func(f live.Figures) float64 { return f.Measured.Framerate }),
	channelGauge("ingest_keyframe_interval_seconds", "From key frame to key frame, over the last 10 s; 0 where there were fewer than two.", func(f live.Figures) float64 { return f.Measured.KeyframeInterval }),
	channelGauge("ingest_lag_seconds", "How late the video of a channel arrives.", func(f live.Figures) float64 { return f.Measured.Behind }),
	channelCounter("dropped_frames", "Frames that no player could use.", func(f live.Figures) float64 { return float64(f.Source.Dropped) }),
	channelCounter("parts", "Parts of the source.", func(f live.Figures) float64 { return float64(f.Source.Parts) }),
	channelCounter("part_bytes", "Bytes of these parts.", func(f live.Figures) float64 { return float64(f.Source.PartBytes) }),
	channelCounter("part_delay_seconds", "From the end of the media of a part, by its program date, to its publication, of all parts together.", func(f live.Figures) float64 { return f.Source.PartDelay.Seconds() }),
	channelCounter("segments", "Segments of the source.", func(f live.Figures) float64 { return float64(f.Source.Segments) }),
	channelCounter("segment_bytes", "Bytes of these segments.", func(f live.Figures) float64 { return float64(f.Source.SegmentBytes) }),
	channelCounter("segment_delay_seconds", "The delay of all segments together.", func(f live.Figures) float64 { return f.Source.SegmentDelay.Seconds() }),
}

// Describe sends the descriptions of the metrics.
func (m hubMetrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{streamsDesc, ingestDesc, framesDesc, reportingDesc, stalledDesc} {
		out <- d
	}
	if m.perChannel {
		out <- channelRepairsDesc
		for _, c := range channelMetrics {
			out <- c.desc
		}
	}
}

// Collect sends the figures of now.
func (m hubMetrics) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	health := map[string]int{ivs.HealthHealthy: 0, ivs.HealthStarving: 0, ivs.HealthUnknown: 0}
	var bits, frames, reporting, stalled float64
	for _, f := range m.hub.Figures() {
		health[f.Health]++
		bits += f.Measured.VideoBitrate + f.Measured.AudioBitrate
		frames += f.Measured.Framerate
		reporting += float64(f.Playback.Reporting)
		stalled += float64(f.Playback.Stalled)
		if m.perChannel {
			collectChannel(out, f)
		}
	}
	for name, n := range health {
		gauge(streamsDesc, float64(n), name)
	}
	gauge(ingestDesc, bits)
	gauge(framesDesc, frames)
	gauge(reportingDesc, reporting)
	gauge(stalledDesc, stalled)
}

func collectChannel(out chan<- prometheus.Metric, f live.Figures) {
	for _, c := range channelMetrics {
		out <- prometheus.MustNewConstMetric(c.desc, c.kind, c.of(f), f.ChannelARN)
	}
	for kind, n := range f.Repairs {
		if n > 0 {
			out <- prometheus.MustNewConstMetric(channelRepairsDesc, prometheus.CounterValue, float64(n), f.ChannelARN, timeline.Kind(kind).String())
		}
	}
}
