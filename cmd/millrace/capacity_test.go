package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
	"github.com/aws/aws-sdk-go-v2/service/ivs/types"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/httplimit/http2test"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/rtmp"
)

// The newest stream is refused, in words, when what is reserved or in use leaves
// no room; what a stream gives back can be reserved again.
func TestCapacity(t *testing.T) {
	var now machineUse
	c := &capacity{files: 3 * streamFiles, memory: programMemory + 100*streamMemory, used: func() machineUse { return now }}
	basic := ivs.Channel{Type: ivs.TypeBasic}
	var release []func()
	for range 3 {
		_, r, err := c.Admit(basic)
		if err != nil {
			t.Fatal(err)
		}
		release = append(release, r)
	}
	refused := func(says string) {
		t.Helper()
		if _, _, err := c.Admit(basic); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("admit = %v, want %q", err, says)
		}
	}
	refused("72 of 72 are reserved")
	recorded := ivs.Channel{Type: ivs.TypeBasic, RecordingConfigurationARN: "arn"}
	if !c.RoomWithout(basic, []ivs.Channel{basic}) || c.RoomWithout(recorded, []ivs.Channel{basic}) || c.RoomWithout(basic, nil) {
		t.Error("a stream that has ended gives another's room, or more than it has")
	}
	now = machineUse{memory: c.memory - c.memory/20, own: 3 * streamMemory}
	if c.RoomWithout(basic, []ivs.Channel{basic, basic}) {
		t.Error("streams that have ended give the memory that other programs use")
	}
	now = machineUse{}
	release[0]()
	if _, _, err := c.Admit(basic); err != nil {
		t.Errorf("after a release: %v", err)
	}
	release[1]()
	now = machineUse{memory: c.memory - c.memory/20 - streamMemory + 1}
	now.own = now.memory
	refused("no memory is left")
	now.own, now.memory = 0, c.memory-c.memory/20-programMemory-3*streamMemory+1 // of others: two streams are reserved and have not begun
	refused("no memory is left")
	now = machineUse{}
	c.peers = 97 * streamMemory // with what peers may take, there is room for two streams
	refused("no memory is left")
	c.peers = 0
	c.files = c.reserved.files + streamFiles + recordFiles - 1
	if _, _, err := c.Admit(recorded); err == nil {
		t.Error("a recording is taken to need no descriptor")
	}
	c.transcodes = true
	if _, _, err := c.Admit(ivs.Channel{Type: ivs.TypeStandard}); err == nil {
		t.Error("a ladder is taken to need no more than its source")
	}
	c.files = c.reserved.files + streamFiles + ladderFiles + ladderPipes - 1
	if _, _, err := c.Admit(ivs.Channel{Type: ivs.TypeStandard}); err == nil {
		t.Error("ffmpeg is taken to need no pipes")
	}
	c.files++
	if _, _, err := c.Admit(ivs.Channel{Type: ivs.TypeStandard}); err != nil {
		t.Error(err)
	}
}

// The media of all streams together has no more than there is, whatever their bit rates and
// the lengths of their segments: each has as much as it has reserved, and its part of the
// rest.
func TestShareOfMedia(t *testing.T) {
	now := machineUse{memory: 1 << 30}
	c := &capacity{transcodes: true, files: 20 * streamFiles, memory: 4 << 30, used: func() machineUse { return now }}
	c.peers = 256 << 20
	var shares []hls.Share
	for i := range 12 {
		share, _, err := c.Admit(ivs.Channel{Type: []string{ivs.TypeBasic, ivs.TypeBasic, ivs.TypeStandard}[i%3]})
		if err != nil {
			break
		}
		shares = append(shares, share)
		allFiles, allBytes := int64(0), int64(0)
		for n, share := range shares {
			files, bytes := share()
			if need := c.media(ivs.Channel{Type: []string{ivs.TypeBasic, ivs.TypeBasic, ivs.TypeStandard}[n%3]}); files < need.files || bytes < need.memory {
				t.Errorf("of %d streams, one has %d files and %d MiB of %+v", len(shares), files, bytes>>20, need)
			}
			allFiles, allBytes = allFiles+files, allBytes+bytes
		}
		if allFiles > c.files || allBytes > c.memory-c.memory/20-1<<30-programMemory-c.peers {
			t.Errorf("%d streams may have %d of %d files and %d MiB", len(shares), allFiles, c.files, allBytes>>20)
		}
	}
	if len(shares) != 8 { // two of them transcoded
		t.Errorf("%d streams were admitted", len(shares))
	}
	files, bytes := shares[0]()
	if files < streamFiles || bytes < 2*streamMemory {
		t.Errorf("a stream has %d files and %d MiB, and nothing of what is free", files, bytes>>20)
	}
	now.memory = 2 << 30
	if _, less := shares[0](); less >= bytes || less < streamMemory {
		t.Errorf("a stream has %d MiB, and had %d before other programs took a GiB", less>>20, bytes>>20)
	}
}

