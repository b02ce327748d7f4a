package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/millrace/millrace/internal/store"
)

// nodeHeartbeat is how often a node records that it is running.
const nodeHeartbeat = store.NodeLease / 3

// A node is this process in the database: its name, and which of the starts
// under that name it is.
type node struct {
	store *store.DB
	name  string
	epoch int64
	log   *slog.Logger
}

// registerNode registers this start. Where a server at another place has used the
// name shortly before, it waits: the data folder may have been moved here after a
// crash. If that server is running, the folder is a copy, which is an error: the
// two would end each other's streams.
func registerNode(ctx context.Context, db *store.DB, folder *dataFolder, log *slog.Logger) (*node, error) {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	name := store.Node{Name: folder.node, Place: folder.place(), Host: host}
	for by := time.Now().Add(store.NodeLease + time.Second); ; {
		epoch, err := db.RegisterNode(ctx, name)
		var used *store.NodeInUseError
		switch {
		case err == nil:
			return &node{db, folder.node, epoch, log}, nil
		case !errors.As(err, &used):
			return nil, err
		case time.Now().After(by):
			return nil, fmt.Errorf("--data %s: %w, and it is still running: this folder is a copy of its data folder. Delete %s to have a new name made", folder.path, used, filepath.Join(folder.path, "node"))
		}
		log.Warn("waiting: another server may be running with a copy of this data folder", "node", used.Name, "host", used.Host, "seen_ago", used.Ago.Round(time.Second))
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// run records heartbeats until ctx is done. It fails if another start has taken
// the name, which happens only where this one was silent for the lease.
func (n *node) run(ctx context.Context) error {
	tick := time.NewTicker(nodeHeartbeat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		call, cancel := context.WithTimeout(ctx, nodeHeartbeat)
		err := n.store.NodeHeartbeat(call, n.name, n.epoch)
		cancel()
		if errors.Is(err, store.ErrNodeReplaced) {
			return fmt.Errorf("this server stops: %w", err)
		}
		if err != nil && ctx.Err() == nil {
			n.log.Warn("writing the node's heartbeat failed", "error", err)
		}
	}
}

// stop frees the name at once.
func (n *node) stop(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := n.store.StopNode(ctx, n.name, n.epoch); err != nil {
		n.log.Warn("writing that the node has stopped failed: a server with this name at another place must wait", "error", err, "wait", store.NodeLease)
	}
}
