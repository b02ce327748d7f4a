package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
	"golang.org/x/net/http2/hpack"

	"github.com/millrace/millrace/internal/httplimit"
	"github.com/millrace/millrace/internal/httplimit/http2test"
	"github.com/millrace/millrace/internal/rtmp"
)

// An attack is an attempt by one address without a key to exhaust a limit in
// docs/limits.md.
type attack struct {
	row    string // the first column of its table
	do     func(a *attacker)
	memory float64 // MiB that it may make the server take; 0 is attackMemory
}

var attacks = []attack{
	{"Connections", (*attacker).connect, 128},
	{"TLS and RTMP handshake and commands, to `publish`", (*attacker).handshakeSlowly, 0},
	{"Bytes of one message before `publish`", (*attacker).sendGarbage, 192},
	{"Chunk size", (*attacker).announceBigChunks, 192},
	{"Chunk streams", (*attacker).beginMessages, 192},
	{"AMF0", (*attacker).nestValues, 192},
	{"Stream key, application, address", (*attacker).sendLongNames, 192},
	{"Answers that an encoder does not read", (*attacker).pingUnread, 0},
	{"Request line and headers", (*attacker).sendHeadersSlowly, 0},
	{"Whole request", (*attacker).sendBodySlowly, 0},
	{"Whole answer, waiting included", (*attacker).readNothing, 0},
	{"HTTP/2", (*attacker).resetStreams, 0},
	{"Bytes that HTTP/2 receives while the client does not take what is sent to it", (*attacker).pingUnreadOverHTTP2, 0},
	{"Answers over HTTP/2 that a client does not take", (*attacker).takeNoAnswers, 192},
	{"Playback requests of one address at a time", (*attacker).readNothingOnManyStreams, 400},
	{"Requests of one viewer session that wait", (*attacker).waitInOneSession, 0},
	{"Requests of one address that wait for one stream", (*attacker).waitInManySessions, 192},
	{"`_HLS_msn`, `_HLS_part` ahead of the live edge", (*attacker).askForTheFuture, 0},
	{"Playlists remembered as answers", (*attacker).askForThePast, 0},
	{"API calls without a valid access key", (*attacker).callWithoutBody, 0},
	{"API request bodies that are being received", (*attacker).callWithKnownKey, 0},
	{"Body of GetClientConfiguration", (*attacker).sendLongConfiguration, 0},
	{"Bodies of GetClientConfiguration that are being received", (*attacker).askForConfiguration, 0},
	{"Sign-in tokens of the console", (*attacker).guessSignIn, 128}, // garbage of many small bodies
	{"A channel that is not live", (*attacker).watchNothing, 0},
	{"MP4 files of recordings that are made", (*attacker).downloadSlowly, 0},
	{"`/metrics`, `/healthz`, `/readyz`, `/readyz/playback`", (*attacker).scrape, 0},
	{"Refusals in the log that peers without a key cause", (*attacker).publishWithoutKey, 0},
	{"Viewers from one address, over all streams of the account on the node", (*attacker).view, 0}, // the last: then the address has used up its share
}

