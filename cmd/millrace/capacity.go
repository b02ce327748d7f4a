package main

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/httplimit"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/metrics"
	"github.com/millrace/millrace/internal/proxies"
)

// Resources that are reserved for one stream, before its real use is known. They hold 38
// s of media in segments of 2 s: 16 to 18 s that are listed, as much that has left the
// playlist, and the segment that has begun. The source is taken to have some 4 Mbit/s,
// and all its renditions together twice that.
const (
	streamFiles   = 24
	streamMemory  = 20 << 20
	ladderFiles   = 4 * streamFiles  // further files of a transcoded stream
	ladderMemory  = 144 << 20        // memory of its ffmpeg
	ladderPipes   = 8                // to ffmpeg and from it, with the process's descriptor
	ladderMedia   = 2 * streamMemory // memory for the media of its renditions
	programMemory = 64 << 20         // the program's own
	reservedFiles = 64               // of the database and the control plane
	recordFiles   = 4                // further files of a recorded stream: a journal, a file of media, and what is uploaded
	ladderRecords = 2 * 5            // further files of a recorded stream that is transcoded: a journal and a file of media for each of 5 renditions
)

// What making an MP4 file of a recording needs: ffmpeg, which encodes nothing, its pipes,
// and what it reads from.
const (
	downloadFiles  = 8
	downloadMemory = 48 << 20
)

// A need is the resources that a stream takes from the machine.
type need struct{ files, memory int64 }

// machineUse is the memory that is in use.
type machineUse struct {
	memory int64 // of all programs of the machine, or of the control group
	own    int64 // of this process, its children and its media
}

func (u machineUse) others() int64 { return max(u.memory-u.own, 0) }

// A capacity is the live.Machine of this process: it admits streams as long as the process
// has descriptors, and the machine or the control group has memory, for one more. It refuses
// new streams, because running out would end all.
type capacity struct {
	transcodes bool
	files      int64             // how many segments and files of recorders may be open
	memory     int64             // bytes that this process and its children may use; 0 is unknown
	peers      int64             // bytes that connections and requests of one address may take
	used       func() machineUse // now, or shortly before
	released   atomic.Bool       // something was released since used last measured

	mu       sync.Mutex
	others   int64               // guarded by mu; bytes that other programs had in use when that was measured last
	reserved need                // guarded by mu; resources of all that was admitted
	signed   need                // guarded by mu; resources of MP4 files for signed addresses
	unsigned need                // guarded by mu; resources of MP4 files for all others
	copies   need                // guarded by mu; resources of copies of other nodes' streams
	copiesOf map[netip.Addr]need // guarded by mu; copies, by the client that has begun them
}

func newCapacity(transcodes bool) *capacity {
	limit, used := machineMemory()
	share := divide(descriptors(), limit)
	c := &capacity{
		transcodes: transcodes,
		files:      int64(share.media),
		memory:     limit,
		peers:      share.peers,
	}
	c.used = cached(&c.released, func() machineUse {
		_, media := hls.MemoryFiles()
		return machineUse{used(), processMemory() + media}
	})
	return c
}

// cached returns measure with its result kept for a second, or until old is set: peers
// without a key can cause it to be called.
func cached(old *atomic.Bool, measure func() machineUse) func() machineUse {
	var mu sync.Mutex
	var last machineUse
	var at time.Time
	return func() machineUse {
		mu.Lock()
		defer mu.Unlock()
		if now := time.Now(); old.Swap(false) || now.Sub(at) > time.Second {
			last, at = measure(), now
		}
		return last
	}
}

// Admit reserves what a stream of a channel needs, until it is released.
func (c *capacity) Admit(channel ivs.Channel) (share hls.Share, release func(), err error) {
	n, now := c.stream(channel), c.used()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.hasRoom(n, now); err != nil {
		return nil, nil, err
	}
	c.reserved = c.reserved.plus(n)
	return c.share(c.media(channel)), func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.reserved = c.reserved.minus(n)
		c.released.Store(true)
	}, nil
}

// RoomWithout reports whether there would be room for a stream of a channel without streams
// of others, which have ended.
func (c *capacity) RoomWithout(channel ivs.Channel, ended []ivs.Channel) bool {
	c.released.Store(true) // they may have ended since the last measurement
	now := c.used()
	c.mu.Lock()
	defer c.mu.Unlock()
	reserved := c.reserved
	defer func() { c.reserved = reserved }()
	for _, e := range ended {
		c.reserved = c.reserved.minus(c.stream(e))
		media := c.media(e).memory // its ffmpeg has ended
		now.memory, now.own = now.memory-media, now.own-media
	}
	return c.hasRoom(c.stream(channel), now) == nil
}

