//go:build unix

package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
	"github.com/aws/aws-sdk-go-v2/service/ivs/types"
	"github.com/aws/smithy-go"

	"github.com/millrace/millrace/internal/store/storetest"
	"github.com/millrace/millrace/internal/wiretest"
)

// A testCluster is three nodes, as processes, on one PostgreSQL.
type testCluster struct {
	*testing.T
	database  string
	nodes     []*server
	databases []*gate // between each node and the database
	peers     []*gate // in front of each node, for the others
	flags     [][]string
	clip      *clip
}

var (
	// outage is longer than a lease, which is 3.5 s.
	outage = flag.Duration("outage", 8*time.Second, "for how long TestCluster has the database unreachable")

	neighbour = flag.String("neighbour", "", "path of a millrace of the version before, or of scripts/wrong-clock, that runs one of three nodes")
)

func startCluster(t *testing.T, flags ...string) *testCluster {
	t.Helper()
	c := &testCluster{T: t, database: storetest.Postgres(t)}
	var err error
	if c.clip, err = recordTestPattern(t.Context(), testPattern{Size: "160x90", FPS: 30, Bitrate: 100}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		g, database := startDatabaseGate(t, c.database)
		address := wiretest.FreeAddress(t)
		peer := startGate(t, "tcp", address)
		c.databases, c.peers = append(c.databases, g), append(c.peers, peer)
		c.flags = append(c.flags, append([]string{"--database", database, "--http", address, "--node-url", "http://" + peer.address}, flags...))
		c.nodes = append(c.nodes, nil)
		c.start(len(c.nodes)-1, "")
	}
	return c
}

// start starts a node, with a data folder that it had before or "" for a new one.
func (c *testCluster) start(i int, data string) {
	c.Helper()
	c.nodes[i] = startProcess(c.T, data, func(command *exec.Cmd) {
		if i == 1 && *neighbour != "" {
			command.Path = *neighbour
		}
	}, append([]string{"serve"}, c.flags[i]...)...)
}

// restart starts a node again that has ended.
func (c *testCluster) restart(i int) {
	c.Helper()
	c.start(i, c.nodes[i].data)
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
	buckets := t.TempDir()
	var hook deliveries
	c := startCluster(t, "--faults", "--drain", "30s", "--buckets", buckets, "--max-streams", strconv.Itoa(100+*rollingStreams),
		"--event-target", "hook="+hook.webhook(t), "--event-webhook-private")
	c.allAlive()
	recorded := c.startRecorded(t)
	t.Run("calls anywhere", c.testCalls)
	t.Run("encoders anywhere", c.testEncoders)
	t.Run("viewers anywhere", c.testViewers)
	t.Run("private viewers anywhere", c.testPrivateViewers)
	t.Run("killed", c.testKilled)
	t.Run("paused", func(t *testing.T) { c.testPaused(t, buckets) })
	t.Run("cut off from the database", c.testCutOff)
	t.Run("database unreachable", c.testUnreachableDatabase)
	t.Run("recorded", func(t *testing.T) { recorded.check(t, buckets) })
	t.Run("bad set-ups", c.testBadSetups)
	t.Run("rolling restart", func(t *testing.T) { c.testRolling(t, &hook) })
	t.Run("drained", c.testDrained)
}