// covered are the rows that cannot be attacked without a key, or only with more
// than an address, and attacks on another row: each with the test that holds it.
var covered = map[string]string{
	"Bytes of one message after":                         "rtmp.TestChunkReaderErrors",
	"Encoder's name in onMetaData":                       "flv.TestParseMetadata",
	"H.264 and AAC configuration":                        "media.TestNewH264TrackRefusesDamage",
	"An access unit in several messages":                 "media.TestEndlessAccessUnit",
	"FLV tag":                                            "flv.TestReaderErrors",
	"Frames":                                             "timeline.TestRepair",
	"Time without a frame during a stream":               "rtmp.TestSilence",
	"One write to an encoder":                            "rtmp.TestUnreadAnswersAreNotKept",
	"Time from the first message to the first key frame": "rtmp.TestNothingToSee",
	"Stream keys that are looked up":                     "store.TestKeyLookupsLeaveRoom",
	"Sessions that begin with one stream key":            "live.TestFlappingEncoder",
	"Sessions kept of one channel":                       "store.TestTrimHistory",
	"Frames buffered until a takeover is accepted":       "live.TestTakeoverIsBounded",
	"Refused takeovers that are reported as events":      "live.TestJournalBound",

	"Body of a request over HTTP/2 that needs none (GET, HEAD, OPTIONS, DELETE)": "httplimit.TestBodiesAreDiscarded",
	"Other requests over HTTP/2 at a time":                                       "millrace.TestLimitOfHTTP2",
	"Headers that are being received":                                            "httplimit.TestHalfReadHeaders",
	"Bytes that HTTP/2 receives before they are read":                            "httplimit.TestUploadWindows",

	"Idle connection":                                                "httplimit.TestConnectionTimes",
	"A part or segment that is being read":                           "httplimit.TestSlowReadersOfMedia",
	"An object of a recording that is being read":                    "record.TestSlowReaders",
	"A recording as one MP4 file that is being read":                 "record.TestSlowMP4Readers",
	"Requests for recordings at a time":                              "millrace.TestFewDescriptors",
	"Playback requests at a time":                                    "httplimit.TestRequestLimit",
	"Wait for a playlist, part or segment":                           "hls.TestWaitTimesOut",
	"Viewer sessions counted for one stream":                         "audience.TestMillionViewers",
	"Authenticated API calls at a time":                              "api.TestCallsAtATime",
	"Buckets asked at a time":                                        "api.TestBucketsAtATime",
	"Channels that are looked up for requests for public recordings": "millrace.TestRecordingLookups",
	"API request body":                                               "api.TestBodyBounds",
	"Bodies of sign-ins to the console that are being received":      "reqbody.TestSharesOfMany",
	"Reports of players (CMCD) that are being received":              "playback.TestReportsAreBounded",
	"Playback token":                                                 "token.TestSize",
	"Playback tokens with wrong signatures from one address":         "access.TestFloodOfWrongSignatures",
	"Signatures that are verified at a time":                         "access.TestFloodOfWrongSignatures",
	"Playback tokens remembered as good":                             "access.TestVerifiedAreBounded",
	"Used single-use ids":                                            "access.TestSingleUse",
	"Revocations of viewer sessions":                                 "store.TestRevocationsAreBounded",
	"Headers of the PROXY protocol that are awaited":                 "proxies.TestHeadersThatDoNotCome",
	"API call, once read":                                            "api.TestStreamThatDoesNotStop",
	"Signed headers":                                                 "api.TestTamperedRequests",
	"Followers of events":                                            "event.TestStreamsAreBounded",

	"A transaction in which a node says nothing (PostgreSQL)":   "store.TestHungTransaction",
	"A lock of the database that a node waits for (PostgreSQL)": "store.TestProbeOfALockedTable",

	"Requests without the signature of a node of the cluster": "cluster.TestVerify",
	"Signatures":                             "cluster.TestVerify",
	"Body of a request that is not streamed": "cluster.TestVerify",

	"Streams of other nodes that are copied":                               "millrace.TestCapacityOfCopies",
	"A call to another node":                                               "millrace.TestOwnerDoesNotAnswer",
	"An encoder whose channel's session is on a node that does not answer": "millrace.TestOwnerDoesNotAnswer",
	"A message of a forwarded encoder":                                     "forward.TestMessagesAreBounded",
	"First message of a forwarded encoder, a frame of it":                  "forward.TestSilentNode",
	"Tracks of a forwarded encoder that are remembered":                    "forward.TestManyTracks",

	"Calls to one target at a time":          "event.TestCallsAtATime",
	"Streams in memory for one target":       "event.TestCallsAtATime",
	"One call":                               "event.TestWebhookSilence",
	"Calls to a target that does not answer": "event.TestTargetIsNotPestered",
	"A webhook's answer":                     "event.TestWebhookEndlessAnswer",
	"An event that is refused, that fails":   "event.TestGivenUp",
	"A follower that takes no byte":          "event.TestSlowFollower",

	"Media of all its renditions": "hls.TestMaxBytes",
	"Frames that wait for ffmpeg": "media.TestRing",
	"ffmpeg":                      "transcode.TestConfined",
	"Part that is being filled":   "segment.TestSizes",
	"Segment":                     "segment.TestSizes",

	"File descriptors (`ulimit -n`)": "millrace.TestFewDescriptors",
	"Memory":                         "millrace.TestSmallGroup",
	"A stream":                       "millrace.TestCapacity",
	"A transcoded stream":            "millrace.TestCapacity",
	"A copy of a stream":             "millrace.TestCapacityOfCopies",
	"An MP4 file that is made":       "millrace.TestCapacityOfDownloads",
	"Memory and descriptors of MP4 files that are made": "millrace.TestCapacityOfDownloads",

	"A full RTMP or RTMPS port": "rtmp.TestFullPort",
	"A full HTTP port":          "httplimit.TestFullPortHasRoomForOthers",

	"Log lines that wait for a slow reader": "logs.TestStalledReader",
}

// Every bound of docs/limits.md is attacked here, or held by another test.
func TestLimitsAreTested(t *testing.T) {
	text, err := os.ReadFile("../../docs/limits.md")
	if err != nil {
		t.Fatal(err)
	}
	bounds, _, _ := strings.Cut(string(text), "\n## Clocks\n")
	known := map[string]bool{}
	for _, a := range attacks {
		known[a.row] = true
	}
	for row, test := range covered {
		known[row] = true
		if !testExists(t, test) {
			t.Errorf("there is no test %s for the row %q", test, row)
		}
	}
	listed := map[string]bool{}
	for line := range strings.Lines(bounds) {
		row, _, found := strings.Cut(strings.TrimPrefix(line, "| "), " | ")
		if !found || !strings.HasPrefix(line, "| ") || row == "What" {
			continue
		}
		listed[row] = true
		if !known[row] {
			t.Errorf("nothing tests the row %q", row)
		}
	}
	for row := range known {
		if !listed[row] {
			t.Errorf("docs/limits.md has no row %q", row)
		}
	}
}

