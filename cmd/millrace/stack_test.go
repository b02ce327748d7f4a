package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"runtime"
	runtimemetrics "runtime/metrics"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"

	"github.com/millrace/millrace/internal/live"
)

// serveHere runs `millrace serve` in this process until the test ends.
func serveHere(t *testing.T) (*server, running) {
	t.Helper()
	cli := &commands{}
	parser, err := kong.New(cli, kong.Bind(&settings{}))
	if err == nil {
		_, err = parser.Parse([]string{"serve", "--data", filepath.Join(t.TempDir(), "data"), "--http", "127.0.0.1:0", "--rtmp", "127.0.0.1:0", "--rtmps", "off",
			"--transcode", "off", "--access-key-id", testKey, "--secret-access-key", testSecret})
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	started, ended := make(chan running, 1), make(chan error, 1)
	go func() {
		ended <- serve(ctx, cli.Serve.config, func(r running) { started <- r })
		close(ended)
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("the server ended with %v", err)
		}
	})
	select {
	case r := <-started:
		s := &server{t: t, api: r.apiURL(), rtmp: r.RTMP}
		s.client = sync.OnceValue(s.newClient)
		return s, r
	case err := <-ended:
		t.Fatalf("the server did not start: %v", err)
		return nil, running{}
	}
}

var hintTag = regexp.MustCompile(`#EXT-X-PRELOAD-HINT:TYPE=PART,URI="([^"]+)"`)

// A request that waits for the next part has a stack of 8 KiB, as ServeHTTP of playback
// explains, and its connection a second one for the goroutine of net/http that reads
// ahead: one local variable too many on the path to the wait would double the first.
func TestStacksOfWaitingRequests(t *testing.T) {
	const (
		viewers = 50
		each    = 8  // requests of a viewer session that may wait
		most    = 13 // KiB a request; with stacks of 16 KiB it would be 18
	)
	s, here := serveHere(t)
	channel, key := s.channel(awsivs.CreateChannelInput{InsecureIngest: true})
	publish(t, rtmpURL(s.rtmp, key), slices.Concat(testInputs, testCodecs)...)
	s.live(channel.Arn)
	waitPlayable(t, *channel.PlaybackUrl)
	if err := here.hub.LiveSession(*channel.Arn).Inject(live.FaultStarvation, time.Hour); err != nil { // so that no request is answered
		t.Fatal(err)
	}
	var lists []string // of viewer sessions
	var body string
	for range viewers {
		_, list, text := playlists(t, *channel.PlaybackUrl)
		lists, body = append(lists, list), text
	}
	msn, part := nextPart(body)
	hint := hintTag.FindStringSubmatch(body)
	if hint == nil {
		t.Fatalf("the playlist names no part that is to come:\n%s", body)
	}
	var urls []string
	for _, list := range lists {
		for range each / 2 {
			urls = append(urls, fmt.Sprintf("%s?_HLS_msn=%d&_HLS_part=%d", list, msn, part), list[:strings.LastIndexByte(list, '/')+1]+hint[1])
		}
	}

	before, goroutines := stackBytes(), runtime.NumGoroutine()
	defer request(t, urls)()
	waiting := func() bool { return runtime.NumGoroutine() >= goroutines+2*len(urls) }
	wait(t, "all requests to wait", waiting)
	perRequest := (stackBytes() - before) / int64(len(urls))
	if !waiting() {
		t.Fatal("requests were answered meanwhile")
	}
	t.Logf("%d bytes of stacks for each request that waits", perRequest)
	if perRequest > most<<10 || perRequest < 4<<10 {
		t.Errorf("each request that waits has %d bytes of stacks, want at most %d KiB", perRequest, most)
	}
}

// request sends a request for each URL on a connection of its own, and reads no answer.
func request(t *testing.T, urls []string) (stop func()) {
	t.Helper()
	var conns []net.Conn
	for _, url := range urls {
		host, path, _ := strings.Cut(strings.TrimPrefix(url, "http://"), "/")
		c, err := net.Dial("tcp", host)
		if err == nil {
			conns = append(conns, c)
			_, err = fmt.Fprintf(c, "GET /%s HTTP/1.1\r\nHost: %s\r\n\r\n", path, host)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		for _, c := range conns {
			c.Close()
		}
	}
}

// stackBytes is the memory that stacks of goroutines take, each as small as the garbage
// collector makes it, which halves it a few times.
func stackBytes() int64 {
	for range 5 {
		runtime.GC()
	}
	sample := []runtimemetrics.Sample{{Name: "/memory/classes/heap/stacks:bytes"}}
	runtimemetrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}