// testCalls asks all nodes for what only the one can do that has the stream.
func (c *testCluster) testCalls(t *testing.T) {
	ctx := t.Context()
	ads, err := c.nodes[2].ivs().CreateAdConfiguration(ctx, &awsivs.CreateAdConfigurationInput{MediaTailorPlaybackConfigurations: []types.MediaTailorPlaybackConfiguration{
		{PlaybackConfigurationArn: aws.String("arn:aws:mediatailor:us-west-2:000000000000:playbackConfiguration/demo")}}})
	if err != nil {
		t.Fatal(err)
	}
	n := *c.nodes[1]
	n.t = t
	channel, key := n.channel(awsivs.CreateChannelInput{Name: aws.String("c"), InsecureIngest: true, AdConfigurationArn: ads.AdConfiguration.Arn})
	e := c.publish(t, 0, key)
	defer e.stop()
	stream := c.nodes[2].live(channel.Arn)
	ad := &awsivs.InsertAdBreakInput{ChannelArn: channel.Arn, DurationSeconds: aws.Int32(300)}
	if _, err := c.nodes[2].ivs().InsertAdBreak(ctx, ad); err != nil {
		t.Errorf("InsertAdBreak through a node that does not have the stream: %v", err)
	}
	for i := range c.nodes {
		c.callThrough(t, i, ad, *stream.StreamId)
	}
	c.awaitHellos(t, c.through(t, 0, channel.PlaybackUrl))
	var injected struct{ StreamID string }
	status := c.nodes[2].ask("POST", "/_millrace/faults", fmt.Sprintf(`{"channelArn":%q,"fault":"starvation","duration":"1s"}`, *channel.Arn), &injected)
	if status != http.StatusOK || injected.StreamID != *stream.StreamId {
		t.Errorf("a fault through a node that does not have the stream: %d %+v", status, injected)
	}
	c.nodes[0].waitLog("FAULT ON DEMAND")
	c.rotateSecret(t)
	if _, err := c.nodes[2].ivs().StopStream(ctx, &awsivs.StopStreamInput{ChannelArn: channel.Arn}); err != nil {
		t.Fatal(err)
	}
	want := []string{"Stream End", "Session Ended", "Ad Break Inserted", "Stream Start", "Session Created"}
	if events := stateChanges(c.nodes[1].ended(channel.Arn, stream.StreamId)); !slices.Equal(events, want) {
		t.Errorf("events %q", events)
	}
	_, err = c.nodes[2].ivs().StopStream(ctx, &awsivs.StopStreamInput{ChannelArn: channel.Arn})
	if offline := (*types.ChannelNotBroadcasting)(nil); !errors.As(err, &offline) {
		t.Errorf("StopStream of a channel that is not live: %v", err)
	}
	if err := <-e.last; err == nil || !strings.Contains(err.Error(), "StopStream") {
		t.Errorf("the encoder was told %v", err)
	}
}

// callThrough asks one node about a live stream, in which a break for ads runs.
func (c *testCluster) callThrough(t *testing.T, i int, ad *awsivs.InsertAdBreakInput, streamID string) {
	t.Helper()
	n := c.nodes[i]
	if _, err := n.ivs().PutMetadata(t.Context(), &awsivs.PutMetadataInput{ChannelArn: ad.ChannelArn, Metadata: aws.String(helloFrom(i))}); err != nil {
		t.Errorf("PutMetadata through node %d: %v", i, err)
	}
	_, err := n.ivs().InsertAdBreak(t.Context(), ad)
	if conflict := (*types.ConflictException)(nil); !errors.As(err, &conflict) {
		t.Errorf("InsertAdBreak through node %d while a break runs: %v", i, err)
	}
	path := "/_millrace/channels/" + (*ad.ChannelArn)[strings.LastIndexByte(*ad.ChannelArn, '/')+1:]
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
	wait(t, fmt.Sprintf("the live streams of all nodes through node %d", i), func() bool {
		if *neighbour != "" {
			return true // a node of protocol 1 lists its own alone, and does not tell others
		}
		listed := n.listedStreams()
		return slices.Contains(listed.ids(), streamID) && len(listed.Unreachable) == 0
	})
	if r := n.call("GET", path+"/thumbnail"); r.StatusCode != http.StatusNoContent { // nothing is transcoded
		t.Errorf("the thumbnail through node %d: %s", i, r.Status)
	}
	body := fmt.Sprintf(`{"channelArn":%q,"fault":"earthquake"}`, *ad.ChannelArn)
	var refused struct {
		Message string `json:"message"`
	}
	if status := n.ask("POST", "/_millrace/faults", body, &refused); status != http.StatusBadRequest || !strings.Contains(refused.Message, "must be one of") {
		t.Errorf("a fault that there is not, through node %d: %d %s", i, status, refused.Message)
	}
}

