package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/logs"
)

// MachineFigures say what of the machine is in use.
type MachineFigures struct {
	MediaFiles  int64 // descriptors that may hold media
	MemoryUsed  int64 // of this process's control group, or of the machine
	MemoryLimit int64 // 0 is unknown
}

// machineMetrics are those of the machine, and of media in memory, of which the resident set
// has only what viewers get over HTTP/2.
type machineMetrics struct{ figures func() MachineFigures }

var (
	mediaBytesDesc  = prometheus.NewDesc("millrace_media_bytes", "Media in memory: the segments of all renditions.", nil, nil)
	mediaFilesDesc  = prometheus.NewDesc("millrace_media_file_descriptors", "File descriptors that hold them.", nil, nil)
	partsLostDesc   = prometheus.NewDesc("millrace_media_parts_lost_total", "Parts of streams that were left out because the process had no file descriptor or memory for them.", nil, nil)
	filesLimitDesc  = prometheus.NewDesc("millrace_media_file_descriptors_limit", "File descriptors that may hold media; beyond it new streams are refused.", nil, nil)
	memoryUsedDesc  = prometheus.NewDesc("millrace_memory_used_bytes", "Memory in use in this process's control group, or on the machine where that has no limit.", nil, nil)
	memoryLimitDesc = prometheus.NewDesc("millrace_memory_limit_bytes", "The limit of that memory, 0 if unknown; at 95 % new streams are refused.", nil, nil)
)

// Describe sends the descriptions of the metrics.
func (m machineMetrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{mediaBytesDesc, mediaFilesDesc, partsLostDesc, filesLimitDesc, memoryUsedDesc, memoryLimitDesc} {
		out <- d
	}
}

// Collect sends the figures of now.
func (m machineMetrics) Collect(out chan<- prometheus.Metric) {
	files, size := hls.MemoryFiles()
	machine := m.figures()
	for desc, v := range map[*prometheus.Desc]int64{mediaBytesDesc: size, mediaFilesDesc: files, filesLimitDesc: machine.MediaFiles, memoryUsedDesc: machine.MemoryUsed, memoryLimitDesc: machine.MemoryLimit} {
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(v))
	}
	out <- prometheus.MustNewConstMetric(partsLostDesc, prometheus.CounterValue, float64(hls.LostParts()))
}

// logMetrics count the log lines that were dropped.
type logMetrics struct{ log *logs.Writer }

var logDroppedDesc = prometheus.NewDesc("millrace_log_lines_dropped_total", "Log lines that were not written: \"slow\" where the log's reader is slow, stuck or gone, \"limit\" where peers without a valid key caused too many.", []string{"reason"}, nil)

// Describe sends the descriptions of the metrics.
func (m logMetrics) Describe(out chan<- *prometheus.Desc) { out <- logDroppedDesc }

// Collect sends the figures of now.
func (m logMetrics) Collect(out chan<- prometheus.Metric) {
	out <- prometheus.MustNewConstMetric(logDroppedDesc, prometheus.CounterValue, float64(m.log.Dropped()), "slow")
	out <- prometheus.MustNewConstMetric(logDroppedDesc, prometheus.CounterValue, float64(m.log.Omitted()), "limit")
}