// testExists looks for a test, which is named with its package.
func testExists(t *testing.T, test string) bool {
	t.Helper()
	folder, name, _ := strings.Cut(test, ".")
	pattern := "../../internal/" + folder + "/*_test.go"
	if folder == "millrace" {
		pattern = "*_test.go"
	}
	files, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(files, func(file string) bool {
		text, err := os.ReadFile(file)
		return err == nil && bytes.Contains(text, []byte("\nfunc "+name+"(t *testing.T)"))
	})
}

// Whatever one address without a key does to a limit, an encoder, a viewer and
// the operator, at another address, see no error, and no delay that they would
// take for one, measured by what the same machine needs at the same time without
// being attacked; and a new viewer can join.
func TestLimitTable(t *testing.T) {
	s := startServer(t, "", "--max-views", "600", "--max-views-per-address", "200", "--recordings-public")
	clip, err := recordTestPattern(t.Context(), testPattern{Size: "320x180", FPS: 30, Bitrate: 300})
	if err != nil {
		t.Fatal(err)
	}
	channel, key := s.channel(awsivs.CreateChannelInput{Name: aws.String("honest"), InsecureIngest: true})
	ctx, stop := context.WithCancel(t.Context())
	encoder := make(chan error, 1)
	go func() { encoder <- publishTo(ctx, rtmpURL(s.rtmp, key), &paced{source: clip.loop()}, nil) }()
	stream := s.live(channel.Arn)
	waitPlayable(t, *channel.PlaybackUrl)
	viewer := s.watch(t, *channel.PlaybackUrl)
	other := startServer(t, "") // nobody attacks it
	idle, _ := other.channel(awsivs.CreateChannelInput{})
	operator, elsewhere := s.operate(ctx, *channel.Arn), other.operate(ctx, *idle.Arn)
	viewer.waitFor(t, 3)
	var joins, quietJoins []time.Duration
	for range 3 {
		quietJoins = append(quietJoins, join(t, *channel.PlaybackUrl))
	}
	quietGaps, calls := viewer.gaps(), operator.calls()

	held := s.readAll(t, *channel.PlaybackUrl)
	atFirst := s.usage()
	for _, a := range attacks {
		t.Run(a.row, func(t *testing.T) {
			peer := &attacker{t: t, s: s, address: net.IPv4(127, 0, 0, 2), playback: *channel.PlaybackUrl, until: time.Now().Add(time.Second)}
			open, memory := s.descriptors(), s.memory()
			calls, same := operator.calls(), elsewhere.calls()
			a.do(peer)
			joins = append(joins, join(t, *channel.PlaybackUrl))
			wait(t, "the operator's next call", func() bool { return operator.calls() > calls && elsewhere.calls() > same })
			took, without := quantile(operator.since(calls), 0.5), quantile(elsewhere.since(same), 0.5)
			if took > 3*without+2*time.Second {
				t.Errorf("half of the operator's calls took %v and more, and %v on a server that is not attacked", took, without)
			}
			grown, bound := (s.memory()-memory)/(1<<20), cmp.Or(a.memory, attackMemory)
			t.Logf("%.0f MiB more, half of the calls took %v, elsewhere %v", grown, took, without)
			if grown > bound {
				t.Errorf("the server has taken %.0f MiB, more than %v", grown, bound)
			}
			peer.leave()
			wait(t, "what was opened to be closed", func() bool { return s.descriptors() <= open+spareDescriptors })
		})
	}
	held()
	atFirst.memory += allAttacksMemory << 20
	s.returnsTo(atFirst)
	if now := s.live(channel.Arn); *now.StreamId != *stream.StreamId {
		t.Error("the stream was cut")
	}
	stop()
	if err := <-encoder; err != nil {
		t.Errorf("the encoder: %v", err)
	}
	viewer.check(t)
	operator.check(t)
	noLonger(t, "calls of the operator", operator.since(calls), elsewhere.since(0), 2*time.Second)
	noLonger(t, "from segment to segment", viewer.gaps()[len(quietGaps):], quietGaps, 4*time.Second)
	noLonger(t, "until a new viewer plays", joins, quietJoins, 4*time.Second)
	if line := s.log.Line("panic"); line != "" {
		t.Errorf("logged: %s", line)
	}
}

// Memory that one address may make the server take by one attack, and by all one after the
// other, in MiB. More than that have attacks of thousands of connections or requests: each
// takes some 16 KiB, and 9,000 segments that are not read 32.
const (
	attackMemory     = 64
	allAttacksMemory = 512
)

// noLonger compares what was measured under attack with what was measured without, where
// the attacker uses the same processors: the 95th percentile may be three times as long and
// something more. Only the longest may be 10 s more.
func noLonger(t *testing.T, what string, attacked, without []time.Duration, more time.Duration) {
	t.Helper()
	got, base := quantile(attacked, 0.95), quantile(without, 0.95)
	longest, longestBase := slices.Max(attacked), slices.Max(without)
	t.Logf("%s: half %v, 95 %% %v, all %v; without attacks half %v, 95 %% %v, all %v", what, quantile(attacked, 0.5), got, longest, quantile(without, 0.5), base, longestBase)
	if got > 3*base+more || longest > 3*longestBase+10*time.Second {
		t.Errorf("%s: 95 %% within %v and all within %v, and within %v and %v without attacks", what, got, longest, base, longestBase)
	}
}

