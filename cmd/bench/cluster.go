//go:build linux

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // database/sql driver "pgx"
	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/internal/store/storetest"
	"github.com/millrace/millrace/internal/wiretest"
)

const (
	nodes         = 3
	clusterRounds = 3 // how often what is compared is measured in turn
)

// A benchCluster is three nodes on one PostgreSQL, which runs on the load's core.
type benchCluster struct {
	bench    *bench
	cores    string // of the nodes
	postgres *storetest.Server
	dsn      string
	nodes    [nodes]*server // nil before its start
}

func startCluster(b *bench, cores string) (*benchCluster, error) {
	c := &benchCluster{bench: b, cores: cores}
	var err error
	if c.postgres, err = storetest.Start("shared_preload_libraries=pg_stat_statements", "pg_stat_statements.max=10000"); err != nil {
		return nil, fmt.Errorf("PostgreSQL (Debian package postgresql): %w", err)
	}
	if c.dsn, err = c.postgres.Create("bench"); err != nil {
		c.stop()
		return nil, err
	}
	for i := range c.nodes {
		if err := c.start(i); err != nil {
			c.stop()
			return nil, err
		}
	}
	return c, nil
}

// start starts a node, with a data folder that is new.
func (c *benchCluster) start(i int) error {
	address, err := wiretest.FindAddress()
	if err != nil {
		return err
	}
	c.nodes[i], err = startServerOn(c.bench, c.cores, "GOMAXPROCS="+strconv.Itoa(1+len(c.cores)/2),
		"--transcode", "off", "--database", c.dsn, "--http", address, "--node-url", "http://"+address)
	if err == nil {
		c.nodes[i].dsn = c.dsn
	}
	return err
}

func (c *benchCluster) kill(i int) {
	_ = c.nodes[i].process.Process.Kill() // it runs
	c.nodes[i].stop()
}

func (c *benchCluster) stop() {
	for _, s := range c.nodes {
		if s != nil {
			s.stop()
		}
	}
	if err := c.postgres.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "bench: stopping PostgreSQL:", err)
	}
}

// benchRelay compares viewers of a stream on the node that has it with as many on
// another one, who watch at the same time: what the machine does besides falls on both.
func benchRelay(ctx context.Context, b *bench, count int) error {
	c, err := startCluster(b, strconv.Itoa(serverCore))
	if err != nil {
		return err
	}
	defer c.stop()
	owner, relay := c.nodes[0], c.nodes[1]
	all, leave, err := owner.broadcast(ctx, 1, 8*time.Second, "--size", "1280x720", "--bitrate", "5900")
	if err != nil {
		return err
	}
	defer leave()
	ch := all[0]
	if err := relayLatency(ctx, owner, relay, ch); err != nil {
		return err
	}
	var ratios []float64
	for round := range clusterRounds {
		direct, relayed, err := watchedOnBoth(ctx, owner, relay, count, ch)
		if err != nil {
			return err
		}
		direct.report(fmt.Sprintf("%d viewers, LL-HLS, 6 Mbit/s, direct, round %d", count, round+1))
		relayed.report(fmt.Sprintf("%d viewers, LL-HLS, 6 Mbit/s, relayed, round %d", count, round+1))
		ratios = append(ratios, float64(relayed.perRequest())/float64(direct.perRequest()))
	}
	reportRatios(fmt.Sprintf("%d viewers, LL-HLS, 6 Mbit/s: CPU for a request, relayed ÷ direct", count), ratios)
	return nil
}

// relayLatency has one viewer on each of both nodes.
func relayLatency(ctx context.Context, owner, relay *server, ch channel) error {
	var direct, relayed figures
	for range clusterRounds {
		here, there, err := watchedOnBoth(ctx, owner, relay, 1, ch)
		if err != nil {
			return err
		}
		direct.add(here.figures)
		relayed.add(there.figures)
	}
	const name = "1 viewer of each node, LL-HLS, 6 Mbit/s"
	watching{figures: direct}.reportAges(name + ", direct")
	watching{figures: relayed}.reportAges(name + ", relayed")
	return nil
}

// watchedOnBoth is watched on both nodes at the same time, with count viewers on each.
func watchedOnBoth(ctx context.Context, owner, relay *server, count int, ch channel) (direct, relayed watching, err error) {
	of := func(int) (channel, error) { return ch, nil }
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) { direct, err = owner.watched(ctx, "LOW", count, of); return err })
	g.Go(func() (err error) { relayed, err = relay.watched(ctx, "LOW", count, of); return err })
	err = g.Wait()
	return direct, relayed, err
}

