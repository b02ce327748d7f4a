//go:build unix && chaos

package main

import (
	"context"
	"flag"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

var (
	chaosTime = flag.Duration("chaos", 10*time.Minute, "how long TestChaos makes faults happen")
	chaosSeed = flag.Uint64("chaos-seed", rand.Uint64(), "which faults TestChaos makes happen")
)

// A chaosRun is a cluster to which faults happen, one after the other, while encoders
// come and go.
type chaosRun struct {
	*testCluster
	random *rand.Rand
	rtmp   [3]atomic.Pointer[string] // where each node takes encoders
}

// Whatever happens to three nodes, and between them and to the database, every session is
// closed once, and each of its events is told at least once, in order, and not
// invented. -chaos-seed repeats a run, as far as time does.
func TestChaos(t *testing.T) {
	const encoders = 8
	t.Logf("-chaos-seed %d", *chaosSeed)
	var hook story
	c := &chaosRun{testCluster: startCluster(t, "--drain", "3s", "--event-target", "hook="+hook.webhook(t), "--event-webhook-private"),
		random: rand.New(rand.NewPCG(*chaosSeed, 0))}
	for i, n := range c.nodes {
		c.rtmp[i].Store(&n.rtmp)
	}
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	var crowd sync.WaitGroup
	var channels []string
	for i := range encoders {
		channel, key := c.newChannel(t, i%3)
		channels = append(channels, *channel.Arn)
		crowd.Go(func() { c.broadcasts(ctx, rand.New(rand.NewPCG(*chaosSeed, uint64(i+1))), key) })
	}
	faults := map[string]int{}
	for began := time.Now(); time.Since(began) < *chaosTime; {
		faults[c.fault()]++
		time.Sleep(c.upTo(3 * time.Second))
	}
	t.Logf("faults: %v", faults)
	leave()
	crowd.Wait()
	c.allAlive()

	histories := map[string][]string{}
	events := 0
	for _, arn := range channels {
		for id, names := range c.nodes[0].histories(arn) {
			histories[id] = names
			events += len(names)
		}
	}
	hook.check(t, histories)
	t.Logf("%d sessions, %d events", len(histories), events)
	for id, names := range hook.streams {
		if histories[id] == nil {
			t.Errorf("the webhook got %q of %s, which has no history", names, id)
		}
	}
}

func (c *chaosRun) upTo(d time.Duration) time.Duration {
	return time.Duration(c.random.Int64N(int64(d)))
}

// broadcasts publishes to one node after the other until ctx is done.
func (c *chaosRun) broadcasts(ctx context.Context, random *rand.Rand, key string) {
	for ctx.Err() == nil {
		round, cancel := context.WithTimeout(ctx, time.Duration(500+random.IntN(9000))*time.Millisecond)
		if err := publishTo(round, rtmpURL(*c.rtmp[random.IntN(3)].Load(), key), &paced{source: c.clip.loop()}, nil); err != nil {
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
		cancel()
	}
}

// fault makes one fault happen, to its end, and returns its name.
func (c *chaosRun) fault() string {
	i := c.random.IntN(3)
	switch c.random.IntN(6) {
	case 0:
		c.nodes[i].kill()
		time.Sleep(c.upTo(8 * time.Second))
		c.again(i)
		return "killed"
	case 1:
		c.nodes[i].stop()
		c.again(i)
		return "restarted"
	case 2:
		pid := c.nodes[i].process.Process.Pid
		suspend(pid)
		time.Sleep(c.upTo(12 * time.Second))
		syscall.Kill(pid, syscall.SIGCONT)
		return "paused"
	case 3:
		c.databases[i].setClosed(true)
		time.Sleep(c.upTo(10 * time.Second))
		c.databases[i].setClosed(false)
		return "cut off from the database"
	case 4:
		c.peers[i].setClosed(true)
		time.Sleep(c.upTo(12 * time.Second))
		c.peers[i].setClosed(false)
		return "cut off from the other nodes"
	}
	for _, g := range c.databases {
		g.setClosed(true)
	}
	time.Sleep(c.upTo(10 * time.Second))
	for _, g := range c.databases {
		g.setClosed(false)
	}
	return "database away"
}

// again starts a node that has ended.
func (c *chaosRun) again(i int) {
	c.start(i, c.nodes[i].data)
	c.rtmp[i].Store(&c.nodes[i].rtmp)
}