// quantile is the duration that this part of a list is no longer than.
func quantile(list []time.Duration, part float64) time.Duration {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[int(part*float64(len(sorted)-1))]
}

// descriptors is how many the server has open now: its metrics are a second old.
func (s *server) descriptors() int {
	s.t.Helper()
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.process.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	return len(open)
}

// memory is the server's resident set now (proc_pid_statm(5)), in bytes.
func (s *server) memory() float64 {
	s.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", s.process.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	var size, resident float64
	if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
		s.t.Fatal(err)
	}
	return resident * float64(os.Getpagesize())
}

// readAll opens each segment when it is new and when it is the oldest, and reads
// nothing of it, over one connection of an address of its own. What is returned ends
// that.
func (s *server) readAll(t *testing.T, playback string) (end func()) {
	a := &attacker{t: t, s: s, address: net.IPv4(127, 0, 0, 3), playback: playback}
	paths, _ := a.joinMany(1)
	nc, err := a.dial(a.http())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var reading sync.WaitGroup
	reading.Go(func() { http2test.AnswerPings(nc) }) // until it is closed
	reading.Go(func() {
		_, err := io.WriteString(nc, http2test.Preface+http2test.NoWindow)
		for stream := uint32(1); err == nil && ctx.Err() == nil; stream += 4 {
			_, list, _ := fetch(ctx, s.api+paths[0]) // nothing, at the end
			if segments := segmentName.FindAllString(string(list), -1); len(segments) > 0 {
				folder := paths[0][:strings.LastIndexByte(paths[0], '/')+1]
				_, err = io.WriteString(nc, http2test.Get(stream, folder+segments[0])+http2test.Get(stream+2, folder+segments[len(segments)-1]))
			}
			select {
			case <-ctx.Done():
			case <-time.After(2 * time.Second):
			}
		}
		if err != nil {
			t.Errorf("reading no segment: %v", err)
		}
	})
	return func() {
		stop()
		a.leave()
		reading.Wait()
	}
}

// join begins to watch: it asks for the playlists, waits for what comes next, and
// fetches media. It returns how long that took.
func join(t *testing.T, playback string) time.Duration {
	t.Helper()
	began := time.Now()
	multivariant, mediaURL, list := playlists(t, playback)
	if mediaURL == "" {
		t.Errorf("a new viewer is answered %s", multivariant)
		return 0
	}
	msn, part := nextPart(list)
	if status, _, body := get(t, fmt.Sprintf("%s?_HLS_msn=%d&_HLS_part=%d", mediaURL, msn, part)); status != http.StatusOK {
		t.Errorf("the next playlist = %d %s", status, body)
	}
	segment, _ := uris(list)
	if status, _, body := get(t, mediaURL[:strings.LastIndexByte(mediaURL, '/')+1]+segment); status != http.StatusOK {
		t.Errorf("%s = %d %.100s", segment, status, body)
	}
	return time.Since(began)
}

var sequenceTag = regexp.MustCompile(`^#EXT-X-MEDIA-SEQUENCE:(\d+)`)

// nextPart is where the first part goes that a playlist does not have: the number
// of its segment, and its place in that.
func nextPart(list string) (msn, part int) {
	for line := range strings.Lines(list) {
		if m := sequenceTag.FindStringSubmatch(line); m != nil {
			msn, _ = strconv.Atoi(m[1]) // digits
		}
		switch {
		case strings.HasPrefix(line, "#EXT-X-PART:"):
			part++
		case segmentName.MatchString(line):
			msn, part = msn+1, 0
		}
	}
	return msn, part
}

// An operator calls the API four times a second.
type operator struct {
	stopped chan struct{}

	mu     sync.Mutex
	took   []time.Duration // guarded by mu; each call
	errors []error         // guarded by mu
}

func (s *server) operate(ctx context.Context, arn string) *operator {
	o := &operator{stopped: make(chan struct{})}
	client := s.ivs()
	go func() {
		defer close(o.stopped)
		for tick := time.NewTicker(250 * time.Millisecond); ; {
			began := time.Now()
			_, err := client.GetChannel(ctx, &awsivs.GetChannelInput{Arn: &arn}, func(o *awsivs.Options) { o.RetryMaxAttempts = 1 })
			if ctx.Err() != nil {
				tick.Stop()
				return
			}
			o.mu.Lock()
			o.took = append(o.took, time.Since(began))
			if err != nil {
				o.errors = append(o.errors, err)
			}
			o.mu.Unlock()
			<-tick.C
		}
	}()
	return o
}

func (o *operator) calls() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.took)
}

