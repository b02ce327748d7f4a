//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
	"github.com/aws/aws-sdk-go-v2/service/ivs/types"
	"github.com/aws/smithy-go"

	"github.com/millrace/millrace/internal/store/storetest"
)

// A testCluster is three nodes, as processes, on one PostgreSQL. Each has a way to
// it of its own, which can be cut.
type testCluster struct {
	*testing.T
	database string
	nodes    []*server
	ways     []*databaseProxy
	flags    [][]string
	clip     *clip
}

func startCluster(t *testing.T, flags ...string) *testCluster {
	t.Helper()
	c := &testCluster{T: t, database: storetest.Postgres(t)}
	var err error
	if c.clip, err = recordTestPattern(t.Context(), testPattern{Size: "160x90", FPS: 30, Bitrate: 100}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		way, address := proxyTo(t, c.database), freeAddress(t)
		c.ways = append(c.ways, way)
		c.flags = append(c.flags, append([]string{"--database", way.url, "--http", address, "--node-url", "http://" + address}, flags...))
		c.nodes = append(c.nodes, startServer(t, "", c.flags[len(c.flags)-1]...))
	}
	return c
}

// freeAddress is one that nothing listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// restart starts a node again that has ended.
func (c *testCluster) restart(i int) {
	c.Helper()
	c.nodes[i] = startServer(c.T, c.nodes[i].data, c.flags[i]...)
	c.allAlive()
}

// allAlive waits until each node knows of three that live.
func (c *testCluster) allAlive() {
	c.Helper()
	for _, n := range c.nodes {
		wait(c.T, "all nodes to be alive", func() bool {
			var out nodesOutput
			status := n.ask("GET", "/_millrace/nodes", "", &out)
			alive := 0
			for _, m := range out.Nodes {
				if m.Alive && !m.Draining {
					alive++
				}
			}
			return status == http.StatusOK && alive == 3
		})
	}
}

// A testEncoder publishes to one node after the other, as one behind a balancer
// does that connects again each second.
type testEncoder struct {
	stop context.CancelFunc
	last chan error // of an encoder that does not come again
}

// publish publishes to a node until the encoder is stopped or cut off.
func (c *testCluster) publish(t *testing.T, node int, key string) testEncoder {
	return c.publishAt(t, c.nodes[node].rtmp, key)
}

func (c *testCluster) publishAt(t *testing.T, address, key string) testEncoder {
	ctx, stop := context.WithCancel(t.Context())
	e := testEncoder{stop, make(chan error, 1)}
	go func() {
		e.last <- publishTo(ctx, rtmpURL(address, key), &paced{source: c.clip.loop()}, nil)
	}()
	return e
}

