package main

import (
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/api"
	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/live"
	"github.com/millrace/millrace/internal/record"
	"github.com/millrace/millrace/internal/store"
)

// A machineReport serves GET /_millrace/server: this node, the use of its machine, and the
// quotas of an account.
type machineReport struct {
	cfg      config
	node     string
	began    time.Time
	hub      *live.Hub
	machine  *capacity
	recorder *record.Recorder
}

// A serverOutput describes a node and the use of its machine.
type serverOutput struct {
	Node        string        `json:"node"`
	Version     string        `json:"version"`
	StartTime   time.Time     `json:"startTime"`
	Streams     int           `json:"streams"` // live on this node
	Viewers     int           `json:"viewers"` // of this node
	CPU         ticksOutput   `json:"cpu"`
	Memory      usedOutput    `json:"memory"`      // bytes, of the control group or the machine
	Descriptors usedOutput    `json:"descriptors"` // of this process
	MediaFiles  usedOutput    `json:"mediaFiles"`  // of the descriptors, those that hold media
	MediaBytes  int64         `json:"mediaBytes"`  // media in memory
	Disk        usedOutput    `json:"disk"`        // bytes, of the file system of --data
	Spool       spoolOutput   `json:"spool"`
	Transcode   loadOutput    `json:"transcode"`
	Quotas      []quotaOutput `json:"quotas"`
}

// A ticksOutput counts ticks of all cores since the machine's start: the difference of two
// answers is how busy it was between them. 0 of 0 is unknown.
type ticksOutput struct {
	Cores int   `json:"cores"`
	Busy  int64 `json:"busy"`
	Total int64 `json:"total"`
}

// A usedOutput is how much of something is in use.
type usedOutput struct {
	Used  int64 `json:"used"`
	Limit int64 `json:"limit"` // 0 is unknown
}

// A spoolOutput is recorded media that is not in its bucket, in bytes.
type spoolOutput struct {
	usedOutput
	LagSeconds float64 `json:"lagSeconds"` // how long the oldest of it has waited
}

// A loadOutput is in ladders of 1280x720 at 30 frames per second.
type loadOutput struct {
	Used   float64 `json:"used"`
	Limit  float64 `json:"limit"`
	Reason string  `json:"reason,omitempty"` // why nothing is transcoded
}

// A quotaOutput is a quota of an account in a region.
type quotaOutput struct {
	Name    string `json:"name"`
	Limit   int    `json:"limit"`
	Setting string `json:"setting"` // the flag that changes it, without its dashes
}

// answer serves GET /_millrace/server: what a node is, what of its machine is in use, and what
// an account may have.
//
//   - node: Name of a node of the cluster. By default, the one that answers.
func (m machineReport) answer(w http.ResponseWriter, _ *http.Request, _ store.Scope) error {
	out := serverOutput{Node: m.node, Version: version, StartTime: m.began.UTC().Truncate(time.Second), Quotas: m.cfg.quotaList()}
	out.Streams, out.Viewers = m.hub.Counts()
	out.CPU = ticksOutput{Cores: runtime.NumCPU()}
	if text, err := os.ReadFile("/proc/stat"); err == nil {
		out.CPU.Busy, out.CPU.Total = cpuTicks(string(text))
	}
	out.Memory = usedOutput{m.machine.used().memory, m.machine.memory}
	out.Descriptors.Used = openDescriptors()
	if limit := descriptors(); limit < 1<<30 {
		out.Descriptors.Limit = int64(limit)
	}
	files, size := hls.MemoryFiles()
	out.MediaFiles, out.MediaBytes = usedOutput{files, m.machine.files}, size
	free, total := diskSpace(m.cfg.Data)
	out.Disk = usedOutput{total - free, total}
	recording := m.recorder.Stats()
	out.Spool = spoolOutput{usedOutput{recording.SpoolBytes, int64(m.cfg.Spool)}, recording.Lag.Seconds()}
	out.Transcode.Used, out.Transcode.Limit = m.hub.Transcode.Load()
	if err := m.hub.Transcode.Err(); err != nil {
		out.Transcode.Reason = err.Error()
	}
	api.Reply(w, out)
	return nil
}

// quotaList has the quotas and the limits of an account in a region.
func (c config) quotaList() []quotaOutput {
	return []quotaOutput{
		{"Channels", c.Channels, "quota-channels"},
		{"Recording configurations", c.RecordingConfigurations, "quota-recording-configurations"},
		{"Ad configurations", c.AdConfigurations, "quota-ad-configurations"},
		{"Playback key pairs", c.PlaybackKeyPairs, "quota-playback-key-pairs"},
		{"Playback restriction policies", c.PlaybackRestrictionPolicies, "quota-playback-restriction-policies"},
		{"Concurrent streams", c.MaxStreams, "max-streams"},
		{"Concurrent viewers", c.MaxViews, "max-views"},
	}
}

// cpuTicks reads the first line of proc_stat(5): user, nice, system, idle, iowait,
// irq, softirq and steal. Guests are counted in user already.
func cpuTicks(stat string) (busy, total int64) {
	line, _, _ := strings.Cut(stat, "\n")
	words := strings.Fields(line)
	if len(words) < 5 || words[0] != "cpu" {
		return 0, 0
	}
	for i, word := range words[1:min(len(words), 9)] {
		n, err := strconv.ParseInt(word, 10, 64)
		if err != nil {
			return 0, 0
		}
		total += n
		if i != 3 && i != 4 {
			busy += n
		}
	}
	return busy, total
}

// openDescriptors is how many this process has open; 0 is unknown.
func openDescriptors() int64 {
	f, err := os.Open("/proc/self/fd")
	if err != nil {
		return 0
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return 0
	}
	return int64(len(names))
}