// Crowded reports whether media that has ended is in the way of a stream that was admitted:
// it may have more descriptors than were reserved, and Admit counts the reserved ones.
func (c *capacity) Crowded(channel ivs.Channel) bool {
	files, _ := hls.MemoryFiles()
	return files+c.stream(channel).files > c.files
}

// stream returns the resources that a stream of a channel needs.
func (c *capacity) stream(channel ivs.Channel) need {
	n := c.media(channel)
	ladder, recorded := c.transcodes && channel.Type != ivs.TypeBasic, channel.RecordingConfigurationARN != ""
	if ladder {
		n.memory += ladderMemory
		n.files += ladderPipes
	}
	if recorded {
		n.files += recordFiles
	}
	if ladder && recorded {
		n.files += ladderRecords
	}
	return n
}

// media returns the resources that the media of a stream of a channel needs.
func (c *capacity) media(channel ivs.Channel) need {
	if c.transcodes && channel.Type != ivs.TypeBasic {
		return need{streamFiles + ladderFiles, streamMemory + ladderMedia}
	}
	return need{streamFiles, streamMemory}
}

// share returns the limits for media that has reserved n: n, and its part of the resources
// that are neither reserved nor used by other programs. So streams with short segments or
// high bit rates get more as long as resources are free. When other streams come, one
// keeps to its smaller share from its next segment on; if it has ended, or its encoder has
// stalled, it keeps what it has meanwhile (see Crowded).
func (c *capacity) share(n need) hls.Share {
	return func() (files, bytes int64) {
		files, bytes = n.files, unlimited
		now := c.used()
		c.mu.Lock()
		defer c.mu.Unlock()
		c.others = now.others()
		if c.reserved.files > 0 {
			files = max(n.files*c.files/c.reserved.files, n.files)
		}
		if room := c.memory - c.memory/20 - c.base(); c.memory > 0 && c.reserved.memory > 0 {
			bytes = max(int64(float64(n.memory)*float64(room)/float64(c.reserved.memory)), n.memory)
		}
		return files, bytes
	}
}

// admitCopy is relay.Relay's Admit. A copy is admitted as a stream is, so that copies
// take nothing that the streams of this node have reserved. All copies together may take
// half of the resources, and those that one client has begun a quarter; one copy is
// always allowed. So new streams and other viewers still have room.
func (c *capacity) admitCopy(channel ivs.Channel, viewer string) (share hls.Share, release func(), err error) {
	n, client, now := c.media(channel), proxies.ClientOf(viewer), c.used()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.hasRoom(n, now); err != nil {
		return nil, nil, err
	}
	if !c.within(c.copies, n, 2) || !c.within(c.copiesOf[client], n, 4) {
		return nil, nil, errors.New("copies of other nodes' streams, or those that this client has begun, have used up their share of descriptors or memory")
	}
	if c.copiesOf == nil {
		c.copiesOf = map[netip.Addr]need{}
	}
	c.reserved, c.copies, c.copiesOf[client] = c.reserved.plus(n), c.copies.plus(n), c.copiesOf[client].plus(n)
	return c.share(n), func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.reserved, c.copies, c.copiesOf[client] = c.reserved.minus(n), c.copies.minus(n), c.copiesOf[client].minus(n)
		if c.copiesOf[client] == (need{}) {
			delete(c.copiesOf, client)
		}
	}, nil
}

// admitDownload is record.Handler's AdmitDownload. All MP4 files together may take a
// quarter of the resources, and those without a signed address an eighth; one file is
// always allowed, and so is one with a signed address beside it. So clients without a key
// leave room for those with one.
func (c *capacity) admitDownload(signed bool) (release func(), err error) {
	n, now := need{downloadFiles, downloadMemory}, c.used()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.hasRoom(n, now); err != nil {
		return nil, err
	}
	kind, all := &c.unsigned, c.signed.plus(c.unsigned)
	room := c.within(all, n, 4) && c.within(c.unsigned, n, 8)
	if signed {
		kind, room = &c.signed, c.within(all, n, 4) || c.signed == (need{})
	}
	if !room {
		return nil, errors.New("MP4 files of recordings have used up their share of descriptors or memory")
	}
	c.reserved, *kind = c.reserved.plus(n), kind.plus(n)
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.reserved, *kind = c.reserved.minus(n), kind.minus(n)
	}, nil
}

// hasRoom returns why there is no room for n; nil if there is. now is the memory in use.
// Descriptors count as reserved, not as used: streams that have more than they reserved
// give them up at their next segment, since n makes their share smaller. Memory counts as
// used or as reserved, whichever is more: reserved memory may not have been taken yet. It
// is called with mu held.
func (c *capacity) hasRoom(n need, now machineUse) error {
	c.others = now.others()
	if c.reserved.files+n.files > c.files {
		return fmt.Errorf("no file descriptors are left: %d of %d are reserved (ulimit -n)", c.reserved.files, c.files)
	}
	if inUse := max(now.memory, c.base()+c.reserved.memory); c.memory > 0 && inUse+n.memory > c.memory-c.memory/20 {
		return fmt.Errorf("no memory is left: %d of %d MiB are in use or reserved", inUse>>20, c.memory>>20)
	}
	return nil
}