func reportRatios(name string, ratios []float64) {
	slices.Sort(ratios)
	report(fmt.Sprintf("%s, median of %d", name, len(ratios)), "%.3f (%.3f to %.3f)", ratios[len(ratios)/2], ratios[0], ratios[len(ratios)-1])
}

// benchRelayOwner measures what one more node that watches a stream costs the node
// that has it, and what one more viewer does: of several streams, each watched by
// several, since either costs little.
func benchRelayOwner(ctx context.Context, b *bench) error {
	const streams, viewers = 20, 5 // viewers of each stream
	c, err := startCluster(b, strconv.Itoa(serverCore))
	if err != nil {
		return err
	}
	defer c.stop()
	owner := c.nodes[0]
	all, leave, err := owner.broadcast(ctx, streams, 35*time.Second, "--size", "854x480", "--bitrate", "1100") // until the windows are full
	if err != nil {
		return err
	}
	defer leave()
	of := func(i int) (channel, error) { return all[i%streams], nil }
	var ratios []float64
	for round := range clusterRounds {
		idle, err := owner.busyWhile(ctx, func(context.Context) error { return nil })
		if err != nil {
			return err
		}
		watched, err := owner.busyWhile(ctx, func(ctx context.Context) error {
			_, err := owner.watched(ctx, "LOW", streams*viewers, of)
			return err
		})
		if err != nil {
			return err
		}
		relayed, err := owner.busyWhile(ctx, func(ctx context.Context) error {
			g, ctx := errgroup.WithContext(ctx)
			for _, s := range c.nodes[1:] {
				g.Go(func() error {
					_, err := s.watched(ctx, "LOW", streams, of)
					return err
				})
			}
			return g.Wait()
		})
		if err != nil {
			return err
		}
		viewer, node := (watched-idle)/(streams*viewers), (relayed-idle)/(streams*(nodes-1))
		report(fmt.Sprintf("%d streams of 1.2 Mbit/s, round %d: CPU of the owner", streams, round+1),
			"%.3f core alone, %.2f millicore a viewer, %.2f millicore a stream and node that relays it", idle, 1000*viewer, 1000*node)
		ratios = append(ratios, node/viewer)
		if err := sleep(ctx, 45*time.Second); err != nil { // until nothing is relayed
			return err
		}
	}
	reportRatios("owner's CPU for one more node that relays a stream, in viewers", ratios)
	return nil
}

// busyWhile is how many cores s was busy on while load, which measures at the same
// time as watched does, ran.
func (s *server) busyWhile(ctx context.Context, load func(context.Context) error) (float64, error) {
	g, loading := errgroup.WithContext(ctx)
	g.Go(func() error { return load(loading) })
	var from, to usage
	g.Go(func() (err error) {
		if err = sleep(loading, warmUp); err != nil {
			return err
		}
		if from, err = s.usage(); err != nil {
			return err
		}
		if err = sleep(ctx, s.bench.duration); err != nil {
			return err
		}
		to, err = s.usage()
		return err
	})
	if err := g.Wait(); err != nil {
		return 0, err
	}
	return cores(from, to), nil
}

// benchOwnerKilled kills the node that has a stream. Its encoder tries one node after
// the other, each second.
func benchOwnerKilled(ctx context.Context, b *bench) error {
	c, err := startCluster(b, "0,1")
	if err != nil {
		return err
	}
	defer c.stop()
	file, err := smallFootage(ctx)
	if err != nil {
		return err
	}
	defer os.Remove(file)
	ch, err := c.nodes[0].createChannel("bench", "LOW", "TS")
	if err != nil {
		return err
	}
	var times []time.Duration
	for round := range 5 {
		took, err := c.killOwner(ctx, round%nodes, ch, file)
		if err != nil {
			return err
		}
		times = append(times, took)
	}
	slices.Sort(times)
	report("owner killed → encoder, which tries again each second, live on another node, median of 5 (worst)", "%.2f s (%.2f s)", times[2].Seconds(), times[4].Seconds())
	return nil
}

// killOwner publishes to a node, kills it, starts it again, and returns how long the
// channel was not live.
func (c *benchCluster) killOwner(ctx context.Context, owner int, ch channel, file string) (took time.Duration, err error) {
	next := (owner + 1) % nodes
	first, second := c.nodes[owner].rtmp, c.nodes[next].rtmp
	g, encoding := errgroup.WithContext(ctx)
	encoding, leave := context.WithCancel(encoding)
	defer leave()
	g.Go(func() error {
		for address := first; encoding.Err() == nil; address = second {
			p := exec.CommandContext(encoding, c.bench.binary, "publish", "--file", file, "rtmp://"+address+"/app/"+ch.key)
			_ = p.Run() // it fails when it is cut off or refused, and is started again
			_ = sleep(encoding, time.Second)
		}
		return nil
	})
	before, err := c.nodes[next].awaitStream(ctx, ch, "")
	if err != nil {
		return 0, err
	}
	if err := sleep(ctx, 3*time.Second); err != nil {
		return 0, err
	}
	c.kill(owner)
	killed := time.Now()
	if _, err := c.nodes[next].awaitStream(ctx, ch, before); err != nil {
		return 0, err
	}
	took = time.Since(killed)
	leave()
	return took, errors.Join(g.Wait(), c.start(owner), sleep(ctx, 3*time.Second))
}

