//go:build unix && chaos

package main

import (
	"context"
	"flag"
	"math/rand/v2"
	"slices"
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

// A chaosRun is a cluster to which faults happen, one or two at a time, while encoders
// come and go.
type chaosRun struct {
	*testCluster
	random *rand.Rand
	rtmp   [3]atomic.Pointer[string] // where each node takes encoders
}

// Whatever happens to three nodes, and between them and to the database, every session is
// closed once, and each of its events is delivered at least once, in order, and not
// invented; and afterwards viewers have media again, on each node. -chaos-seed repeats a
// run, as far as time does.
func TestChaos(t *testing.T) {
	const encoders = 8
	t.Logf("-chaos-seed %d", *chaosSeed)
	var hook deliveries
	c := &chaosRun{testCluster: startCluster(t, "--drain", "3s", "--event-target", "hook="+hook.webhook(t), "--event-webhook-private"),
		random: rand.New(rand.NewPCG(*chaosSeed, 0))}
	for i, n := range c.nodes {
		c.rtmp[i].Store(&n.rtmp)
	}
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	var crowd sync.WaitGroup
	var channels []string
	var viewers []*roamer // one of each node
	for i := range encoders {
		channel, key := c.newChannel(t, i%3)
		channels = append(channels, *channel.Arn)
		if i < len(c.nodes) {
			viewers = append(viewers, roam(t, c.through(t, i, channel.PlaybackUrl)))
		}
		crowd.Go(func() { c.broadcasts(ctx, rand.New(rand.NewPCG(*chaosSeed, uint64(i+1))), key) })
	}
	faults := map[string]int{}
	for began := time.Now(); time.Since(began) < *chaosTime; {
		for _, name := range c.happen() {
			faults[name]++
		}
		time.Sleep(c.upTo(3 * time.Second))
	}
	t.Logf("faults: %v", faults)
	for i, v := range viewers {
		seen := v.has()
		wait(t, "a viewer to get media again", func() bool { return v.has() != seen })
		t.Logf("node %d: its viewer was without a new part for %v at most", i, v.gap().Round(100*time.Millisecond))
	}
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

// A fault happens to a node, or to what is between it and others.
type fault struct {
	name       string
	begin, end func()
	most       time.Duration // how long it lasts
	starts     bool          // its end starts a node, which needs the database and its own address
}

// pick chooses a fault of a node, or of the database for all.
func (c *chaosRun) pick(i int) fault {
	each := func(set func(*gate, bool), on bool) func() {
		return func() {
			for _, g := range c.databases {
				set(g, on)
			}
		}
	}
	pause := func(s syscall.Signal) func() {
		return func() { syscall.Kill(c.nodes[i].process.Process.Pid, s) }
	}
	switch c.random.IntN(8) {
	case 0:
		return fault{"killed", c.nodes[i].kill, func() { c.again(i) }, 8 * time.Second, true}
	case 1:
		return fault{"restarted", c.nodes[i].stop, func() { c.again(i) }, time.Second, true}
	case 2:
		return fault{"paused", pause(syscall.SIGSTOP), pause(syscall.SIGCONT), 12 * time.Second, false}
	case 3:
		return fault{"cut off from the database", func() { c.databases[i].setClosed(true) }, func() { c.databases[i].setClosed(false) }, 10 * time.Second, false}
	case 4:
		return fault{"cut off from the other nodes", func() { c.peers[i].setClosed(true) }, func() { c.peers[i].setClosed(false) }, 12 * time.Second, false}
	case 5:
		return fault{"no answers from the database", func() { c.databases[i].setSilent(true) }, func() { c.databases[i].setSilent(false) }, 12 * time.Second, false}
	case 6:
		return fault{"no answers from the database for all", each((*gate).setSilent, true), each((*gate).setSilent, false), 12 * time.Second, false}
	}
	return fault{"database unreachable", each((*gate).setClosed, true), each((*gate).setClosed, false), 10 * time.Second, false}
}

// happen has one fault happen, or two at once that are of different nodes, to the end, and
// returns the names.
func (c *chaosRun) happen() (names []string) {
	i := c.random.IntN(3)
	list := []fault{c.pick(i)}
	if c.random.IntN(3) == 0 {
		list = append(list, c.pick((i+1+c.random.IntN(2))%3))
	}
	for _, f := range list {
		names = append(names, f.name)
		c.Logf("%s: %s", time.Now().Format(time.TimeOnly), f.name)
		f.begin()
		time.Sleep(c.upTo(f.most))
	}
	if list[0].starts && len(list) > 1 {
		slices.Reverse(list)
	}
	for _, f := range list {
		f.end()
	}
	return names
}

// again starts a node that has ended.
func (c *chaosRun) again(i int) {
	c.start(i, c.nodes[i].data)
	c.rtmp[i].Store(&c.nodes[i].rtmp)
}