// base returns the memory that is not available to media: that of other programs, of this
// one, and of peers. It is called with mu held.
func (c *capacity) base() int64 { return c.others + programMemory + c.peers }

// within reports whether have and n together fit into a fraction of the resources: half
// of them if part is 2. The first of a kind always fits.
func (c *capacity) within(have, n need, part int64) bool {
	all := have.plus(n)
	return have == need{} || all.files <= c.files/part && (c.memory == 0 || all.memory <= (c.memory-c.memory/20-c.base())/part)
}

// figures are those of /metrics.
func (c *capacity) figures() metrics.MachineFigures {
	return metrics.MachineFigures{MediaFiles: c.files, MemoryUsed: c.used().memory, MemoryLimit: c.memory}
}

// streams returns how many streams the machine can carry if none is transcoded.
func (c *capacity) streams() int {
	n := c.files / streamFiles
	if c.memory > 0 {
		n = min(n, (c.memory-c.memory/20-programMemory-c.peers)/streamMemory)
	}
	return int(max(n, 0))
}

func (n need) plus(m need) need  { return need{n.files + m.files, n.memory + m.memory} }
func (n need) minus(m need) need { return need{n.files - m.files, n.memory - m.memory} }

// Limits of the ports. They are lower on a machine with few descriptors or little memory:
// see divide. docs/limits.md has all bounds.
const (
	maxRTMPConns  = 8_192   // on RTMP, and as many on RTMPS
	maxHTTPConns  = 16_384  // half of them from one address: a proxy in front is one
	maxViews      = 20_000  // playback requests, most of which wait
	maxRecordings = 1_024   // requests for recordings, each of which has something open
	maxOthers     = 4_096   // requests over HTTP/2 for anything else
	maxCalls      = 1_024   // API calls, each of which may have a body in memory
	maxHeaders    = 8 << 20 // bytes of headers that are being received
)

// shares are how the process's descriptors and the machine's memory are divided.
type shares struct {
	http           int   // connections
	rtmp           int   // connections of each of the two ports
	playback       int   // requests at a time
	recordings     int   // requests for recordings at a time
	others         int   // requests over HTTP/2 for anything else at a time
	calls          int   // of the API at a time
	configurations int   // calls of GetClientConfiguration at a time
	headers        int   // bytes of headers that are being received, of which not all are counted
	media          int   // files in memory
	peers          int64 // bytes of memory that one address may take by all of these but media
}

// ownShares returns the shares of this process.
func ownShares() shares {
	limit, _ := machineMemory()
	return divide(descriptors(), limit)
}

// rtmpOfOne is how many connections to one of the RTMP ports an address may have.
func (s shares) rtmpOfOne() int { return max(min(s.rtmp/2, maxRTMPConns/8), 1) }

// The most memory that each of these takes, with the stack of its goroutine.
const (
	rtmpMemory      = 256 << 10 // messages before publish, and buffers
	requestMemory   = 64 << 10  // with the buffers through which media is sent: of HTTP/1.1 32 KiB, of HTTP/2 a frame of 16 KiB
	recordingMemory = 96 << 10  // with the buffer of a connection to a bucket
	callMemory      = 256 << 10 // the body
	configMemory    = 64 << 10  // the body of GetClientConfiguration
)

// divide leaves some of the files to the database and the control plane, and most of the
// memory (0 is unknown) to media, whatever peers do.
func divide(files int, memory int64) shares {
	if memory == 0 {
		memory = unlimited
	}
	part := func(most, of int, each int64) int { return int(max(min(memory/int64(of)/each, int64(most)), 1)) }
	s := shares{
		http:           min(part(maxHTTPConns, 12, httplimit.ConnMemory), files*3/8),
		rtmp:           min(part(maxRTMPConns, 32, rtmpMemory), files/8),
		playback:       part(maxViews, 8, requestMemory),
		recordings:     min(part(maxRecordings, 32, recordingMemory), files/16),
		others:         part(maxOthers, 32, requestMemory),
		calls:          part(maxCalls, 16, callMemory),
		configurations: part(maxCalls, 64, configMemory),
		headers:        max(part(maxHeaders, 32, httplimit.HeaderCost), 4*httplimit.MaxHeader1),
	}
	s.media = max(files-s.http-2*s.rtmp-s.recordings-reservedFiles, 0)
	all := int64(s.http)*httplimit.ConnMemory + 2*int64(s.rtmp)*rtmpMemory + int64(s.playback)*requestMemory + int64(s.recordings)*recordingMemory + int64(s.others)*requestMemory + int64(s.calls)*callMemory + int64(s.configurations)*configMemory
	s.peers = all/2 + int64(s.headers)*httplimit.HeaderCost/4
	return s
}