// rotateSecret rotates a secret through one node, and at once through another.
func (c *testCluster) rotateSecret(t *testing.T) {
	t.Helper()
	var rotated struct{ Secret, Message string }
	if status := c.nodes[0].ask("POST", "/_millrace/secrets/webhook/rotate", "", &rotated); status != http.StatusOK || !strings.HasPrefix(rotated.Secret, "whsec_") {
		t.Errorf("the webhook secret is rotated: %d %+v", status, rotated)
	}
	if status := c.nodes[2].ask("POST", "/_millrace/secrets/webhook/rotate", "", &rotated); status != http.StatusConflict || !strings.Contains(rotated.Message, "was rotated") {
		t.Errorf("and again: %d %+v", status, rotated)
	}
	if status := c.nodes[2].ask("POST", "/_millrace/secrets/root/rotate", "", &rotated); status != http.StatusConflict || !strings.Contains(rotated.Message, "--second-access-key-id") {
		t.Errorf("the root credentials, which are given, are rotated: %d %+v", status, rotated)
	}
}

// helloFrom is the text that is put into a stream through a node.
func helloFrom(node int) string { return fmt.Sprintf("hello from node %d", node) }

// awaitHellos waits until the texts of all nodes have been in the media.
func (c *testCluster) awaitHellos(t *testing.T, playback string) {
	t.Helper()
	seen := map[int]bool{}
	wait(t, "the texts of all nodes in the media", func() bool {
		_, list, text := playlists(t, playback)
		folder := list[:strings.LastIndexByte(list, '/')+1]
		for _, segment := range segmentName.FindAllString(text, -1) {
			_, _, body := get(t, folder+segment)
			for i := range c.nodes {
				seen[i] = seen[i] || bytes.Contains(body, []byte(helloFrom(i)))
			}
		}
		return seen[0] && seen[1] && seen[2]
	})
}

func (s *server) listedStreams() (out streamsOutput) {
	s.t.Helper()
	if status := s.ask("GET", "/_millrace/streams", "", &out); status != http.StatusOK {
		s.t.Errorf("GET /_millrace/streams: %d", status)
	}
	return out
}

