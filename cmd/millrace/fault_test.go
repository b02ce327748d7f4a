package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"

	"github.com/millrace/millrace/internal/rtmp"
)

// What hostile peers do to one port costs no broadcast on another a part, and
// leaves nothing behind: no goroutine, descriptor or memory.
func TestFaults(t *testing.T) {
	t.Parallel() // it mostly waits
	s := startServer(t, "")
	channel, key := s.channel(awsivs.CreateChannelInput{Name: aws.String("untouched"), InsecureIngest: true})
	pattern, err := recordTestPattern(t.Context(), testPattern{Size: "320x180", FPS: 30, Bitrate: 400})
	if err != nil {
		t.Fatal(err)
	}
	broadcast := make(chan error, 1)
	ctx, stop := context.WithCancel(t.Context())
	go func() { broadcast <- publishTo(ctx, rtmpURL(s.rtmp, key), &paced{source: pattern.loop()}, nil) }()
	s.live(channel.Arn)
	waitPlayable(t, *channel.PlaybackUrl)
	viewer := s.watch(t, *channel.PlaybackUrl)
	viewer.waitFor(t, 4)

	for _, f := range []struct {
		name string
		do   func(t *testing.T, s *server)
	}{
		{"half-open connections", halfOpen},
		{"garbage on every port", garbage},
		{"the wrong protocol", wrongProtocol},
		{"smuggled requests", smuggled},
		{"a byte a second", func(t *testing.T, s *server) { byteASecond(t, s, pattern) }},
		{"a kilobyte a second", func(t *testing.T, s *server) { slowViewers(t, s, *channel.PlaybackUrl) }},
		{"channels that are not live", notLive},
		{"killed in a chunk", func(t *testing.T, s *server) { killedInChunk(t, s, pattern) }},
	} {
		t.Run(f.name, func(t *testing.T) {
			before := s.usage()
			seen := viewer.segments()
			f.do(t, s)
			s.returnsTo(before)
			viewer.waitFor(t, seen+1)
		})
	}
	stop()
	if err := <-broadcast; err != nil {
		t.Errorf("the broadcast: %v", err)
	}
	viewer.check(t)
	if line := s.log.Line("panic"); line != "" {
		t.Errorf("logged: %s", line)
	}
}

// usage holds the resources of the process, by its own metrics.
type usage struct{ goroutines, descriptors, memory, mediaFiles, mediaBytes float64 }

func (s *server) usage() usage {
	s.t.Helper()
	_, _, body := get(s.t, s.api+"/metrics")
	return usage{
		metric(s.t, body, "go_goroutines"), metric(s.t, body, "process_open_fds"), metric(s.t, body, "process_resident_memory_bytes"),
		metric(s.t, body, "millrace_media_file_descriptors"), metric(s.t, body, "millrace_media_bytes"),
	}
}