// since are how long the calls took after the first n.
func (o *operator) since(n int) []time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.took[n:])
}

func (o *operator) check(t *testing.T) {
	t.Helper()
	<-o.stopped
	if len(o.errors) > 0 {
		t.Errorf("%d of the operator's %d calls failed, the first with %v", len(o.errors), len(o.took), o.errors[0])
	}
}

// An attacker is another address of this machine.
type attacker struct {
	t        *testing.T
	s        *server
	address  net.IP
	playback string // URL of the channel that is live
	until    time.Time
	open     []net.Conn
}

// dial connects from its address, or says why that is not possible.
func (a *attacker) dial(address string) (net.Conn, error) {
	nc, err := a.dialer().Dial("tcp", address)
	if err == nil {
		a.open = append(a.open, nc)
	}
	return nc, err
}

func (a *attacker) dialer() *net.Dialer {
	return &net.Dialer{LocalAddr: &net.TCPAddr{IP: a.address}, Timeout: patience}
}

// dialAll opens n connections, says text on each, and keeps them open. The server
// may close any of them.
func (a *attacker) dialAll(n int, address, text string) {
	for i := range n {
		nc, err := a.dial(address)
		if err != nil {
			a.t.Fatalf("connection %d: %v", i, err)
		}
		io.WriteString(nc, text)
	}
}

// leave closes what is open.
func (a *attacker) leave() {
	for _, nc := range a.open {
		nc.Close()
	}
}

// rest lasts as long as an attack does, which what it has opened goes on with.
func (a *attacker) rest() { time.Sleep(time.Until(a.until)) }

func (a *attacker) http() string { return strings.TrimPrefix(a.s.api, "http://") }

func (a *attacker) connect() {
	for _, address := range a.s.ports() {
		a.dialAll(1500, address, "")
	}
	a.rest()
}

func (a *attacker) handshakeSlowly() {
	a.dialAll(500, a.s.rtmp, "\x03half a handshake")
	a.dialAll(500, a.s.rtmps, "\x16\x03\x01\x02\x00")
	a.rest()
}

func (a *attacker) sendGarbage() {
	noise := strings.Repeat("\x03\xff\xff\xff\x07garbage", 8<<10)
	for time.Now().Before(a.until) {
		a.dialAll(5, a.s.rtmp, "\x03"+strings.Repeat("\x00", 3072)+noise)
	}
}

// sayRTMP connects over and over, and says text behind a handshake.
func (a *attacker) sayRTMP(text string) {
	for time.Now().Before(a.until) {
		a.dialAll(5, a.s.rtmp, "\x03"+strings.Repeat("\x00", 3072)+text)
	}
}