// awaitStream waits until a channel has another stream than before, and returns its id.
func (s *server) awaitStream(ctx context.Context, ch channel, before string) (id string, err error) {
	for range 3000 {
		var out struct{ Stream struct{ StreamID string } }
		if s.call("GetStream", map[string]any{"channelArn": ch.arn}, &out) == nil && out.Stream.StreamID != before { // an error: it is not live
			return out.Stream.StreamID, nil
		}
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return "", err
		}
	}
	return "", errors.New("the channel does not go live within half a minute")
}

// smallFootage is a file of a few frames a second without audio: as little work as a
// stream can be.
func smallFootage(ctx context.Context) (file string, err error) {
	file = filepath.Join(os.TempDir(), fmt.Sprintf("millrace-bench-%d.flv", os.Getpid()))
	_, err = ffmpeg(ctx, "-f", "lavfi", "-i", "testsrc2=size=160x90:rate=5", "-t", "20",
		"-c:v", "libx264", "-preset", "veryfast", "-tune", "zerolatency", "-pix_fmt", "yuv420p", "-g", "10", "-sc_threshold", "0", "-b:v", "50k", "-f", "flv", file)
	return file, err
}

// benchStatements counts what that many live channels ask of the database, a third
// of them on each node, with some viewers on nodes that relay their streams. Where
// ulimit -n is too low for so many, there are fewer.
func benchStatements(ctx context.Context, b *bench, channels int) error {
	c, err := startCluster(b, "0,1")
	if err != nil {
		return err
	}
	defer c.stop()
	file, err := smallFootage(ctx)
	if err != nil {
		return err
	}
	defer os.Remove(file)
	db, err := sql.Open("pgx", c.dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, "CREATE EXTENSION pg_stat_statements"); err != nil {
		return err
	}
	var first [nodes]channel
	const together = 20                               // go live at a time
	each := min(channels/nodes, (b.files*5/16-64)/24) // what a node has room for: it leaves five of sixteen open files to streams, 24 to each
	for i, s := range c.nodes {
		for n := range each {
			ch, err := s.createChannel(fmt.Sprintf("node-%d-%d-%d", i, n/together, n%together+1), "LOW", "TS")
			if err != nil {
				return err
			}
			if n == 0 {
				first[i] = ch
			}
		}
		for n := 0; n < each; n += together {
			names := fmt.Sprintf("node-%d-%d-{n}", i, n/together)
			stop, err := s.publish("--count", strconv.Itoa(min(together, each-n)), "--file", file, names)
			if err != nil {
				return err
			}
			defer stop()
			if err := s.waitLive(ctx, min(n+together, each)); err != nil {
				return err
			}
		}
	}
	var counted int64
	var took time.Duration
	g, watching := errgroup.WithContext(ctx)
	for i, s := range c.nodes {
		g.Go(func() error {
			_, err := s.watched(watching, "LOW", 10, func(n int) (channel, error) { return first[(i+n)%nodes], nil })
			return err
		})
	}
	g.Go(func() (err error) {
		if err = sleep(watching, warmUp); err != nil {
			return err
		}
		from, err := statements(ctx, db)
		if err != nil {
			return err
		}
		began := time.Now()
		if err = sleep(watching, b.duration); err != nil {
			return err
		}
		to, err := statements(ctx, db)
		counted, took = to-from, time.Since(began)
		return err
	})
	if err := g.Wait(); err != nil {
		return err
	}
	perSecond := float64(counted) / took.Seconds()
	report(fmt.Sprintf("%d channels live on %d nodes (5 frames a second, no audio): database statements", each*nodes, nodes),
		"%.1f a second, %.3f a channel and second", perSecond, perSecond/float64(each*nodes))
	return nil
}

// statements is how many the database has executed, BEGIN and COMMIT included.
func statements(ctx context.Context, db *sql.DB) (n int64, err error) {
	err = db.QueryRowContext(ctx, "SELECT sum(calls)::bigint FROM pg_stat_statements JOIN pg_database ON oid = dbid WHERE datname = current_database()").Scan(&n)
	return n, err
}
