//go:build unix

package main

import (
	"context"
	"flag"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ivs/types"
)

var (
	rollingStreams = flag.Int("sessions", 4, "how many streams TestCluster moves in a rolling restart")
	rollingViewers = flag.Int("viewers", 2, "how many of them are watched")
)

// testRolling restarts the nodes one after the other, as an upgrade does. Encoders and
// viewers come through balancers: every stream moves to a node that stays, each session
// is closed once, each event comes once and in order, and viewers continue. The nodes are
// given second root credentials with it.
func (c *testCluster) testRolling(t *testing.T, hook *deliveries) {
	type one struct {
		channel         types.Channel
		encoder         testEncoder
		ingest, viewers *balancer
		viewer          *roamer // nil for most
	}
	all := make([]one, *rollingStreams)
	for i := range all {
		o := &all[i]
		var key string
		o.channel, key = c.newChannel(t, i%3)
		o.ingest = c.balance(t, i%3, func(n *server) string { return n.rtmp })
		o.encoder = c.publishThrough(t, o.ingest.address, key)
		defer o.encoder.stop()
	}
	for i := range all {
		o := &all[i]
		c.nodes[0].live(o.channel.Arn)
		if i < *rollingViewers {
			o.viewers = c.balance(t, (i+1)%3, func(n *server) string { return strings.TrimPrefix(n.api, "http://") })
			playback := at(t, o.viewers.address, o.channel.PlaybackUrl)
			waitPlayable(t, playback)
			o.viewer = roam(t, playback)
		}
	}
	began := time.Now()
	second := aws.Credentials{AccessKeyID: "AKIDSECOND", SecretAccessKey: "a second secret"}
	for i := range c.nodes {
		for j, o := range all {
			o.ingest.avoid(i, j)
			if o.viewers != nil {
				o.viewers.avoid(i, j)
			}
		}
		c.terminate(t, i)
		if *neighbour == "" {
			c.flags[i] = append(c.flags[i], "--second-access-key-id", second.AccessKeyID, "--second-secret-access-key", second.SecretAccessKey)
		}
		c.restart(i)
		for _, o := range all {
			if now := c.nodes[i].live(o.channel.Arn); o.viewer != nil {
				wait(t, "a viewer to have the stream", func() bool { return strings.Contains(o.viewer.has(), *now.StreamId) })
			}
		}
	}
	t.Logf("all nodes were restarted, with %d streams, within %v", len(all), time.Since(began).Round(100*time.Millisecond))
	for i, n := range c.nodes {
		if _, err := n.clientOf(second).ListChannels(t.Context(), nil); err != nil && *neighbour == "" {
			t.Errorf("node %d, by the second root credentials: %v", i, err)
		}
	}
	var longest time.Duration
	for _, o := range all {
		if o.viewer != nil {
			longest = max(longest, o.viewer.gap())
		}
	}
	t.Logf("the longest time from one part to the next, of %d viewers: %v", *rollingViewers, longest.Round(10*time.Millisecond))

	histories := map[string][]string{}
	for _, o := range all {
		o.encoder.leave(t)
		sessions := c.nodes[0].histories(*o.channel.Arn)
		if len(sessions) <= o.ingest.moves {
			t.Errorf("%d sessions of a channel whose encoder has moved %d times", len(sessions), o.ingest.moves)
		}
		for id, names := range sessions {
			histories[id] = names
		}
	}
	hook.check(t, histories)
}

// terminate sends SIGTERM to a node and waits until it has ended.
func (c *testCluster) terminate(t *testing.T, i int) {
	t.Helper()
	c.nodes[i].process.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.nodes[i].exited:
	case <-time.After(patience):
		t.Fatalf("node %d does not stop", i)
	}
}

// A balancer leads connections to one of the nodes.
type balancer struct {
	*gate
	cluster *testCluster
	of      func(*server) string // the address of a node
	node    int
	moves   int
}

func (c *testCluster) balance(t *testing.T, node int, of func(*server) string) *balancer {
	return &balancer{gate: startGate(t, "tcp", of(c.nodes[node])), cluster: c, of: of, node: node}
}

// avoid leads new connections to another node if they are led to this one: by turns to
// one of both others.
func (b *balancer) avoid(node, turn int) {
	if b.node == node {
		b.node = (node + 1 + turn%2) % 3
		b.moves++
		b.lead(b.of(b.cluster.nodes[b.node]))
	}
}

// publishThrough publishes to an address until the encoder is stopped. When it is cut
// off, it comes back after a second.
func (c *testCluster) publishThrough(t *testing.T, address, key string) testEncoder {
	ctx, stop := context.WithCancel(t.Context())
	e := testEncoder{stop, make(chan error, 1)}
	go func() {
		defer close(e.last)
		for ctx.Err() == nil {
			publishTo(ctx, rtmpURL(address, key), &paced{source: c.clip.loop()}, nil)
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}()
	return e
}

// A roamer watches a channel as a player does that opens the playback URL again when
// a stream has ended or cannot be fetched.
type roamer struct {
	client  http.Client
	stop    context.CancelFunc
	stopped chan struct{}

	mu      sync.Mutex
	newest  string        // guarded by mu, as is what follows; address of the newest part that it has
	since   time.Time     // when it got that
	longest time.Duration // from one part to the next
}

func roam(t *testing.T, playback string) *roamer {
	ctx, stop := context.WithCancel(t.Context())
	r := &roamer{client: http.Client{Transport: &http.Transport{}}, stop: stop, stopped: make(chan struct{})}
	t.Cleanup(func() { stop(); <-r.stopped; r.client.CloseIdleConnections() })
	go func() {
		defer close(r.stopped)
		for ctx.Err() == nil {
			r.play(ctx, playback)
			rest(ctx)
		}
	}()
	return r
}

// rest is the time between two requests of a roamer.
func rest(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(50 * time.Millisecond):
	}
}

// play fetches the newest part, over and over, until the stream has ended or a request
// fails.
func (r *roamer) play(ctx context.Context, playback string) {
	multivariant := r.get(ctx, playback)
	rendition, _ := uris(multivariant)
	if rendition == "" {
		return
	}
	list := playback[:strings.LastIndexByte(playback, '/')+1] + rendition
	folder := list[:strings.LastIndexByte(list, '/')+1]
	for {
		text := r.get(ctx, list)
		if text == "" || strings.Contains(text, "#EXT-X-ENDLIST") {
			return
		}
		if _, part := uris(text); part != "" && folder+part != r.has() && r.get(ctx, folder+part) != "" {
			r.got(folder + part)
		}
		rest(ctx)
	}
}

// get fetches an address; "" where that fails.
func (r *roamer) get(ctx context.Context, address string) string {
	status, body, err := fetchWith(ctx, &r.client, address)
	if err != nil || status != http.StatusOK {
		return ""
	}
	return string(body)
}

func (r *roamer) got(part string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if r.newest != "" {
		r.longest = max(r.longest, now.Sub(r.since))
	}
	r.newest, r.since = part, now
}

// has is the address of the newest part that it has.
func (r *roamer) has() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.newest
}

func (r *roamer) gap() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.longest
}