// Messages of RTMP, section 5.3.1 of Adobe's specification: a chunk of type 0
// begins each, and one of type 3 stands in front of every 128 bytes that follow.
func rtmpMessage(chunkStream, kind byte, body string) string {
	text := fmt.Sprintf("%c\x00\x00\x00%s%c\x00\x00\x00\x00", chunkStream, []byte{byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, kind)
	for len(body) > 128 {
		text += body[:128] + string([]byte{0xc0 | chunkStream})
		body = body[128:]
	}
	return text + body
}

const (
	rtmpSetChunkSize = 1
	rtmpUserControl  = 4
	rtmpCommand      = 20
)

// connectCommand is the command that begins a connection, up to its argument.
const connectCommand = "\x02\x00\x07connect\x00\x3f\xf0\x00\x00\x00\x00\x00\x00"

func (a *attacker) announceBigChunks() {
	a.sayRTMP(rtmpMessage(2, rtmpSetChunkSize, "\x7f\xff\xff\xff") + "\x03\x00\x00\x00\x00\xff\xff\x14\x00\x00\x00\x00 and no more")
}

func (a *attacker) beginMessages() {
	var text string
	for stream := byte(3); stream < 64; stream++ {
		text += rtmpMessage(stream, rtmpCommand, strings.Repeat("x", 60_000))[:12+128]
	}
	a.sayRTMP(text)
}

func (a *attacker) nestValues() {
	a.sayRTMP(rtmpMessage(3, rtmpCommand, connectCommand+strings.Repeat("\x03\x00\x01a", 15_000)))
}

func (a *attacker) sendLongNames() {
	long := "\xf0\x00" + strings.Repeat("n", 0xf000)
	a.sayRTMP(rtmpMessage(3, rtmpCommand, connectCommand+"\x03\x00\x03app\x02"+long+"\x00\x00\x09"))
}

func (a *attacker) pingUnread() {
	pings := strings.Repeat(rtmpMessage(2, rtmpUserControl, "\x00\x06\x00\x00\x00\x00"), 10_000)
	var pinging sync.WaitGroup
	for range 5 {
		nc, err := a.dial(a.s.rtmp)
		if err != nil {
			a.t.Fatal(err)
		}
		pinging.Go(func() {
			nc.SetWriteDeadline(a.until) // it is open
			_, err := io.WriteString(nc, "\x03"+strings.Repeat("\x00", 3072)+rtmpMessage(3, rtmpCommand, connectCommand+"\x03\x00\x03app\x02\x00\x03app\x00\x00\x09"))
			for err == nil && time.Now().Before(a.until) { // until the server reads no more, or has closed
				_, err = io.WriteString(nc, pings)
			}
		})
	}
	pinging.Wait()
}

func (a *attacker) sendHeadersSlowly() {
	a.dialAll(1000, a.http(), "GET / HTTP/1.1\r\nHost: ")
	field := "\x00\x04long" + string([]byte{127, (15_000-127)&0x7f | 0x80, (15_000 - 127) >> 7}) + strings.Repeat("x", 14_000) // a thousand bytes are missing
	a.dialAll(500, a.http(), http2test.Preface+http2test.Settings+http2test.Frame(http2test.Headers, 0, 1, "\x82\x86\x84"+field))
	a.rest()
}

func (a *attacker) sendBodySlowly() {
	a.dialAll(1000, a.http(), "POST /_millrace/sign-in HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
	a.rest()
}

// call is the beginning of a signed call without its body.
func call(accessKeyID string) string {
	return "POST /ListChannels HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\nX-Amz-Date: " + time.Now().UTC().Format("20060102T150405Z") + "\r\n" +
		"Authorization: AWS4-HMAC-SHA256 Credential=" + accessKeyID + "/" + time.Now().UTC().Format("20060102") + "/us-west-2/ivs/aws4_request, SignedHeaders=host;x-amz-date, Signature=" + strings.Repeat("0", 64) + "\r\n\r\n"
}

func (a *attacker) callWithoutBody() {
	a.dialAll(1200, a.http(), call("a"))
	a.rest()
}

// callWithKnownKey knows the operator's access key id, which is no secret.
func (a *attacker) callWithKnownKey() {
	a.dialAll(1200, a.http(), call(testKey))
	a.rest()
}

const askConfiguration = "POST /api/v3/GetClientConfiguration HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n{"

func (a *attacker) askForConfiguration() {
	a.dialAll(1200, a.http(), fmt.Sprintf(askConfiguration, 1000))
	a.rest()
}

func (a *attacker) sendLongConfiguration() {
	for time.Now().Before(a.until) {
		a.dialAll(5, a.http(), fmt.Sprintf(askConfiguration, 1<<30)+strings.Repeat(" ", 200<<10))
	}
}

// join gets a viewer session: the path of its rendition's playlist, and that
// playlist.
func (a *attacker) join(client *http.Client) (path, list string) {
	status, body, err := fetchWith(a.t.Context(), client, a.playback)
	if err != nil || status != http.StatusOK {
		return "", ""
	}
	base, err := url.Parse(a.playback)
	if err != nil {
		a.t.Fatal(err)
	}
	media, err := base.Parse(lastLine(string(body)))
	if err != nil {
		a.t.Fatal(err)
	}
	_, body, err = fetchWith(a.t.Context(), client, media.String())
	if err != nil {
		a.t.Error(err)
	}
	return media.Path, string(body)
}

// joinMany is join for n viewer sessions, with the playlist of the last.
func (a *attacker) joinMany(n int) (paths []string, list string) {
	client := a.client()
	defer client.CloseIdleConnections()
	for range n {
		var path string
		if path, list = a.join(client); path == "" {
			break
		}
		paths = append(paths, path)
	}
	if len(paths) == 0 {
		a.t.Fatal("the attacker gets no viewer session")
	}
	return paths, list
}

// newestSegment is the path of the newest segment of a playlist.
func newestSegment(path, list string) string {
	segment, _ := uris(list)
	return path[:strings.LastIndexByte(path, '/')+1] + segment
}

func (a *attacker) readNothing() {
	paths, list := a.joinMany(1)
	a.dialAll(500, a.http(), "GET "+newestSegment(paths[0], list)+" HTTP/1.1\r\nHost: x\r\n\r\n")
	a.rest()
}

func (a *attacker) readNothingOnManyStreams() {
	paths, list := a.joinMany(1)
	segment := newestSegment(paths[0], list)
	a.dialAll(100, a.http(), http2test.Preface+http2test.NoWindow+http2test.Gets(func(int) string { return segment }))
	a.rest()
}

// pingUnreadOverHTTP2 pings on many connections, and reads none of the answers on half of
// them, and on the others fewer than it has asked for.
func (a *attacker) pingUnreadOverHTTP2() {
	pings := strings.Repeat(http2test.Frame(http2test.Ping, 0, 0, "01234567"), 1000)
	var pinging sync.WaitGroup
	for n := range 200 {
		nc, err := a.dial(a.http())
		if err != nil {
			a.t.Fatal(err)
		}
		if n%2 == 0 {
			pinging.Go(func() {
				nc.SetReadDeadline(a.until) // it is open
				for answers := make([]byte, 64<<10); ; time.Sleep(20 * time.Millisecond) {
					if _, err := io.ReadFull(nc, answers); err != nil {
						return
					}
				}
			})
		}
		pinging.Go(func() {
			nc.SetWriteDeadline(a.until) // it is open
			_, err := io.WriteString(nc, http2test.Preface+http2test.Settings)
			for err == nil && time.Now().Before(a.until) { // until the server reads no more, or has closed
				_, err = io.WriteString(nc, pings)
			}
		})
	}
	pinging.Wait()
}

// takeNoAnswers asks for small answers on many connections over which it lets nothing be sent
// but headers: most of them say that its share is used up, and have nothing else.
func (a *attacker) takeNoAnswers() {
	paths := []string{"/nothing", "/healthz", "/console/"}
	const conns = 100
	a.dialAll(conns, a.http(), http2test.Preface+http2test.NoWindow+http2test.Gets(func(n int) string { return paths[n%len(paths)] }))
	var refused atomic.Int64
	var reading sync.WaitGroup
	for _, nc := range a.open {
		reading.Go(func() {
			headers := hpack.NewDecoder(4096, nil)
			_ = http2test.ReadFrames(nc, func(kind byte, payload []byte) { // until it is closed, or the end of the attack
				if kind != http2test.Headers {
					return
				}
				fields, err := headers.DecodeFull(payload)
				if err != nil {
					a.t.Error(err)
				}
				if slices.Contains(fields, hpack.HeaderField{Name: ":status", Value: "503"}) {
					refused.Add(1)
				}
			})
		})
	}
	share := ownShares().others/2 + conns*httplimit.MaxUnsent
	wait(a.t, "refusals beyond the share of an address", func() bool { return refused.Load() >= int64(conns*100-share) })
	a.rest()
	for _, nc := range a.open {
		nc.SetReadDeadline(time.Now()) // it may be closed
	}
	reading.Wait()
}

func (a *attacker) waitInOneSession() {
	paths, list := a.joinMany(1)
	msn, _ := nextPart(list)
	ask := fmt.Sprintf("%s?_HLS_msn=%d", paths[0], msn+1)
	a.dialAll(20, a.http(), http2test.Preface+http2test.Settings+http2test.Gets(func(int) string { return ask }))
}

func (a *attacker) waitInManySessions() {
	paths, list := a.joinMany(1400) // times eight
	msn, _ := nextPart(list)
	ask := fmt.Sprintf("?_HLS_msn=%d", msn+1)
	for first := 0; first < 8*len(paths); first += 100 {
		a.dialAll(1, a.http(), http2test.Preface+http2test.Settings+http2test.Gets(func(n int) string { return paths[(first+n)/8%len(paths)] + ask }))
	}
}

// view watches with more sessions than the account may have viewers. They are of
// one player, so that each replaces the last: its share is free when it has been
// idle for 12 s, and no sooner.
func (a *attacker) view() {
	client := a.client()
	defer client.CloseIdleConnections()
	began, served := time.Now(), 0
	for range 700 {
		path, list := a.join(client)
		if path == "" {
			continue
		}
		if status, _, err := fetchWith(a.t.Context(), client, a.s.api+newestSegment(path, list)); err == nil && status == http.StatusOK {
			served++
		}
	}
	most := 200 * (1 + int(time.Since(began)/(12*time.Second)))
	if served < 100 || served > most {
		a.t.Errorf("%d viewers of one address are served, want 100 to %d", served, most)
	}
}

func (a *attacker) askForTheFuture() {
	paths, _ := a.joinMany(1)
	a.ask(func(n int) string { return fmt.Sprintf("%s?_HLS_msn=%d&_HLS_part=%d", paths[0], 1_000_000+n, n%100) })
}

func (a *attacker) askForThePast() {
	paths, _ := a.joinMany(1)
	a.ask(func(n int) string { return fmt.Sprintf("%s?_HLS_msn=0&_HLS_part=%d", paths[0], n%10) })
}

// resetStreams begins requests and gives them up at once, on and on.
func (a *attacker) resetStreams() {
	paths, list := a.joinMany(1)
	msn, _ := nextPart(list)
	path := fmt.Sprintf("%s?_HLS_msn=%d", paths[0], msn+1)
	var rapid sync.WaitGroup
	for range 10 {
		rapid.Go(func() {
			for time.Now().Before(a.until) {
				a.resetUntilCut(path)
			}
		})
	}
	rapid.Wait()
}

// resetUntilCut does so on one connection, until the server closes it.
func (a *attacker) resetUntilCut(path string) {
	nc, err := a.dialer().Dial("tcp", a.http())
	if err != nil {
		a.t.Error(err)
		return
	}
	var reading sync.WaitGroup
	reading.Go(func() { io.Copy(io.Discard, nc) })
	nc.SetWriteDeadline(a.until)
	_, err = io.WriteString(nc, http2test.Preface+http2test.Settings)
	for stream := uint32(1); err == nil && time.Now().Before(a.until); stream += 2 {
		_, err = io.WriteString(nc, http2test.Get(stream, path)+http2test.Reset(stream))
	}
	nc.Close()
	reading.Wait()
}

func (a *attacker) guessSignIn() {
	for time.Now().Before(a.until) {
		a.dialAll(20, a.http(), "POST /_millrace/sign-in HTTP/1.1\r\nHost: x\r\nContent-Length: 13\r\n\r\n{\"token\":\"x\"}")
	}
}

// client is an HTTP client at the attacker's address.
func (a *attacker) client() *http.Client {
	return &http.Client{Timeout: patience, Transport: &http.Transport{DialContext: a.dialer().DialContext}}
}

// ask fetches paths as fast as eight connections can.
func (a *attacker) ask(path func(n int) string) {
	var askers sync.WaitGroup
	for asker := range 8 {
		askers.Go(func() {
			client := a.client()
			defer client.CloseIdleConnections()
			for n := asker; time.Now().Before(a.until); n += 8 {
				r, err := client.Get(a.s.api + path(n))
				if err != nil {
					a.t.Error(err)
					return
				}
				io.Copy(io.Discard, r.Body)
				r.Body.Close()
			}
		})
	}
	askers.Wait()
}

func (a *attacker) watchNothing() {
	a.ask(func(n int) string { return fmt.Sprintf("/api/video/v1/us-west-2.000000000000.channel.%012d.m3u8", n) })
}

// downloadSlowly asks for a recording as an MP4 file many times and reads nothing. It gets
// one, and another address the next.
func (a *attacker) downloadSlowly() {
	download := a.s.recordingOf(a.playback)
	for _, ip := range []net.IP{a.address, net.IPv4(127, 0, 0, 4)} {
		began := 0
		for range 8 {
			nc, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: ip}, Timeout: patience}).Dial("tcp", a.http())
			if err != nil {
				a.t.Fatal(err)
			}
			a.open = append(a.open, nc)
			nc.SetDeadline(time.Now().Add(patience))
			var status int
			if _, err := fmt.Fprintf(nc, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", download); err != nil {
				a.t.Fatal(err)
			}
			if _, err := fmt.Fscanf(nc, "HTTP/1.1 %d", &status); err != nil || status != http.StatusOK && status != http.StatusServiceUnavailable {
				a.t.Errorf("download: %d, %v", status, err)
			}
			if status == http.StatusOK {
				began++
			}
		}
		if began != 1 {
			a.t.Errorf("%v has %d of 8 MP4 files that it asked for, want 1", ip, began)
		}
	}
	a.rest()
}