func (o streamsOutput) ids() (ids []string) {
	for _, s := range o.Streams {
		ids = append(ids, s.StreamID)
	}
	return ids
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
// the stream, and writes nothing more of it: no event, no figure and no object.
func (c *testCluster) testPaused(t *testing.T, buckets string) {
	n := *c.nodes[1]
	n.t = t
	recorded := n.recordingConfiguration(awsivs.CreateRecordingConfigurationInput{
		DestinationConfiguration: &types.DestinationConfiguration{S3: &types.S3DestinationConfiguration{BucketName: aws.String("paused")}}})
	channel, key := n.channel(awsivs.CreateChannelInput{Name: aws.String("paused"), InsecureIngest: true, RecordingConfigurationArn: recorded})
	e := c.publish(t, 0, key)
	defer e.stop()
	stream := c.nodes[1].live(channel.Arn)
	var prefix []string // of its recording
	wait(t, "the recording", func() bool {
		prefix = c.rows(t, "SELECT prefix FROM recordings WHERE channel_arn = $1", channel.Arn)
		return len(prefix) == 1
	})
	pid := c.nodes[0].process.Process.Pid
	suspend(pid)
	awake := time.Now().Add(20 * time.Second)
	t.Cleanup(func() { syscall.Kill(pid, syscall.SIGCONT) })
	ended := c.nodes[1].ended(channel.Arn, stream.StreamId)
	next := c.publish(t, 1, key)
	defer next.stop()
	again := c.nodes[2].live(channel.Arn)
	c.testPartition(t, channel, key)
	figures := func() []string {
		return c.rows(t, "SELECT period || ' ' || start || ' ' || md5(data) FROM metrics WHERE stream_id = $1 ORDER BY 1", stream.StreamId)
	}
	objects := func() (all []string) {
		err := filepath.WalkDir(filepath.Join(buckets, "paused", prefix[0]), func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				all = append(all, path)
			}
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
		return all
	}
	wereFigures, wereObjects := figures(), objects()
	time.Sleep(time.Until(awake))
	syscall.Kill(pid, syscall.SIGCONT)
	if err := <-e.last; err == nil {
		t.Error("the encoder on the paused node continues")
	}
	c.nodes[0].waitLog("the session's lease expired")
	wait(t, "the node to have forgotten the session", func() bool {
		var out nodesOutput
		c.nodes[1].ask("GET", "/_millrace/nodes", "", &out)
		i := slices.IndexFunc(out.Nodes, func(n nodeOutput) bool { return n.URL == "http://"+c.peers[0].address })
		return i >= 0 && out.Nodes[i].Alive && out.Nodes[i].Streams == 0
	})
	after := c.nodes[1].ended(channel.Arn, stream.StreamId)
	ofRecording := func(name string) bool { return strings.HasPrefix(name, "Recording") } // its end is written by the node that wakes
	if events := slices.DeleteFunc(stateChanges(after), ofRecording); !slices.Equal(events, wholeStream) || !after.EndTime.Equal(*ended.EndTime) {
		t.Errorf("events %q, ended %v and then %v", events, *ended.EndTime, *after.EndTime)
	}
	if now := c.nodes[0].live(channel.Arn); *now.StreamId != *again.StreamId {
		t.Errorf("stream %s is live, want %s", *now.StreamId, *again.StreamId)
	}
	wait(t, "the end of the recording on the node that was paused", func() bool {
		return len(c.rows(t, "SELECT id FROM recordings WHERE prefix = $1 AND ended_at > 0", prefix[0])) == 1
	})
	if now := figures(); !slices.Equal(now, wereFigures) {
		t.Errorf("the figures were %q and are %q", wereFigures, now)
	}
	if now := objects(); !slices.Equal(now, wereObjects) {
		t.Errorf("the objects were %q and are %q", wereObjects, now)
	}
	next.leave(t)
	c.nodes[0].ended(channel.Arn, again.StreamId)
}

// rows are those of a query with one column, as the database has them.
func (c *testCluster) rows(t *testing.T, query string, args ...any) (all []string) {
	t.Helper()
	db, err := sql.Open("pgx", c.database)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.QueryContext(t.Context(), query, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			t.Fatal(err)
		}
		all = append(all, text)
	}
	if rows.Err() != nil {
		t.Fatal(rows.Err())
	}
	return all
}

// testPartition cuts nodes 1 and 2 off from each other, and not from the database,
// while node 1 has a stream: it continues there, and the copy on node 2 ends.
func (c *testCluster) testPartition(t *testing.T, channel types.Channel, key string) {
	stream := c.nodes[2].live(channel.Arn)
	relayed := c.through(t, 2, channel.PlaybackUrl)
	waitPlayable(t, relayed)
	_, list, _ := playlists(t, relayed)
	viewer := c.nodes[1].watch(t, c.through(t, 1, channel.PlaybackUrl))
	viewer.waitFor(t, 1)

	c.peers[1].setClosed(true)
	c.peers[2].setClosed(true)
	second := c.publish(t, 2, key+"?priority=2") // it waits
	asked := time.Now()
	put := func(node int) error {
		_, err := c.nodes[node].ivs().PutMetadata(t.Context(), &awsivs.PutMetadataInput{ChannelArn: channel.Arn, Metadata: aws.String("hello")},
			func(o *awsivs.Options) { o.RetryMaxAttempts = 1 })
		return err
	}
	err := put(2)
	if failed := (smithy.APIError)(nil); !errors.As(err, &failed) || failed.ErrorCode() != "StreamUnavailable" {
		t.Errorf("a call to a node that cannot reach the owner: %v", err)
	}
	t.Logf("a call to a node that cannot reach the owner failed after %v", time.Since(asked).Round(time.Millisecond))
	if err := put(1); err != nil {
		t.Errorf("a call to the owner: %v", err)
	}
	var owner serverOutput
	c.nodes[1].ask("GET", "/_millrace/server", "", &owner)
	if listed := c.nodes[2].listedStreams(); slices.Contains(listed.ids(), *stream.StreamId) || len(listed.Unreachable) != 1 || listed.Unreachable[0].Node != owner.Node {
		t.Errorf("the live streams through a node that cannot reach the owner: %+v", listed)
	}
	if err := <-second.last; err == nil || !strings.Contains(err.Error(), "publish again") {
		t.Errorf("an encoder at a node that cannot reach the owner is told %v", err)
	}
	wait(t, "the viewer of the other node to see the end", func() bool {
		_, _, body := get(t, list)
		return strings.Contains(string(body), "#EXT-X-ENDLIST")
	})
	refused, err := http.Get(relayed)
	if err != nil {
		t.Fatal(err)
	}
	refused.Body.Close()
	if refused.StatusCode != http.StatusServiceUnavailable || refused.Header.Get("Retry-After") == "" {
		t.Errorf("the playback URL on a node that cannot reach the owner: %s, %v", refused.Status, refused.Header)
	}
	seen := viewer.segments()
	viewer.waitFor(t, seen+1)
	viewer.check(t)

	c.peers[1].setClosed(false)
	c.peers[2].setClosed(false)
	waitPlayable(t, relayed)
	if err := put(2); err != nil {
		t.Errorf("a call when the nodes reach each other again: %v", err)
	}
	if now := c.nodes[2].live(channel.Arn); *now.StreamId != *stream.StreamId {
		t.Errorf("stream %s became %s", *stream.StreamId, *now.StreamId)
	}
}

