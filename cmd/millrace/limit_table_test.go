package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
)

// An attack is what one address without a key does to a row of docs/limits.md.
type attack struct {
	row string // the first column of its table
	do  func(a *attacker)
}

var attacks = []attack{
	{"Connections", (*attacker).connect},
	{"TLS and RTMP handshake and commands, to `publish`", (*attacker).handshakeSlowly},
	{"Bytes of one message before `publish`", (*attacker).sendGarbage},
	{"Request line and headers", (*attacker).sendHeadersSlowly},
	{"API calls without a valid access key", (*attacker).callWithoutBody},
	{"Body of GetClientConfiguration", (*attacker).askForConfiguration},
	{"A channel that is not live", (*attacker).watchNothing},
	{"`/metrics`, `/healthz`, `/readyz`", (*attacker).scrape},
	{"Refusals in the log that peers without a key cause", (*attacker).publishWithoutKey},
}

// Whatever one address without a key does to a limit, an encoder, a viewer and
// the operator, at another address, see no error.
func TestLimitTable(t *testing.T) {
	limits, err := os.ReadFile("../../docs/limits.md")
	if err != nil {
		t.Fatal(err)
	}
	s := startServer(t, "")
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
	viewer.waitFor(t, 3)
	operator := s.operate(ctx, *channel.Arn)

	for _, a := range attacks {
		t.Run(a.row, func(t *testing.T) {
			if !bytes.Contains(limits, []byte("\n| "+a.row+" | ")) {
				t.Errorf("docs/limits.md has no row %q", a.row)
			}
			peer := &attacker{t: t, s: s, until: time.Now().Add(2 * time.Second)}
			seen, calls := viewer.segments(), operator.calls()
			a.do(peer)
			viewer.waitFor(t, seen+1)
			wait(t, "the operator's next call", func() bool { return operator.calls() > calls })
			peer.leave()
		})
	}
	if now := s.live(channel.Arn); *now.StreamId != *stream.StreamId {
		t.Error("the stream was cut")
	}
	stop()
	if err := <-encoder; err != nil {
		t.Errorf("the encoder: %v", err)
	}
	viewer.check(t)
	operator.check(t)
	if line := s.log.line("panic"); line != "" {
		t.Errorf("logged: %s", line)
	}
}

// An operator calls the API four times a second.
type operator struct {
	stopped chan struct{}

	mu      sync.Mutex
	done    int           // guarded by mu; calls
	slowest time.Duration // guarded by mu
	errors  []error       // guarded by mu
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
			o.done++
			o.slowest = max(o.slowest, time.Since(began))
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
	return o.done
}

func (o *operator) check(t *testing.T) {
	t.Helper()
	<-o.stopped
	t.Logf("%d calls of the operator, the slowest took %v", o.done, o.slowest.Round(time.Millisecond))
	if len(o.errors) > 0 {
		t.Errorf("%d of the operator's %d calls failed, the first with %v", len(o.errors), o.done, o.errors[0])
	}
}

// An attacker is another address of this machine.
type attacker struct {
	t     *testing.T
	s     *server
	until time.Time
	open  []net.Conn
}

// dial connects from 127.0.0.2, or says why that is not possible.
func (a *attacker) dial(address string) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}, Deadline: time.Now().Add(patience)}
	nc, err := d.Dial("tcp", address)
	if err == nil {
		a.open = append(a.open, nc)
	}
	return nc, err
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

func (a *attacker) sendHeadersSlowly() {
	a.dialAll(1000, a.http(), "GET / HTTP/1.1\r\nHost: ")
	a.rest()
}

func (a *attacker) callWithoutBody() {
	a.dialAll(1200, a.http(), "POST /ListChannels HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\nAuthorization: AWS4-HMAC-SHA256 Credential=a/20260501/us-west-2/ivs/aws4_request, SignedHeaders=host, Signature=00\r\n\r\n")
	a.rest()
}

func (a *attacker) askForConfiguration() {
	a.dialAll(1200, a.http(), "POST /api/v3/GetClientConfiguration HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
	a.rest()
}

// client is an HTTP client at the attacker's address.
func (a *attacker) client() *http.Client {
	return &http.Client{Timeout: patience, Transport: &http.Transport{DialContext: func(_ context.Context, _, address string) (net.Conn, error) {
		return (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).Dial("tcp", address)
	}}}
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

func (a *attacker) scrape() {
	a.ask(func(n int) string { return []string{"/metrics", "/healthz", "/readyz"}[n%3] })
}

func (a *attacker) publishWithoutKey() {
	for time.Now().Before(a.until) {
		a.s.refused(a.t)
	}
}
