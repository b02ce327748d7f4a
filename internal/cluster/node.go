// Package cluster makes one IVS of the nodes that share a PostgreSQL database: it knows
// the nodes and which of them has a stream, ends the sessions of nodes that die, keeps
// the secrets that all share, and lets nodes call each other.
package cluster

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/store"
)

// Protocol is the version of the protocol between nodes. Neighbouring versions are
// compatible: what a version adds is skipped by the one before, or not sent to it.
const Protocol = 2

// How often a node reports to the database. In a cluster that is the lease of all
// its sessions.
const (
	aloneEvery    = store.NodeLease / 3
	memberEvery   = time.Second
	reportTimeout = 2 * time.Second // for one report
)

// A Node is this process as recorded in the database: its name, and which start under
// that name it is. It is alone until it joins the cluster.
type Node struct {
	Name    string
	Secrets *Secrets

	store  *store.DB
	log    *slog.Logger
	epoch  int64
	config atomic.Pointer[Config] // of a member; nil before Join

	signer    signer
	client    *http.Client
	members   atomic.Pointer[[]Member]
	directory directory
	watch     watch          // Run alone uses it
	ending    sync.WaitGroup // of the nodes that have died; Run awaits them
}

// A Config holds what a node joins the cluster with.
type Config struct {
	URL         string // at which the other nodes reach this one
	Version     string
	Capacity    int                     // streams that it has room for
	Report      func() store.NodeReport // what it does now, without Credentials
	Credentials func() []string         // root credentials that it accepts: members have one of them in common
}

// Register registers this start of a node. If a server at another place has used the name
// recently, it waits: the data folder may have been moved here after a crash. The error
// is a *store.NodeInUseError if that server is still running: then the folder is a copy,
// and the two would end each other's streams.
func Register(ctx context.Context, db *store.DB, self store.Node, log *slog.Logger) (*Node, error) {
	for by := time.Now().Add(store.NodeLease + time.Second); ; {
		epoch, err := db.RegisterNode(ctx, self)
		if err == nil {
			n := &Node{Name: self.Name, Secrets: &Secrets{store: db, log: log}, store: db, log: log, epoch: epoch, client: newClient()}
			n.signer.name, n.signer.protocol = self.Name, n.protocolOf
			return n, nil
		}
		used, ok := errors.AsType[*store.NodeInUseError](err)
		if !ok || time.Now().After(by) {
			return nil, err
		}
		log.Warn("waiting: another server may be running with a copy of this data folder", "node", used.Name, "host", used.Host, "seen_ago", used.Ago.Round(time.Second))
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// Run records heartbeats until ctx is done. On a member it also follows the other nodes,
// and ends the sessions of those that die. It fails if another start has taken the name,
// which happens only if this node was silent for the length of a lease.
func (n *Node) Run(ctx context.Context) error {
	every := aloneEvery
	if n.isMember() {
		every = watchEvery
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	defer n.ending.Wait()
	var reported time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if !n.isMember() || time.Since(reported) >= memberEvery-watchEvery/2 {
			reported = time.Now()
			err := n.report(ctx)
			if errors.Is(err, store.ErrNodeReplaced) {
				return errors.Join(errors.New("this server stops"), err)
			}
			if err != nil && ctx.Err() == nil {
				n.log.Warn("writing the node's heartbeat failed", "error", err)
			}
		}
		if n.isMember() && ctx.Err() == nil {
			n.follow(ctx)
		}
	}
}

func (n *Node) isMember() bool { return n.config.Load() != nil }

// report writes a heartbeat, and compares the clock with the database's.
func (n *Node) report(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	var report store.NodeReport
	if c := n.config.Load(); c != nil {
		report = c.Report()
		report.Credentials = n.digests(c)
	}
	began := time.Now()
	now, err := n.store.NodeHeartbeat(ctx, n.Name, n.epoch, report)
	took := time.Since(began)
	if err != nil || took > slowReport {
		n.watch.reset(time.Now()) // the others could not report either
	}
	if err != nil {
		return err
	}
	if off := n.signer.clock.set(now, began.Add(took/2)); off != 0 {
		n.log.Warn("the clocks of this machine and of the database differ: set them by NTP. Leases do not depend on it; dates in events and playlists do", "difference", off)
	}
	return nil
}

// follow looks for members that came, changed or died, and at who has which
// stream.
func (n *Node) follow(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	asked := time.Now()
	list, err := n.store.Members(limited)
	var streams []store.OwnedStream
	if err == nil {
		streams, err = n.store.OwnedStreams(limited)
	}
	if err != nil {
		n.watch.reset(time.Now())
		if ctx.Err() == nil {
			n.log.Warn("reading the nodes of the cluster failed; what was read before stays in use", "error", err)
		}
		return
	}
	now := time.Now()
	dead := n.watch.look(list, n.Name, now)
	n.setMembers(list)
	n.directory.set(streams, asked)
	for _, d := range dead {
		n.ending.Go(func() { n.endSessions(ctx, d) })
	}
}

// endSessions ends the sessions of a node that has died, beside the heartbeats: they may be
// many. What it has not ended when watch names the node again is left to that time.
func (n *Node) endSessions(ctx context.Context, dead store.Member) {
	ctx, cancel := context.WithTimeout(ctx, memberLease)
	defer cancel()
	ended, err := n.store.EndSessionsOfNode(ctx, dead.Name, dead.Heartbeats)
	for _, id := range ended {
		n.log.Warn("ended a session whose node has died", "stream", id, "node", dead.Name, "url", dead.URL, "silent_for", memberLease)
	}
	if err != nil && ctx.Err() == nil {
		n.log.Error("ending the sessions of a node that has died failed", "node", dead.Name, "error", err)
	}
}

// Stop releases the name and ends the sessions that are still open, for example because
// the database was too slow to record their ends.
func (n *Node) Stop(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	n.client.CloseIdleConnections()
	ended, err := n.store.StopNode(ctx, n.Name, n.epoch)
	for _, id := range ended {
		n.log.Warn("ended a session that was open when the node stopped", "stream", id)
	}
	if err != nil {
		n.log.Warn("writing that the node has stopped failed: a server that takes over this name must wait", "error", err, "wait", store.NodeLease)
	}
}