// testCutOff cuts one node off from the database. Another one takes its stream, and
// it learns that when it is back.
func (c *testCluster) testCutOff(t *testing.T) {
	channel, key := c.newChannel(t, 1)
	e := c.publish(t, 0, key)
	defer e.stop()
	stream := c.nodes[1].live(channel.Arn)
	c.databases[0].setClosed(true)
	ended := c.nodes[1].ended(channel.Arn, stream.StreamId)
	c.databases[0].setClosed(false)
	if err := <-e.last; err == nil {
		t.Error("the encoder on the node that was cut off continues")
	}
	c.allAlive()
	if after := c.nodes[0].ended(channel.Arn, stream.StreamId); !slices.Equal(stateChanges(after), wholeStream) || !after.EndTime.Equal(*ended.EndTime) {
		t.Errorf("events %q, ended %v and then %v", stateChanges(after), *ended.EndTime, *after.EndTime)
	}
}

// testUnreachableDatabase cuts two nodes off, and lets the third have no answer, as when
// PostgreSQL is stopped: no node could take a stream, and none ends.
func (c *testCluster) testUnreachableDatabase(t *testing.T) {
	type one struct {
		channel types.Channel
		stream  types.Stream
		encoder testEncoder
		viewer  *watcher
		seen    int // segments
	}
	var all [3]one
	for i := range all {
		channel, key := c.newChannel(t, i)
		all[i] = one{channel: channel, encoder: c.publish(t, i, key)}
		defer all[i].encoder.stop()
	}
	front := c.startHAProxy(t)
	for i := range all {
		o := &all[i]
		o.stream = c.nodes[i].live(o.channel.Arn)
		playback := strings.Replace(*o.channel.PlaybackUrl, c.nodes[i].api, front, 1)
		waitPlayable(t, playback)
		o.viewer = c.nodes[i].watch(t, playback)
		o.viewer.waitFor(t, 1)
	}
	c.databases[0].setClosed(true)
	c.databases[1].setClosed(true)
	c.databases[2].setSilent(true)
	until := time.Now().Add(*outage)
	for i := range all {
		all[i].seen = all[i].viewer.segments()
	}
	for _, i := range []int{1, 2} {
		asked := time.Now()
		_, err := c.nodes[i].ivs().ListChannels(t.Context(), &awsivs.ListChannelsInput{}, func(o *awsivs.Options) { o.RetryMaxAttempts = 1 })
		took := time.Since(asked).Round(time.Millisecond)
		if failed := (smithy.APIError)(nil); !errors.As(err, &failed) || failed.ErrorCode() != "ServiceUnavailable" || took > 15*time.Second {
			t.Errorf("a call to node %d without the database, after %v: %v", i, took, err)
		}
		t.Logf("a call to node %d without the database failed after %v: %v", i, took, err)
	}
	time.Sleep(time.Until(until))
	if status, body := health(t, front+"/readyz"); status != http.StatusServiceUnavailable || body.Checks["database"] == "ok" {
		t.Errorf("what is no playback is answered with %d %+v, and not by a node", status, body)
	}
	for _, o := range all {
		o.viewer.waitFor(t, o.seen+2) // without the database
	}
	c.databases[0].setClosed(false)
	c.databases[1].setClosed(false)
	c.databases[2].setSilent(false)
	c.allAlive()
	for i := range all {
		all[i].seen = all[i].viewer.segments()
	}
	for i, o := range all {
		o.viewer.waitFor(t, o.seen+2)
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
	busy, own := c.peers[1].address, c.nodes[1].api
	website, free := wiretest.FreeAddress(t), wiretest.FreeAddress(t)
	for name, tt := range map[string]struct {
		flags []string
		says  []string
	}{
		"without PostgreSQL": {[]string{"--node-url", "http://10.0.0.5:8080"}, []string{"--node-url", "--database postgres://"}},
		"no URL":             {[]string{"--node-url", "10.0.0.5:8080", "--database", c.database}, []string{"--node-url 10.0.0.5:8080", "http://"}},
		"listening address":  {[]string{"--node-url", "http://0.0.0.0:8080", "--database", c.database}, []string{"no other node can reach"}},
		"another node":       {[]string{"--node-url", "http://" + busy, "--database", c.database}, []string{"that of node"}},
		"another address":    {[]string{"--node-url", own, "--database", c.database}, []string{"this is node"}},
		"unreachable":        {[]string{"--node-url", "http://" + website, "--database", c.database}, []string{"not even by itself", "refused"}},
		"other credentials":  {[]string{"--http", free, "--node-url", "http://" + free, "--database", c.database, "--secret-access-key", testSecret + "x"}, []string{"root credentials", "--access-key-id", "not those of node"}},
		"same data folder":   {[]string{"--data", c.nodes[0].data, "--database", c.database}, []string{"another millrace is using this folder"}},
	} {
		t.Run(name, func(t *testing.T) {
			flags := append([]string{"serve", "--data", filepath.Join(t.TempDir(), "data"), "--http", "127.0.0.1:0", "--rtmp", "127.0.0.1:0", "--rtmps", "127.0.0.1:0",
				"--access-key-id", testKey, "--secret-access-key", testSecret}, tt.flags...)
			out, err := millrace(flags...).CombinedOutput()
			if err == nil {
				t.Errorf("it has started and stopped cleanly:\n%s", out)
			}
			for _, says := range tt.says {
				if !bytes.Contains(out, []byte(says)) {
					t.Errorf("it does not say %q, but\n%s", says, out)
				}
			}
		})
	}
}

// testDrained drains a node: encoders that understand it move to another node, also one
// that came through another node; the others may end their streams, also one that the node
// forwards to another one; and then the node has stopped.
func (c *testCluster) testDrained(t *testing.T) {
	carried := c.carry(t, 0, 1)
	passed, passedKey := c.newChannel(t, 1)
	first := c.publish(t, 0, passedKey+"?priority=1")
	defer first.stop()
	passing := c.nodes[1].live(passed.Arn)
	through := c.publish(t, 2, passedKey+"?priority=2")
	defer through.stop()
	if err := <-first.last; err == nil || !strings.Contains(err.Error(), "taken over") {
		t.Errorf("the encoder that was taken over: %v", err)
	}
	moves, movesKey := c.newChannel(t, 1)
	stays, staysKey := c.newChannel(t, 1)
	e := publish(t, rtmpURL(c.nodes[0].rtmp, staysKey), slices.Concat(testInputs, testCodecs)...) // ffmpeg does not understand it
	stream := c.nodes[1].live(stays.Arn)
	front := startGate(t, "tcp", c.nodes[0].rtmp)
	m := c.publishAt(t, front.address, movesKey)
	defer m.stop()
	moving := c.nodes[1].live(moves.Arn)

	front.lead(c.nodes[1].rtmp)
	c.drainInConsole(t, 1, 0)
	for _, path := range []string{"/readyz", "/readyz/playback"} {
		if status, body := health(t, c.nodes[0].api+path); status != http.StatusServiceUnavailable || !strings.Contains(body.Checks["draining"], "draining") {
			t.Errorf("%s = %d %+v", path, status, body)
		}
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
	wait(t, "the encoder that came through another node to have a stream there", func() bool {
		return *c.nodes[1].live(passed.Arn).StreamId != *passing.StreamId
	})
	c.nodes[1].ended(passed.Arn, passing.StreamId)
	through.leave(t)
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
	c.nodes[1].ended(stays.Arn, stream.StreamId)
	carried.check(t)
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

// A carriedEncoder is one that cannot be asked to connect again, whose stream another node has.
type carriedEncoder struct {
	*encoder
	cluster *testCluster
	channel types.Channel
	stream  types.Stream
}

// carry has an encoder come to one node, whose channel's session another node has.
func (c *testCluster) carry(t *testing.T, through, owner int) carriedEncoder {
	channel, key := c.newChannel(t, owner)
	first := publish(t, rtmpURL(c.nodes[owner].rtmp, key+"?priority=1"), slices.Concat(testInputs, testCodecs)...) // ffmpeg does not understand it
	stream := c.nodes[owner].live(channel.Arn)
	e := publish(t, rtmpURL(c.nodes[through].rtmp, key+"?priority=2"), slices.Concat(testInputs, testCodecs)...)
	first.wait() // it is taken over
	return carriedEncoder{e, c, channel, stream}
}

// check has the encoder leave, whose stream is still the same.
func (e carriedEncoder) check(t *testing.T) {
	if now := e.cluster.nodes[2].live(e.channel.Arn); *now.StreamId != *e.stream.StreamId {
		t.Errorf("stream %s became %s", *e.stream.StreamId, *now.StreamId)
	}
	select {
	case <-e.exited:
		t.Errorf("the encoder that is forwarded was cut off by the drain:\n%s", e.stderr)
	default:
	}
	e.leave()
	e.cluster.nodes[2].ended(e.channel.Arn, e.stream.StreamId)
}

// drainInConsole drains a node in the console of another one.
func (c *testCluster) drainInConsole(t *testing.T, here, drained int) {
	t.Helper()
	var refused struct{ Message string }
	if status := c.nodes[here].ask("POST", "/_millrace/drain?node=nowhere", "", &refused); status != http.StatusNotFound || !strings.Contains(refused.Message, `"nowhere"`) {
		t.Errorf("a node that there is not: %d %s", status, refused.Message)
	}
	var self serverOutput
	c.nodes[drained].ask("GET", "/_millrace/server", "", &self)
	item := fmt.Sprintf(`#nodes [data-node=%q]`, self.Node)
	b := openBrowser(t, "about:blank")
	b.open(c.nodes[here].consoleLink(""))
	b.press(`#views a[href="#view=server"]`)
	b.until(`document.querySelectorAll('#nodes [data-state=ACTIVE] meter').length == 3`)
	b.until(fmt.Sprintf(`parseInt(document.querySelector('%s .meter-text').innerText) >= 2`, item))
	b.until(fmt.Sprintf(`document.querySelector('#machine code') && document.querySelector('#machine code').innerText != %q`, self.Node)) // that of the node that answers
	b.press(item + " [aria-pressed=false]")
	b.until(fmt.Sprintf(`document.querySelector('#machine code')?.innerText == %q && document.querySelector('%s [aria-pressed=true]')`, self.Node, item))
	b.press(item + " button:last-child")
	b.look("console-drain")
	b.press("dialog[open] .danger")
	b.until(fmt.Sprintf(`document.querySelector('%s').dataset.state == 'DRAINING' && !document.querySelector('%[1]s button:not([aria-pressed])') && document.activeElement.id == 'page-title'`, item)) // where the focus goes, as the button has gone
	b.look("console-nodes")
	b.clean()
}