// Whether there is a descriptor for one more stream does not depend on how many the streams
// before it have taken: as long as they were alone, they may have more than they reserved.
// One that has ended has no segment left at which it would give way, and is forgotten.
func TestShortSegmentsLeaveRoom(t *testing.T) {
	c := &capacity{files: 3 * streamFiles, used: func() machineUse { return machineUse{} }}
	share, release, err := c.Admit(ivs.Channel{Type: ivs.TypeBasic})
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	s := &hls.Stream{Window: 2 * time.Minute, Share: share}
	defer s.Release()
	r := s.AddRendition("source", hls.Listing{})
	before, _ := hls.MemoryFiles()
	added := int64(0)
	taken := func() int64 {
		t.Helper()
		for range 4 * streamFiles {
			if err := r.AddPart(hls.Head{Number: added, Init: &hls.Init{}, Independent: true}, hls.Part{Number: added, End: time.Second, Duration: time.Second}, hls.Details{}, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			r.EndSegment(time.Second, false)
			added++
		}
		files, _ := hls.MemoryFiles()
		return files - before
	}
	var others []func()
	for n, most := range []int64{3 * streamFiles, 3 * streamFiles / 2, streamFiles} {
		if files := taken(); files > most || files < most*3/4 {
			t.Errorf("beside %d other streams it has %d files, want %d at most", n, files, most)
		}
		if n < 2 {
			_, release, err := c.Admit(ivs.Channel{Type: ivs.TypeBasic})
			if err != nil {
				t.Fatalf("there is no room for another stream: %v", err)
			}
			others = append(others, release)
		}
	}
	for _, release := range others {
		release()
	}
	if files := taken(); files <= streamFiles {
		t.Errorf("alone again it has %d files", files)
	}
	r.Close()
	if !c.Crowded(ivs.Channel{Type: ivs.TypeBasic}) {
		t.Error("there are descriptors for another stream beside one that has ended with all of them")
	}
	s.Release()
	if c.Crowded(ivs.Channel{Type: ivs.TypeBasic}) {
		t.Error("there are no descriptors for another stream when one was forgotten that had all")
	}
}

// Copies of other nodes' streams get half of the machine, and those that one client has
// begun a quarter, or one copy; streams of this node get the rest, and both give back what
// they had.
func TestCapacityOfCopies(t *testing.T) {
	c := &capacity{files: 16 * streamFiles, used: func() machineUse { return machineUse{} }}
	basic := ivs.Channel{Type: ivs.TypeBasic}
	admitted := func(viewer string) (release []func()) {
		for {
			_, r, err := c.admitCopy(basic, viewer)
			if err != nil {
				return release
			}
			release = append(release, r)
		}
	}
	one, two, three := admitted("[2001:db8::1]:80"), admitted("192.0.2.1:80"), admitted("192.0.2.2:80")
	if len(one) != 4 || len(two) != 4 || len(three) != 0 {
		t.Errorf("clients have %d, %d and %d copies, want 4, 4 and none", len(one), len(two), len(three))
	}
	one[0]()
	if n := len(admitted("[2001:db8::2]:80")); n != 1 {
		t.Errorf("%d copies are admitted in place of one, for an address of the same /64", n)
	}
	var streams []func()
	for {
		_, r, err := c.Admit(basic)
		if err != nil {
			break
		}
		streams = append(streams, r)
	}
	if len(streams) != 8 {
		t.Errorf("%d streams are admitted beside copies, want 8", len(streams))
	}
	for _, release := range slices.Concat(one[1:], two, streams) {
		release()
	}
	if want := (need{streamFiles, streamMemory}); c.reserved != want || c.copies != want || len(c.copiesOf) != 1 {
		t.Errorf("%+v, %+v and %v are reserved by one copy", c.reserved, c.copies, c.copiesOf)
	}
	small := &capacity{transcodes: true, files: streamFiles + ladderFiles, memory: programMemory + 4*(streamMemory+ladderMedia), used: func() machineUse { return machineUse{} }}
	if _, _, err := small.admitCopy(ivs.Channel{Type: ivs.TypeStandard}, "192.0.2.1:80"); err != nil {
		t.Errorf("a machine for one stream copies none: %v", err)
	}
	if _, _, err := small.admitCopy(basic, "192.0.2.1:80"); err == nil || !strings.Contains(err.Error(), "no file descriptors are left") {
		t.Errorf("one copy more: %v", err)
	}
	full := &capacity{files: 16 * streamFiles, memory: 64 << 20, used: func() machineUse { return machineUse{memory: 60 << 20} }}
	if _, _, err := full.admitCopy(basic, "192.0.2.1:80"); err == nil || !strings.Contains(err.Error(), "no memory is left") {
		t.Errorf("a copy without memory: %v", err)
	}
}

// MP4 files of recordings that are being made get a quarter of the machine, or one, and
// only what streams have left. Those that are not signed leave half of that, or room for one.
func TestCapacityOfDownloads(t *testing.T) {
	c := &capacity{files: 1 << 20, memory: 4 << 30, used: func() machineUse { return machineUse{} }}
	var release []func()
	fill := func(signed bool) (mebibytes int64) {
		t.Helper()
		for {
			r, err := c.admitDownload(signed)
			if err != nil {
				if !strings.Contains(err.Error(), "have used up their share") {
					t.Error(err)
				}
				return mebibytes
			}
			mebibytes += downloadMemory >> 20
			release = append(release, r)
		}
	}
	all := c.memory >> 20
	unsigned := fill(false)
	if unsigned > all/8 || unsigned < all/10 {
		t.Errorf("MP4 files that are not signed have %d of %d MiB", unsigned, all)
	}
	if n := unsigned + fill(true); n > all/4 || n < all/5 {
		t.Errorf("MP4 files have %d of %d MiB", n, all)
	}
	release[0]() // of those that are not signed
	if n := fill(true); n != downloadMemory>>20 {
		t.Errorf("MP4 files have %d MiB where one has ended", n)
	}
	if n := fill(false); n != 0 {
		t.Errorf("MP4 files that are not signed have %d MiB beyond the share of all", n)
	}
	for _, r := range release[1:] {
		r()
	}
	if c.reserved != (need{}) || c.signed != (need{}) || c.unsigned != (need{}) {
		t.Errorf("%+v, %+v and %+v are reserved by nothing", c.reserved, c.signed, c.unsigned)
	}
	c.memory = 320 << 20
	for _, signed := range []bool{false, true} {
		if n := fill(signed); n != downloadMemory>>20 {
			t.Errorf("MP4 files (signed: %v) of a small machine: %d MiB, want one file", signed, n)
		}
	}
	for err := error(nil); err == nil; {
		_, _, err = c.Admit(ivs.Channel{Type: ivs.TypeBasic})
	}
	c.signed = need{}
	if _, err := c.admitDownload(true); err == nil || !strings.Contains(err.Error(), "no memory is left") {
		t.Errorf("an MP4 file beside as many streams as there is room for: %v", err)
	}
}

// The memory limit is that of the innermost control group that has one, in both
// versions of control groups.
func TestMemoryGroup(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check := func(limit, used int64) {
		t.Helper()
		g := findMemoryGroup(root, filepath.Join(root, "self"))
		if g.limit != limit || limit != 0 && g.used() != used {
			t.Errorf("found %+v, want a limit of %d and %d used", g, limit, used)
		}
	}
	write("self", "4:memory:/x\n0::/outer/inner\n")
	write("outer/inner/memory.max", "max\n")
	write("outer/memory.max", "268435456\n")
	write("outer/memory.current", "3000\n")
	write("outer/memory.stat", "anon 1\ninactive_file 1000\nactive_file 500\nfile 2000\n")
	check(256<<20, 1500)
	write("outer/memory.max", "max\n")
	check(0, 0)

	// Version 1, with the controller mounted beside others.
	write("self", "7:cpu,cpuacct:/y\n4:memory:/x/z\n1:name=systemd:/x\n0::/\n")
	write("memory/memory.limit_in_bytes", "9223372036854771712\n") // no limit
	check(0, 0)
	write("memory/x/memory.limit_in_bytes", "134217728\n")
	write("memory/x/memory.usage_in_bytes", "5000\n")
	write("memory/x/memory.stat", "inactive_file 1\nactive_file 2\ntotal_inactive_file 1000\ntotal_active_file 500\n")
	write("memory/x/z/memory.limit_in_bytes", "9223372036854771712\n")
	check(128<<20, 3500)
}

// Whatever peers may have open at a time leaves descriptors and memory for media.
func TestShares(t *testing.T) {
	for _, files := range []int{256, 280, 1024, 1 << 20} {
		for _, memory := range []int64{0, 256 << 20, 2 << 30, 64 << 30} {
			s := divide(files, memory)
			if s.http+2*s.rtmp+s.recordings+s.media+reservedFiles > files || min(s.http, s.rtmp, s.rtmpOfOne(), s.playback, s.recordings, s.others, s.calls, s.media) < 1 {
				t.Errorf("of %d descriptors, %+v", files, s)
			}
			if s.http > maxHTTPConns || s.rtmp > maxRTMPConns || s.playback > maxViews || memory > 0 && (s.peers > memory/4 || int64(s.configurations)*configMemory > memory/64) {
				t.Errorf("of %d MiB, %+v", memory>>20, s)
			}
		}
	}
	if s := divide(1<<20, 0); s.http != maxHTTPConns || s.rtmp != maxRTMPConns || s.playback != maxViews || s.calls != maxCalls || s.recordings != maxRecordings {
		t.Errorf("with all that a machine can have, %+v", s)
	}
	if n := descriptors(); n < 64 {
		t.Errorf("descriptors() = %d", n)
	}
}

// With 1,024 descriptors, the streams that are too many are refused and learn why.
// The streams that were there continue, are recorded, and lose nothing when others take all
// connections of all ports and as many recordings as they get; and so does the API.
func TestFewDescriptors(t *testing.T) {
	limited := func(c *exec.Cmd) {
		c.Args = append([]string{"sh", "-c", `ulimit -n 1024 && exec "$0" "$@"`, c.Path}, c.Args[1:]...)
		c.Path = "/bin/sh"
	}
	s := startProcess(t, "", limited, "serve", "--recordings-public")
	clip, err := recordTestPattern(t.Context(), testPattern{Size: "160x90", FPS: 10, Bitrate: 60})
	if err != nil {
		t.Fatal(err)
	}
	recording := s.recordingConfiguration(awsivs.CreateRecordingConfigurationInput{})
	first, key := s.channel(awsivs.CreateChannelInput{InsecureIngest: true, RecordingConfigurationArn: recording})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- publishTo(ctx, rtmpURL(s.rtmp, key), &paced{source: clip.loop()}, nil) }()
	stream := s.live(first.Arn)
	waitPlayable(t, *first.PlaybackUrl)
	viewer := s.watch(t, *first.PlaybackUrl)

	media := divide(1024, 0).media
	admitted := 1 + (media-streamFiles-recordFiles)/streamFiles
	refused := make(chan error, 2*admitted)
	for range 2 * admitted {
		_, key := s.channel(awsivs.CreateChannelInput{InsecureIngest: true})
		go func() { refused <- publishTo(ctx, rtmpURL(s.rtmp, key), &paced{source: clip.loop()}, nil) }()
	}
	for range admitted + 1 {
		var refusal *rtmp.StatusError
		if err := <-refused; !errors.As(err, &refusal) || !strings.Contains(refusal.Description, "no file descriptors are left") {
			t.Errorf("one stream too many: %v", err)
		}
	}
	s.fillPorts(first)
	seen := viewer.segments()
	for range 20 {
		s.channel(awsivs.CreateChannelInput{})
	}
	viewer.waitFor(t, seen+3)
	s.recorded(first.Arn, stream.StreamId, "Recording Start")
	status, _, text := get(t, s.api+"/metrics")
	if status != http.StatusOK || metric(t, text, "process_open_fds") > 1024-16 || metric(t, text, "millrace_recording_requests_in_flight") > readersOfOne {
		t.Errorf("/metrics = %d, %v descriptors are open, and %v requests for recordings", status, metric(t, text, "process_open_fds"), metric(t, text, "millrace_recording_requests_in_flight"))
	}
	if status, _, text := get(t, s.api+"/healthz"); status != http.StatusOK {
		t.Errorf("/healthz = %d %s", status, text)
	}
	wait(t, "all streams that were admitted", func() bool {
		list, err := s.ivs().ListStreams(t.Context(), &awsivs.ListStreamsInput{})
		return err == nil && len(list.Streams) == admitted
	})
	if now := s.live(first.Arn); *now.StreamId != *stream.StreamId {
		t.Error("the first stream was cut")
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for range admitted - 1 {
		if err := <-refused; err != nil {
			t.Errorf("another stream: %v", err)
		}
	}
	viewer.check(t)
	if line := s.log.Line("too many open files"); line != "" {
		t.Error(line)
	}
}

// readersOfOne is how many of the 64 requests for recordings that 1,024 descriptors
// allow an address gets: as many as leave as much room and 6 to others.
const readersOfOne = 29

// fillPorts takes all connections of all ports from two addresses, and asks for an
// object of a recording of a channel a hundred times, of which it reads nothing.
func (s *server) fillPorts(channel types.Channel) {
	s.t.Helper()
	for _, ip := range []byte{2, 3} {
		a := &attacker{t: s.t, s: s, address: net.IPv4(127, 0, 0, ip)}
		s.t.Cleanup(a.leave)
		a.dialAll(divide(1024, 0).rtmp, s.rtmp, "\x03")
		a.dialAll(divide(1024, 0).rtmp, s.rtmps, "")
		a.dialAll(divide(1024, 0).http, a.http(), "")
	}
	part := strings.Split(*channel.Arn, ":") // arn:aws:ivs:<region>:<account>:channel/<id>
	key := "ivs/v1/" + part[4] + "/" + strings.TrimPrefix(part[5], "channel/") + "/2026/1/2/3/4/AbCdEfGhIjKl/media/hls/720p30/0.ts"
	name := filepath.Join(s.data, "buckets", "recordings", filepath.FromSlash(key))
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(name, make([]byte, 1<<20), 0o600); err != nil {
		s.t.Fatal(err)
	}
	reader := &attacker{t: s.t, s: s, address: net.IPv4(127, 0, 0, 4)}
	s.t.Cleanup(reader.leave)
	reader.dialAll(1, reader.http(), http2test.Preface+http2test.NoWindow+http2test.Gets(func(int) string { return "/recordings/recordings/" + key }))
	wait(s.t, "readers of a recording", func() bool {
		_, _, text := get(s.t, s.api+"/metrics")
		return metric(s.t, text, "millrace_recording_requests_in_flight") == readersOfOne
	})
	if status, _, err := fetchWith(s.t.Context(), reader.client(), s.api+"/recordings/recordings/"+key); err != nil || status != http.StatusServiceUnavailable {
		s.t.Errorf("one reader more at an address that has its share gets %d, %v", status, err)
	}
	if status, _, text := get(s.t, s.api+"/recordings/recordings/"+key); status != http.StatusOK || len(text) != 1<<20 {
		s.t.Errorf("a reader at another address gets %d and %d bytes", status, len(text))
	}
}
