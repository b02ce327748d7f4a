package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/internal/bucket"
	"github.com/millrace/millrace/internal/cluster"
	"github.com/millrace/millrace/internal/live"
	"github.com/millrace/millrace/internal/record"
	"github.com/millrace/millrace/internal/store"
)

// recordingFlags configure where recordings are stored, and who may watch them.
type recordingFlags struct {
	Buckets    string   `name:"buckets" placeholder:"PLACE" help:"Where recording buckets live: a folder, or s3://. Default: buckets in the data folder."`
	Spool      byteSize `name:"recording-spool" default:"10GiB" placeholder:"SIZE" help:"How much recorded media may wait on disk, in the data folder, for buckets that are slow or cannot be reached (${default})."`
	Recordings bool     `name:"recordings-public" help:"Serve recordings at /recordings/<bucket>/<key> to everyone, for teams without a CDN; those of private channels to viewers with a playback token (?token=)."`
}

// buckets returns the place of recording buckets.
func (c config) buckets() string { return cmp.Or(c.Buckets, filepath.Join(c.Data, "buckets")) }

// recorder returns the recorder, with the recordings that were open when the server
// stopped.
func (c config) recorder(ctx context.Context, db *store.DB, buckets *bucket.Place, node *cluster.Node, log *slog.Logger) (*record.Recorder, error) {
	r, err := record.New(record.Config{
		Store: db, Buckets: buckets, Owner: node.Name, OwnerLost: node.Lost, Folder: filepath.Join(c.Data, "spool"), MaxSpool: int64(c.Spool), FFmpeg: c.FFmpeg, Log: log,
	})
	if err != nil {
		return nil, err
	}
	if err := r.Recover(ctx); err != nil {
		return nil, fmt.Errorf("recovering open recordings: %w", err)
	}
	return r, nil
}

// recordSession starts the recording of a session, if it has a configuration.
func recordSession(r *record.Recorder) func(*live.Session) func(lost bool) {
	return func(s *live.Session) func(bool) {
		stream := record.Stream{ChannelARN: s.Channel.ARN, StreamID: s.StreamID, Media: s.Stream}
		if s.Transcoded() {
			stream.Thumbnail = func() (jpeg []byte, date time.Time, more bool) {
				more = s.Transcoded() // asked first: none comes after it was false
				if t := s.Thumbnail(); t != nil {
					jpeg, date = t.JPEG, t.Date
				}
				return jpeg, date, more
			}
		}
		return r.Start(stream)
	}
}

// A byteSize is a number of bytes: "10GiB", "500MB", "4096".
type byteSize int64

var byteUnits = []struct {
	suffix string
	bytes  int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"B", 1}, {"", 1},
}

// UnmarshalText reads a size.
func (b *byteSize) UnmarshalText(text []byte) error {
	for _, u := range byteUnits {
		number, ok := strings.CutSuffix(string(text), u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if size := n * float64(u.bytes); err == nil && size >= 1 && size < 1<<62 {
			*b = byteSize(size)
			return nil
		}
		break
	}
	return fmt.Errorf("%q is no size: it is a number with a unit, such as 500MiB or 10GiB", text)
}

// String is the size in the largest unit of which it is a whole number.
func (b byteSize) String() string {
	for _, u := range byteUnits {
		if b >= byteSize(u.bytes) && b%byteSize(u.bytes) == 0 {
			return strconv.FormatInt(int64(b)/u.bytes, 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

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

// Describe sends the descriptions of the figures.
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
