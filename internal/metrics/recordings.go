package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/internal/record"
)

// recordingMetrics are the metrics of recordings: totals of this node, and with a flag
// those of each channel.
type recordingMetrics struct {
	*record.Recorder
	perChannel bool
}

var (
	recordingStreams  = prometheus.NewDesc("millrace_recording_streams", "Streams that are being recorded.", nil, nil)
	recordingWaiting  = prometheus.NewDesc("millrace_recordings_pending", "Recordings whose stream has ended, and which are still uploaded or wait for another stream.", nil, nil)
	recordingSpool    = prometheus.NewDesc("millrace_recording_spool_bytes", "Recorded media on disk that is not in its bucket yet.", nil, nil)
	recordingLag      = prometheus.NewDesc("millrace_recording_upload_lag_seconds", "How long the oldest recorded media has waited for its bucket.", nil, nil)
	recordingSeconds  = prometheus.NewDesc("millrace_recorded_seconds_total", "Media written into buckets, of the longest rendition of each recording: RecordedTime of Amazon IVS.", nil, nil)
	recordingChannel  = prometheus.NewDesc("millrace_channel_recorded_seconds_total", "Media of a channel's open recording in its bucket. Restarts with each recording.", []string{"channel"}, nil)
	recordingLost     = prometheus.NewDesc("millrace_recording_lost_seconds_total", "Media of renditions that was live and gets into no bucket: the spool was full or its disk too slow, the bucket refuses it, or a crash of the machine lost it.", nil, nil)
	recordingFailures = prometheus.NewDesc("millrace_recording_failures_total", "Recordings that failed.", nil, nil)
)

// Describe sends the descriptions of the metrics.
func (m recordingMetrics) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, ch) }

// Collect sends the figures of now.
func (m recordingMetrics) Collect(ch chan<- prometheus.Metric) {
	s := m.Stats()
	gauge := func(d *prometheus.Desc, v float64) { ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v) }
	counter := func(d *prometheus.Desc, v float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v)
	}
	gauge(recordingStreams, float64(s.Recording))
	gauge(recordingWaiting, float64(s.Waiting))
	gauge(recordingSpool, float64(s.SpoolBytes))
	gauge(recordingLag, s.Lag.Seconds())
	counter(recordingSeconds, s.Recorded.Seconds())
	counter(recordingLost, s.Lost.Seconds())
	counter(recordingFailures, float64(s.Failures))
	if !m.perChannel {
		return
	}
	for arn, d := range m.Recorded() {
		ch <- prometheus.MustNewConstMetric(recordingChannel, prometheus.CounterValue, d.Seconds(), arn)
	}
}