// machineMemory returns the memory that this process and its children may use, and how
// much of it is in use: of the control group with the smallest limit, or of the machine
// if none has a limit. The limit is 0 if it is unknown. Control groups are looked for
// below MILLRACE_CGROUP_ROOT, or where most systems mount them.
func machineMemory() (limit int64, used func() int64) {
	if group := findMemoryGroup(cmp.Or(os.Getenv(cgroupRoot), "/sys/fs/cgroup"), "/proc/self/cgroup"); group.limit > 0 {
		return group.limit, group.used
	}
	total := meminfo("MemTotal")
	return total, func() int64 { return total - meminfo("MemAvailable") }
}

// A memoryGroup is a control group whose memory is limited.
type memoryGroup struct {
	limit        int64
	usage, stats string // files
	cache        string // what precedes the names in stats of file pages that the kernel can reclaim
}

// findMemoryGroup finds the control group with the smallest limit of those that
// hold this process, of version 2 or 1 of cgroups(7). In a container only its own
// may be visible, at the root.
func findMemoryGroup(root, self string) (g memoryGroup) {
	text, err := os.ReadFile(self)
	if err != nil {
		return g
	}
	for line := range strings.Lines(string(text)) {
		id, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, name, _ := strings.Cut(rest, ":")
		switch {
		case id == "0" && controllers == "":
			g = g.smaller(root, name, memoryGroup{usage: "/memory.current"}, "/memory.max")
		case slices.Contains(strings.Split(controllers, ","), "memory"):
			g = g.smaller(root+"/memory", name, memoryGroup{usage: "/memory.usage_in_bytes", cache: "total_"}, "/memory.limit_in_bytes")
		}
	}
	return g
}

// smaller returns the one with the smallest limit of g, the group name below root, and
// the groups around that. files has the file names of its version.
func (g memoryGroup) smaller(root, name string, files memoryGroup, limit string) memoryGroup {
	for at := path.Clean("/" + name); ; at = path.Dir(at) {
		if n, ok := readNumber(root + at + limit); ok && n < unlimited && (g.limit == 0 || n < g.limit) {
			g = memoryGroup{n, root + at + files.usage, root + at + "/memory.stat", files.cache}
		}
		if at == "/" {
			return g
		}
	}
}

// processMemory returns the memory that only this process and its children use
// (proc_pid_statm(5)); 0 if it is unknown.
func processMemory() (bytes int64) {
	pids := []string{"self"}
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		return 0
	}
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended
		}
		pids = append(pids, strings.Fields(string(text))...)
	}
	for _, pid := range pids {
		var size, resident, shared int64
		text, err := os.ReadFile("/proc/" + pid + "/statm")
		if err != nil {
			continue // the process has ended
		}
		if _, err := fmt.Sscan(string(text), &size, &resident, &shared); err == nil {
			bytes += resident - shared
		}
	}
	return bytes * int64(os.Getpagesize())
}

// unlimited is more than any machine has. Version 1 of control groups shows about as much
// for no limit.
const unlimited = 1 << 60

// used returns the memory that the group uses, without the file pages that the kernel can
// reclaim: those that were read once, and those that were read again, such as of a bucket
// that is a folder. Files in memory are not among these pages.
func (g memoryGroup) used() int64 {
	used, _ := readNumber(g.usage)
	text, err := os.ReadFile(g.stats)
	if err != nil {
		return used
	}
	once, _ := field(bytes.NewReader(text), g.cache+"inactive_file")
	again, _ := field(bytes.NewReader(text), g.cache+"active_file")
	return max(used-once-again, 0)
}

func readNumber(name string) (n int64, ok bool) {
	text, err := os.ReadFile(name)
	if err != nil {
		return 0, false
	}
	n, err = strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n, err == nil // "max" is not a number
}

// meminfo is a line of proc_meminfo(5), in bytes; 0 where there is none.
func meminfo(name string) int64 {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0
	}
	defer f.Close()
	kilobytes, _ := field(f, name+":")
	return kilobytes << 10
}

// field finds the number behind name at the beginning of a line.
func field(r io.Reader, name string) (n int64, ok bool) {
	for lines := bufio.NewScanner(r); lines.Scan(); {
		if words := strings.Fields(lines.Text()); len(words) > 1 && words[0] == name {
			n, err := strconv.ParseInt(words[1], 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