// recordingOf makes a recording of a public channel that is live, of one of its segments a
// thousand times, and returns the path of its MP4 file.
func (s *server) recordingOf(playback string) (download string) {
	s.t.Helper()
	_, mediaURL, list := playlists(s.t, playback)
	segment, _ := uris(list)
	_, _, content := get(s.t, mediaURL[:strings.LastIndexByte(mediaURL, '/')+1]+segment)
	name := strings.Split(strings.TrimSuffix(playback[strings.LastIndexByte(playback, '/')+1:], ".m3u8"), ".") // <region>.<account>.channel.<id>
	prefix := "ivs/v1/" + name[1] + "/" + name[3] + "/2026/1/2/3/4/AbCdEfGhIjKl"
	for path, text := range map[string]string{
		"/events/recording-ended.json":    `{"media":{"hls":{"renditions":[{"path":"180p30"}]}}}`,
		"/media/hls/180p30/playlist.m3u8": "#EXTM3U\n#EXT-X-VERSION:4\n#EXT-X-TARGETDURATION:4\n" + strings.Repeat("#EXTINF:2,\n0.ts\n#EXT-X-DISCONTINUITY\n", 1000) + "#EXT-X-ENDLIST\n",
		"/media/hls/180p30/0.ts":          string(content),
	} {
		file := filepath.Join(s.data, "buckets", "recordings", filepath.FromSlash(prefix+path))
		if err := cmp.Or(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text), 0o600)); err != nil {
			s.t.Fatal(err)
		}
	}
	return "/recordings/recordings/" + prefix + "/download.mp4"
}

func (a *attacker) scrape() {
	a.ask(func(n int) string { return []string{"/metrics", "/healthz", "/readyz"}[n%3] })
}

// publishWithoutKey publishes with an unknown key, on several connections at a time.
func (a *attacker) publishWithoutKey() {
	var encoders sync.WaitGroup
	var refused atomic.Int64
	for range 16 {
		encoders.Go(func() {
			for time.Now().Before(a.until) {
				nc, err := a.dialer().Dial("tcp", a.s.rtmp)
				if err != nil {
					a.t.Error(err)
					return
				}
				client, err := rtmp.Publish(a.t.Context(), nc, rtmpURL(a.s.rtmp, "sk_us-west-2_nosuchkey123_x"))
				if err == nil {
					client.Close()
					a.t.Error("an encoder with an unknown key was let in")
					return
				}
				if status, ok := errors.AsType[*rtmp.StatusError](err); ok && strings.Contains(status.Description, "Unknown stream key") {
					refused.Add(1)
				}
			}
		})
	}
	encoders.Wait()
	if refused.Load() == 0 {
		a.t.Error("no encoder was told that its stream key is unknown")
	}
}