func metric(t *testing.T, body []byte, name string) float64 {
	t.Helper()
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (\S+)$`).FindSubmatch(body)
	if m == nil {
		t.Fatalf("no %s in /metrics", name)
	}
	v, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Between two looks the broadcast itself takes and returns a few of each: a
// segment, a request. Go gives memory back late.
const (
	spareGoroutines  = 20
	spareDescriptors = 20
	spareMemory      = 48 << 20
	spareMediaFiles  = streamFiles // the window of a stream that has just begun grows
	spareMediaBytes  = streamMemory
)

// returnsTo waits until the process holds what it held before.
func (s *server) returnsTo(before usage) {
	s.t.Helper()
	var now usage
	deadline := time.Now().Add(patience)
	for {
		now = s.usage()
		if now.goroutines <= before.goroutines+spareGoroutines && now.descriptors <= before.descriptors+spareDescriptors && now.memory <= before.memory+spareMemory &&
			now.mediaFiles <= before.mediaFiles+spareMediaFiles && now.mediaBytes <= before.mediaBytes+spareMediaBytes {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("before: %+v; %v after: %+v", before, patience, now)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// A watcher follows a playlist and keeps what it saw.
type watcher struct {
	stopped chan struct{}

	mu     sync.Mutex
	last   int             // guarded by mu; the newest segment, -1 when none was seen
	since  time.Time       // guarded by mu; when it was first seen
	apart  []time.Duration // guarded by mu; from one segment to the next
	listed map[int]bool    // guarded by mu; segments
	broken []string        // guarded by mu; what a player would have stumbled over
}

// watch follows the playlist, twice a second, until the test ends.
func (s *server) watch(t *testing.T, playback string) *watcher {
	w := &watcher{last: -1, listed: map[int]bool{}, stopped: make(chan struct{})}
	_, list, _ := playlists(t, playback)
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(func() { stop(); <-w.stopped })
	go func() {
		defer close(w.stopped)
		for tick := time.NewTicker(500 * time.Millisecond); ; {
			w.look(ctx, list)
			select {
			case <-ctx.Done():
				tick.Stop()
				return
			case <-tick.C:
			}
		}
	}()
	return w
}

var segmentName = regexp.MustCompile(`(?m)^(\d+)\.ts$`)

func (w *watcher) look(ctx context.Context, list string) {
	status, body, err := fetch(ctx, list)
	if ctx.Err() != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil || status != http.StatusOK {
		w.broken = append(w.broken, fmt.Sprint("playlist: ", status, " ", err))
		return
	}
	if bytes.Contains(body, []byte("#EXT-X-DISCONTINUITY\n")) {
		w.broken = append(w.broken, "a discontinuity")
	}
	for _, m := range segmentName.FindAllSubmatch(body, -1) {
		n, _ := strconv.Atoi(string(m[1]))
		w.listed[n] = true
		if n > w.last {
			now := time.Now()
			if w.last >= 0 {
				w.apart = append(w.apart, now.Sub(w.since))
			}
			w.last, w.since = n, now
		}
	}
}

func fetch(ctx context.Context, url string) (status int, body []byte, err error) {
	return fetchWith(ctx, http.DefaultClient, url)
}

func fetchWith(ctx context.Context, client *http.Client, url string) (status int, body []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	r, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer r.Body.Close()
	body, err = io.ReadAll(r.Body)
	return r.StatusCode, body, err
}

func (w *watcher) segments() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

// gaps are the times from one segment to the next.
func (w *watcher) gaps() []time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.apart)
}

// waitFor waits for a segment: the broadcast continues.
func (w *watcher) waitFor(t *testing.T, segment int) {
	t.Helper()
	wait(t, fmt.Sprint("segment ", segment), func() bool { return w.segments() >= segment })
}

// check reports whether a player would have played all of it.
func (w *watcher) check(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	t.Logf("%d segments of 2 s, at most %v apart", w.last+1, slices.Max(append(slices.Clone(w.apart), 0)).Round(time.Millisecond))
	for _, b := range w.broken {
		t.Errorf("the viewer of the other broadcast saw %s", b)
	}
	for n := range w.last {
		if !w.listed[n] && w.listed[n-1] {
			t.Errorf("the viewer of the other broadcast missed segment %d of %d", n, w.last)
		}
	}
}

// dialAll opens n connections to each address, and closes them when the test
// ends.
func dialAll(t *testing.T, n int, addresses ...string) (all []net.Conn) {
	t.Helper()
	for _, address := range addresses {
		for range n {
			nc, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatalf("connection %d: %v", len(all), err)
			}
			t.Cleanup(func() { nc.Close() })
			all = append(all, nc)
		}
	}
	return all
}

func (s *server) ports() []string {
	return []string{s.rtmp, s.rtmps, strings.TrimPrefix(s.api, "http://")}
}

// halfOpen leaves a thousand connections on each port without a word, or in the
// middle of one. The server ends them all.
func halfOpen(t *testing.T, s *server) {
	all := dialAll(t, 1000, s.ports()...)
	begun := map[int]string{0: "\x03half a handshake", 1: "\x16\x03\x01\x02\x00", 2: "GET / HTTP/1.1\r\nHost: "}
	for i, nc := range all {
		if i%2 == 0 {
			io.WriteString(nc, begun[i/1000]) // it may be gone
		}
	}
	if _, err := s.ivs().ListChannels(t.Context(), &awsivs.ListChannelsInput{}); err != nil {
		t.Errorf("meanwhile, the API: %v", err)
	}
	deadline := time.Now().Add(60 * time.Second)
	for i, nc := range all {
		nc.SetReadDeadline(deadline)
		if _, err := io.Copy(io.Discard, nc); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("connection %d to %v is open still", i, nc.RemoteAddr())
		}
	}
}

// garbage sends noise, long and short.
func garbage(t *testing.T, s *server) {
	noise := make([]byte, 256<<10)
	rand.Read(noise)
	for _, start := range []string{"", "\x03", "\x03" + strings.Repeat("\x00", 3072), "\x16\x03\x01\x00\xff", "POST /CreateChannel HTTP/1.1\r\nHost: x\r\nContent-Length: 262145\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"} {
		for _, nc := range dialAll(t, 20, s.ports()...) {
			nc.SetDeadline(time.Now().Add(2 * time.Second))
			io.WriteString(nc, start) // the server may close at any byte
			nc.Write(noise)           // as above
			nc.Close()
		}
	}
}

// wrongProtocol speaks TLS to the RTMP and the HTTP port, and RTMP to the TLS
// and the HTTP port.
func wrongProtocol(t *testing.T, s *server) {
	dialer := &net.Dialer{Timeout: 20 * time.Second}
	for _, address := range []string{s.rtmp, strings.TrimPrefix(s.api, "http://")} {
		if nc, err := tls.DialWithDialer(dialer, "tcp", address, &tls.Config{InsecureSkipVerify: true}); err == nil {
			nc.Close()
			t.Errorf("a TLS client was served on %s", address)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for _, address := range []string{s.rtmps, strings.TrimPrefix(s.api, "http://")} {
		if c, err := rtmp.Dial(ctx, rtmpURL(address, "key"), nil); err == nil {
			c.Close()
			t.Errorf("an RTMP client was served on %s", address)
		}
	}
}

// smuggled sends requests that two servers might understand differently. Each
// gets an error, and nothing behind it is taken for a request.
func smuggled(t *testing.T, s *server) {
	const behind = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
	for _, request := range []string{
		"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n",
		"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("y", 64<<10) + "\r\n\r\n",
		"GET /" + strings.Repeat("z", 64<<10) + " HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		nc := dialAll(t, 1, s.ports()[2])[0]
		nc.SetDeadline(time.Now().Add(20 * time.Second))
		io.WriteString(nc, request+behind) // the server may close at any byte
		answer, _ := io.ReadAll(nc)        // until the server has closed, or resets
		refused := bytes.HasPrefix(answer, []byte("HTTP/1.1 4")) || bytes.HasPrefix(answer, []byte("HTTP/1.1 501 ")) || len(answer) == 0
		if !refused || bytes.Contains(answer, []byte("\r\n\r\n{\"status\":")) {
			t.Errorf("%.60q was answered %.200q", request, answer)
		}
		nc.Close()
	}
}

// throughUplinks broadcasts to five new channels through uplinks that carry some
// bytes well, into the middle of a frame, and then do what then says.
func throughUplinks(t *testing.T, s *server, pattern *clip, then func(encoder, ingest *net.TCPConn)) {
	t.Helper()
	var broadcasts sync.WaitGroup
	for i := range int64(5) {
		channel, key := s.channel(awsivs.CreateChannelInput{InsecureIngest: true})
		relay, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer relay.Close()
		ctx, stop := context.WithCancel(t.Context())
		broadcasts.Go(func() {
			publishTo(ctx, rtmpURL(relay.Addr().String(), key), pattern.loop(), nil) // it is cut off
		})
		broadcasts.Go(func() {
			defer stop()
			encoder, err := relay.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			defer encoder.Close()
			ingest, err := net.Dial("tcp", s.rtmp)
			if err != nil {
				t.Error(err)
				return
			}
			defer ingest.Close()
			go io.Copy(encoder, ingest) // ends with the connections
			if _, err := io.CopyN(ingest, encoder, 100_000+i*777); err != nil {
				t.Error(err)
				return
			}
			for s.log.Line("stream started\" channel="+*channel.Arn) == "" && ctx.Err() == nil {
				time.Sleep(20 * time.Millisecond)
			}
			then(encoder.(*net.TCPConn), ingest.(*net.TCPConn))
		})
	}
	broadcasts.Wait()
}

// byteASecond lets encoders that are on air send a byte a second from then on.
func byteASecond(t *testing.T, s *server, pattern *clip) {
	throughUplinks(t, s, pattern, func(encoder, ingest *net.TCPConn) {
		for range 5 {
			if _, err := io.CopyN(ingest, encoder, 1); err != nil {
				t.Error(err)
				return
			}
			time.Sleep(time.Second)
		}
	})
}

// killedInChunk resets connections in the middle of a frame.
func killedInChunk(t *testing.T, s *server, pattern *clip) {
	throughUplinks(t, s, pattern, func(_, ingest *net.TCPConn) { ingest.SetLinger(0) })
}

// slowViewers take a kilobyte a second of the newest segment each.
func slowViewers(t *testing.T, s *server, playback string) {
	_, list, media := playlists(t, playback)
	names := segmentName.FindAllString(media, -1)
	if len(names) == 0 {
		t.Fatalf("no segment in\n%s", media)
	}
	path := strings.TrimPrefix(list, s.api)
	path = path[:strings.LastIndexByte(path, '/')+1] + names[len(names)-1]
	slow := dialAll(t, 100, s.ports()[2])
	for _, nc := range slow {
		nc.(*net.TCPConn).SetReadBuffer(4 << 10)
		fmt.Fprintf(nc, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
	}
	kilobyte := make([]byte, 1<<10)
	for range 5 {
		for _, nc := range slow {
			nc.SetReadDeadline(time.Now().Add(20 * time.Second))
			if _, err := io.ReadFull(nc, kilobyte); err != nil {
				t.Fatalf("a slow viewer: %v", err)
			}
		}
		time.Sleep(time.Second)
	}
	for _, nc := range slow {
		nc.Close()
	}
}

// notLive asks 10,000 times for what is not there.
func notLive(t *testing.T, s *server) {
	const root = "/api/video/v1/us-west-2.000000000000.channel."
	var askers sync.WaitGroup
	for asker := range 20 {
		askers.Go(func() {
			for n := range 500 {
				path := fmt.Sprintf("%s%06d%06d.m3u8", root, asker, n)
				if n%2 == 1 {
					path = fmt.Sprintf("%s%06d%06d/%016x/st-%023d/source/playlist.m3u8?_HLS_msn=1", root, asker, n, n, n)
				}
				if status, _, err := fetch(t.Context(), s.api+path); err != nil || status != http.StatusNotFound {
					t.Errorf("%s = %d (%v), want 404", path, status, err)
					return
				}
			}
		})
	}
	askers.Wait()
	http.DefaultClient.CloseIdleConnections()
}