// publishAgain publishes to the nodes in turn until the encoder is stopped: when it
// is cut off, it comes back after a second.
func (c *testCluster) publishAgain(t *testing.T, key string, nodes ...int) testEncoder {
	ctx, stop := context.WithCancel(t.Context())
	e := testEncoder{stop, make(chan error, 1)}
	go func() {
		defer close(e.last)
		for i := 0; ctx.Err() == nil; i++ {
			publishTo(ctx, rtmpURL(c.nodes[nodes[min(i, len(nodes)-1)]].rtmp, key), &paced{source: c.clip.loop()}, nil)
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}()
	return e
}

func (e testEncoder) leave(t *testing.T) {
	t.Helper()
	e.stop()
	select {
	case err := <-e.last:
		if err != nil {
			t.Errorf("the encoder: %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the encoder does not end")
	}
}

// newChannel is a channel that is made through a node.
func (c *testCluster) newChannel(t *testing.T, node int) (types.Channel, string) {
	t.Helper()
	n := *c.nodes[node]
	n.t = t
	return n.channel(awsivs.CreateChannelInput{Name: aws.String("c"), InsecureIngest: true})
}

var wholeStream = []string{"Stream End", "Session Ended", "Stream Start", "Session Created"}

// Three nodes are one: calls and encoders go to any of them, one that dies or is
// paused loses its streams to the others, and none is lost when the database is.
func TestCluster(t *testing.T) {
	t.Parallel() // it mostly waits
	c := startCluster(t, "--faults", "--drain", "30s")
	c.allAlive()
	t.Run("calls anywhere", c.testCalls)
	t.Run("encoders anywhere", c.testEncoders)
	t.Run("viewers anywhere", c.testViewers)
	t.Run("private viewers anywhere", c.testPrivateViewers)
	t.Run("killed", c.testKilled)
	t.Run("paused", c.testPaused)
	t.Run("cut off from the database", c.testCutOff)
	t.Run("database away", c.testDatabaseAway)
	t.Run("bad set-ups", c.testBadSetups)
	t.Run("drained", c.testDrained)
}

// testCalls asks all nodes for what only the one can do that has the stream.
func (c *testCluster) testCalls(t *testing.T) {
	channel, key := c.newChannel(t, 1)
	e := c.publish(t, 0, key)
	defer e.stop()
	stream := c.nodes[2].live(channel.Arn)
	ctx := t.Context()
	for i, n := range c.nodes {
		if _, err := n.ivs().PutMetadata(ctx, &awsivs.PutMetadataInput{ChannelArn: channel.Arn, Metadata: aws.String("hello")}); err != nil {
			t.Errorf("PutMetadata through node %d: %v", i, err)
		}
		_, err := n.ivs().InsertAdBreak(ctx, &awsivs.InsertAdBreakInput{ChannelArn: channel.Arn, DurationSeconds: aws.Int32(5)})
		if conflict := (*types.ConflictException)(nil); !errors.As(err, &conflict) {
			t.Errorf("InsertAdBreak through node %d, of a channel without an ad configuration: %v", i, err)
		}
		path := "/_millrace/channels/" + (*channel.Arn)[strings.LastIndexByte(*channel.Arn, '/')+1:]
		var health struct {
			Sentence string         `json:"sentence"`
			Measured map[string]any `json:"measured"`
		}
		wait(t, "the health to have figures", func() bool {
			status := n.ask("GET", path+"/health", "", &health)
			return status == http.StatusOK && strings.Contains(health.Sentence, "fine") || len(health.Measured) > 0 && !strings.Contains(health.Sentence, "Another node")
		})
		wait(t, "the figures of the last seconds", func() bool {
			var out struct {
				Metrics map[string][][2]float64 `json:"metrics"`
			}
			status := n.ask("GET", path+"/metrics", "", &out)
			points := 0
			for _, m := range out.Metrics {
				points += len(m)
			}
			return status == http.StatusOK && points > 0
		})
		if r := n.call("GET", path+"/thumbnail"); r.StatusCode != http.StatusNotFound { // nothing is transcoded
			t.Errorf("the thumbnail through node %d: %s", i, r.Status)
		}
		body := fmt.Sprintf(`{"channelArn":%q,"fault":"earthquake"}`, *channel.Arn)
		var refused struct {
			Message string `json:"message"`
		}
		if status := n.ask("POST", "/_millrace/faults", body, &refused); status != http.StatusBadRequest || !strings.Contains(refused.Message, "must be one of") {
			t.Errorf("a fault that there is not, through node %d: %d %s", i, status, refused.Message)
		}
	}
	if _, err := c.nodes[2].ivs().StopStream(ctx, &awsivs.StopStreamInput{ChannelArn: channel.Arn}); err != nil {
		t.Fatal(err)
	}
	if events := stateChanges(c.nodes[1].ended(channel.Arn, stream.StreamId)); !slices.Equal(events, wholeStream) {
		t.Errorf("events %q", events)
	}
	_, err := c.nodes[2].ivs().StopStream(ctx, &awsivs.StopStreamInput{ChannelArn: channel.Arn})
	if offline := (*types.ChannelNotBroadcasting)(nil); !errors.As(err, &offline) {
		t.Errorf("StopStream of a channel that is not live: %v", err)
	}
	if err := <-e.last; err == nil || !strings.Contains(err.Error(), "StopStream") {
		t.Errorf("the encoder was told %v", err)
	}
}

// testEncoders has a second encoder come to another node than the first.
func (c *testCluster) testEncoders(t *testing.T) {
	channel, key := c.newChannel(t, 0)
	first := c.publish(t, 0, key+"?priority=1")
	defer first.stop()
	stream := c.nodes[1].live(channel.Arn)

	second := c.publish(t, 1, key)
	if err := <-second.last; err == nil || !strings.Contains(err.Error(), "live already") {
		t.Errorf("a second encoder on another node: %v", err)
	}
	lower := c.publish(t, 1, key+"?priority=1")
	if err := <-lower.last; err == nil || !strings.Contains(err.Error(), "not above") {
		t.Errorf("one without a higher priority: %v", err)
	}
	higher := c.publish(t, 2, key+"?priority=2")
	defer higher.stop()
	if err := <-first.last; err == nil || !strings.Contains(err.Error(), "taken over") {
		t.Errorf("the first encoder: %v", err)
	}
	c.nodes[2].waitLog("an encoder is forwarded")
	if now := c.nodes[2].live(channel.Arn); *now.StreamId != *stream.StreamId {
		t.Errorf("stream %s became %s", *stream.StreamId, *now.StreamId)
	}
	wait(t, "Stream Takeover", func() bool {
		out, err := c.nodes[1].ivs().GetStreamSession(t.Context(), &awsivs.GetStreamSessionInput{ChannelArn: channel.Arn, StreamId: stream.StreamId})
		return err == nil && slices.ContainsFunc(out.StreamSession.TruncatedEvents, func(e types.StreamEvent) bool { return *e.Name == "Stream Takeover" })
	})
	// Back on the node that has the stream, and elsewhere again.
	third := c.publish(t, 0, key+"?priority=3")
	defer third.stop()
	if err := <-higher.last; err == nil || !strings.Contains(err.Error(), "taken over") {
		t.Errorf("the encoder that came through another node: %v", err)
	}
	fourth := c.publish(t, 1, key+"?priority=4")
	if err := <-third.last; err == nil || !strings.Contains(err.Error(), "taken over") {
		t.Errorf("the third encoder: %v", err)
	}
	if _, err := c.nodes[2].ivs().StopStream(t.Context(), &awsivs.StopStreamInput{ChannelArn: channel.Arn}); err != nil {
		t.Fatal(err)
	}
	if err := <-fourth.last; err == nil || !strings.Contains(err.Error(), "StopStream") {
		t.Errorf("the fourth encoder was told %v", err)
	}
	events := stateChanges(c.nodes[1].ended(channel.Arn, stream.StreamId))
	want := []string{"Stream End", "Session Ended", "Stream Takeover", "Stream Takeover", "Stream Takeover", "Stream Takeover Failure", "Stream Start", "Session Created"}
	if !slices.Equal(events, want) {
		t.Errorf("events %q", events)
	}
}

// testKilled kills the node that has a stream. Another one ends it, and its encoder
// is live again there.
func (c *testCluster) testKilled(t *testing.T) {
	channel, key := c.newChannel(t, 1)
	e := c.publishAgain(t, key, 0, 1)
	defer e.stop()
	stream := c.nodes[1].live(channel.Arn)
	killed := time.Now()
	c.nodes[0].kill()
	var again types.Stream
	wait(t, "the channel to be live on another node", func() bool {
		again = c.nodes[2].live(channel.Arn)
		return *again.StreamId != *stream.StreamId
	})
	t.Logf("live again %v after the kill", time.Since(killed).Round(10*time.Millisecond))
	if *again.ChannelArn != *channel.Arn {
		t.Errorf("%+v", again)
	}
	old := c.nodes[2].ended(channel.Arn, stream.StreamId)
	if events := stateChanges(old); !slices.Equal(events, wholeStream) {
		t.Errorf("events of the stream whose node was killed: %q", events)
	}
	c.restart(0)
	if events := stateChanges(c.nodes[0].ended(channel.Arn, stream.StreamId)); !slices.Equal(events, wholeStream) {
		t.Errorf("events after the restart: %q", events)
	}
	e.leave(t)
	c.nodes[0].ended(channel.Arn, again.StreamId)
}

// testPaused stops the node that has a stream for 20 s. When it wakes it has lost
// the stream, and writes nothing more of it.
func (c *testCluster) testPaused(t *testing.T) {
	channel, key := c.newChannel(t, 1)
	e := c.publish(t, 0, key)
	defer e.stop()
	stream := c.nodes[1].live(channel.Arn)
	pid := c.nodes[0].process.Process.Pid
	suspend(pid)
	awake := time.Now().Add(20 * time.Second)
	t.Cleanup(func() { syscall.Kill(pid, syscall.SIGCONT) })
	ended := c.nodes[1].ended(channel.Arn, stream.StreamId)
	next := c.publish(t, 1, key)
	defer next.stop()
	again := c.nodes[2].live(channel.Arn)
	time.Sleep(time.Until(awake))
	syscall.Kill(pid, syscall.SIGCONT)
	if err := <-e.last; err == nil {
		t.Error("the encoder on the paused node goes on")
	}
	c.nodes[0].waitLog("the session's lease expired")
	wait(t, "the node to have forgotten the session", func() bool {
		var out nodesOutput
		c.nodes[1].ask("GET", "/_millrace/nodes", "", &out)
		i := slices.IndexFunc(out.Nodes, func(n nodeJSON) bool { return n.URL == "http://"+strings.TrimPrefix(c.nodes[0].api, "http://") })
		return i >= 0 && out.Nodes[i].Alive && out.Nodes[i].Streams == 0
	})
	after := c.nodes[1].ended(channel.Arn, stream.StreamId)
	if events := stateChanges(after); !slices.Equal(events, wholeStream) || !after.EndTime.Equal(*ended.EndTime) {
		t.Errorf("events %q, ended %v and then %v", events, *ended.EndTime, *after.EndTime)
	}
	if now := c.nodes[0].live(channel.Arn); *now.StreamId != *again.StreamId {
		t.Errorf("stream %s is live, want %s", *now.StreamId, *again.StreamId)
	}
	next.leave(t)
	c.nodes[0].ended(channel.Arn, again.StreamId)
}

// testCutOff cuts one node off from the database. Another one takes its stream, and
// it learns that when it is back.
func (c *testCluster) testCutOff(t *testing.T) {
	channel, key := c.newChannel(t, 1)
	e := c.publish(t, 0, key)
	defer e.stop()
	stream := c.nodes[1].live(channel.Arn)
	c.ways[0].setAway(true)
	ended := c.nodes[1].ended(channel.Arn, stream.StreamId)
	c.ways[0].setAway(false)
	if err := <-e.last; err == nil {
		t.Error("the encoder on the node that was cut off goes on")
	}
	c.allAlive()
	if after := c.nodes[0].ended(channel.Arn, stream.StreamId); !slices.Equal(stateChanges(after), wholeStream) || !after.EndTime.Equal(*ended.EndTime) {
		t.Errorf("events %q, ended %v and then %v", stateChanges(after), *ended.EndTime, *after.EndTime)
	}
}

// testDatabaseAway cuts all nodes off: nobody could take a stream, and none ends.
func (c *testCluster) testDatabaseAway(t *testing.T) {
	const away = 8 * time.Second // a lease is 3.5 s
	type one struct {
		channel types.Channel
		stream  types.Stream
		encoder testEncoder
		viewer  *watcher
	}
	var all []one
	for i := range c.nodes {
		channel, key := c.newChannel(t, i)
		e := c.publish(t, i, key)
		defer e.stop()
		o := one{channel: channel, encoder: e, stream: c.nodes[i].live(channel.Arn)}
		playback := *channel.PlaybackUrl
		waitPlayable(t, playback)
		o.viewer = c.nodes[i].watch(t, playback)
		o.viewer.waitFor(t, 1)
		all = append(all, o)
	}
	for _, w := range c.ways {
		w.setAway(true)
	}
	until := time.Now().Add(away)
	asked := time.Now()
	_, err := c.nodes[1].ivs().ListChannels(t.Context(), &awsivs.ListChannelsInput{}, func(o *awsivs.Options) { o.RetryMaxAttempts = 1 })
	if failed := (smithy.APIError)(nil); !errors.As(err, &failed) || failed.ErrorCode() != "ServiceUnavailable" {
		t.Errorf("a call without the database: %v", err)
	}
	t.Logf("a call without the database failed after %v: %v", time.Since(asked).Round(time.Millisecond), err)
	time.Sleep(time.Until(until))
	for _, w := range c.ways {
		w.setAway(false)
	}
	c.allAlive()
	for i, o := range all {
		seen := o.viewer.segments()
		o.viewer.waitFor(t, seen+2)
		o.viewer.check(t)
		if now := c.nodes[(i+1)%3].live(o.channel.Arn); *now.StreamId != *o.stream.StreamId {
			t.Errorf("stream %s became %s", *o.stream.StreamId, *now.StreamId)
		}
		o.encoder.leave(t)
		if events := stateChanges(c.nodes[i].ended(o.channel.Arn, o.stream.StreamId)); !slices.Equal(events, wholeStream) {
			t.Errorf("events %q", events)
		}
	}
}

// testBadSetups starts nodes that cannot work.
func (c *testCluster) testBadSetups(t *testing.T) {
	busy := strings.TrimPrefix(c.nodes[1].api, "http://")
	website := freeAddress(t)
	for name, tt := range map[string]struct {
		flags []string
		says  []string
	}{
		"without PostgreSQL": {[]string{"--node-url", "http://10.0.0.5:8080"}, []string{"--node-url", "--database postgres://"}},
		"no URL":             {[]string{"--node-url", "10.0.0.5:8080", "--database", c.database}, []string{"--node-url 10.0.0.5:8080", "http://"}},
		"listening address":  {[]string{"--node-url", "http://0.0.0.0:8080", "--database", c.database}, []string{"no other node can reach"}},
		"another node":       {[]string{"--node-url", "http://" + busy, "--database", c.database}, []string{"that of node"}},
		"another address":    {[]string{"--node-url", "http://localhost:" + busy[strings.LastIndexByte(busy, ':')+1:], "--database", c.database}, []string{"this is node"}},
		"unreachable":        {[]string{"--node-url", "http://" + website, "--database", c.database}, []string{"not even by itself", "refused"}},
		"same data folder":   {[]string{"--data", c.nodes[0].data, "--database", c.database}, []string{"another millrace is using this folder"}},
	} {
		t.Run(name, func(t *testing.T) {
			flags := append([]string{"serve", "--data", filepath.Join(t.TempDir(), "data"), "--http", "127.0.0.1:0", "--rtmp", "127.0.0.1:0", "--rtmps", "127.0.0.1:0",
				"--access-key-id", testKey, "--secret-access-key", testSecret}, tt.flags...)
			out, err := millrace(flags...).CombinedOutput()
			if err == nil {
				t.Errorf("it has started and stopped in good order:\n%s", out)
			}
			for _, says := range tt.says {
				if !bytes.Contains(out, []byte(says)) {
					t.Errorf("it does not say %q, but\n%s", says, out)
				}
			}
		})
	}
}

// testDrained drains a node: an encoder that understands it moves to another node,
// the other one may end its stream, and then the node has stopped.
func (c *testCluster) testDrained(t *testing.T) {
	moves, movesKey := c.newChannel(t, 1)
	stays, staysKey := c.newChannel(t, 1)
	e := publish(t, rtmpURL(c.nodes[0].rtmp, staysKey), slices.Concat(testInputs, testCodecs)...) // ffmpeg does not understand it
	stream := c.nodes[1].live(stays.Arn)
	front := startBalancer(t, c.nodes[0].rtmp)
	m := c.publishAt(t, front.address, movesKey)
	defer m.stop()
	moving := c.nodes[1].live(moves.Arn)

	front.moves(c.nodes[1].rtmp)
	c.drainInConsole(t, 1, 0)
	if status, body := health(t, c.nodes[0].api+"/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body.Checks["draining"], "draining") {
		t.Errorf("/readyz = %d %+v", status, body)
	}
	if status, body := health(t, c.nodes[0].api+"/healthz"); status != http.StatusOK {
		t.Errorf("/healthz = %d %+v", status, body)
	}
	wait(t, "the encoder that understands it to be live on another node", func() bool {
		now := c.nodes[2].live(moves.Arn)
		return *now.StreamId != *moving.StreamId
	})
	if events := stateChanges(c.nodes[1].ended(moves.Arn, moving.StreamId)); !slices.Equal(events, wholeStream) {
		t.Errorf("events of the stream that has moved: %q", events)
	}
	_, lateKey := c.newChannel(t, 1)
	late := c.publish(t, 0, lateKey)
	if err := <-late.last; err == nil || !strings.Contains(err.Error(), "about to stop") {
		t.Errorf("a new encoder is told %v", err)
	}
	c.nodes[0].process.Process.Signal(syscall.SIGTERM)
	c.nodes[0].waitLog("draining")
	if now := c.nodes[2].live(stays.Arn); *now.StreamId != *stream.StreamId {
		t.Errorf("stream %s became %s", *stream.StreamId, *now.StreamId)
	}
	e.leave()
	select {
	case <-c.nodes[0].exited:
	case <-time.After(patience):
		t.Fatal("the node does not stop although its streams have ended")
	}
	if events := stateChanges(c.nodes[1].ended(stays.Arn, stream.StreamId)); !slices.Equal(events, wholeStream) {
		t.Errorf("events of the stream that has ended meanwhile: %q", events)
	}
	m.leave(t)
}

// drainInConsole drains a node in the console of another one.
func (c *testCluster) drainInConsole(t *testing.T, here, drained int) {
	t.Helper()
	var refused struct{ Message string }
	if status := c.nodes[here].ask("POST", "/_millrace/drain?node=nowhere", "", &refused); status != http.StatusNotFound || !strings.Contains(refused.Message, `"nowhere"`) {
		t.Errorf("a node that there is not: %d %s", status, refused.Message)
	}
	var self machineOutput
	c.nodes[drained].ask("GET", "/_millrace/server", "", &self)
	item := fmt.Sprintf(`#nodes [data-node=%q]`, self.Node)
	b := openBrowser(t, "about:blank")
	b.open(c.nodes[here].consoleLink(""))
	b.press(`#views a[href="#view=server"]`)
	b.until(`document.querySelectorAll('#nodes [data-state=ACTIVE] meter').length == 3`)
	b.until(fmt.Sprintf(`parseInt(document.querySelector('%s .meter-text').innerText) >= 2`, item))
	b.press(item + " button")
	b.look("console-drain")
	b.press("dialog[open] .danger")
	b.until(fmt.Sprintf(`document.querySelector('%s').dataset.state == 'DRAINING' && !document.querySelector('%[1]s button') && document.activeElement.id == 'page-title'`, item)) // where the focus goes, as the button has gone
	b.look("console-nodes")
	b.clean()
}

// A balancer leads each new connection to the address that it has then.
type balancer struct {
	address string

	mu sync.Mutex
	to string // guarded by mu
}

func startBalancer(t *testing.T, to string) *balancer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &balancer{address: l.Addr().String(), to: to}
	var running sync.WaitGroup
	t.Cleanup(func() { l.Close(); running.Wait() })
	running.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { b.pass(nc) })
		}
	})
	return b
}

func (b *balancer) pass(nc net.Conn) {
	defer nc.Close()
	b.mu.Lock()
	to := b.to
	b.mu.Unlock()
	server, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	go func() { io.Copy(nc, server); nc.Close() }() // ends with the connections
	io.Copy(server, nc)                             // as above
	server.Close()
}

// moves leads new connections to another address.
func (b *balancer) moves(to string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.to = to
}
