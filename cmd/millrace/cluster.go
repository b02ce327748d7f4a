package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/millrace/millrace/internal/api"
	"github.com/millrace/millrace/internal/cluster"
	"github.com/millrace/millrace/internal/live"
	"github.com/millrace/millrace/internal/relay"
	"github.com/millrace/millrace/internal/store"
)

// clusterFlags make the server a node of a cluster.
type clusterFlags struct {
	NodeURL string `name:"node-url" placeholder:"URL" help:"Make this server a node of a cluster: the URL at which the other nodes reach its HTTP or HTTPS port, as http://10.0.0.5:8080. Nodes with the same --database form one cluster. Needs PostgreSQL."`

	SecondAccessKeyID     string `name:"second-access-key-id" placeholder:"ID" help:"Root credentials that are accepted besides those of --access-key-id, to replace them node by node."`
	SecondSecretAccessKey string `name:"second-secret-access-key" secret:"" placeholder:"SECRET" help:"Secret of --second-access-key-id."`
}

func (c clusterFlags) check(database, accessKeyID string) error {
	if (c.SecondAccessKeyID == "") != (c.SecondSecretAccessKey == "") {
		return errors.New("--second-access-key-id and --second-secret-access-key go together: one of them is missing")
	}
	if c.SecondAccessKeyID != "" && (accessKeyID == "" || accessKeyID == c.SecondAccessKeyID) {
		return fmt.Errorf("--second-access-key-id %s needs --access-key-id, with another value", c.SecondAccessKeyID)
	}
	if c.NodeURL == "" {
		return nil
	}
	if err := cluster.CheckURL(c.NodeURL); err != nil {
		return fmt.Errorf("--node-url %s: %w", c.NodeURL, err)
	}
	if !strings.HasPrefix(database, "postgres://") && !strings.HasPrefix(database, "postgresql://") {
		return fmt.Errorf("--node-url %s: nodes of a cluster share a PostgreSQL database: give its address with --database postgres://…, the same on each node", c.NodeURL)
	}
	return nil
}

// registerNode registers this start of the server.
func registerNode(ctx context.Context, db *store.DB, folder *dataFolder, log *slog.Logger) (*cluster.Node, error) {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	n, err := cluster.Register(ctx, db, store.Node{Name: folder.node, Place: folder.place(), Host: host}, log)
	if used, ok := errors.AsType[*store.NodeInUseError](err); ok {
		return nil, fmt.Errorf("--data %s: %w, and it is still running: this folder is a copy of its data folder. Delete %s to have a new name made", folder.path, used, filepath.Join(folder.path, "node"))
	}
	return n, err
}

// join makes this node a member of the cluster, if it is to be one.
func (b base) join(ctx context.Context, hub *live.Hub, relays *relay.Relay, machine *capacity) error {
	if b.cfg.NodeURL == "" {
		return nil
	}
	return b.node.Join(ctx, cluster.Config{
		URL: b.cfg.NodeURL, Version: version, Capacity: machine.streams(), Credentials: b.keys.texts,
		Report: func() store.NodeReport {
			streams, viewers := counts(hub, relays)()
			return store.NodeReport{Streams: streams, Viewers: viewers, Draining: hub.Draining()}
		},
	})
}

// listNodes serves GET /_millrace/nodes: the nodes of the cluster, with those that died within
// the last day; none on a server without --node-url.
func listNodes(n *cluster.Node) api.Extension {
	return func(w http.ResponseWriter, _ *http.Request, _ store.Scope) error {
		out := nodesOutput{Nodes: []nodeOutput{}}
		for _, m := range n.Members() {
			out.Nodes = append(out.Nodes, nodeOutput{m.Name, m.Host, m.URL, m.Version, m.Protocol, m.Self, m.Alive, m.Draining, m.Capacity, m.Streams, m.Viewers, m.Ago.Seconds()})
		}
		api.Reply(w, out)
		return nil
	}
}

// nodesOutput lists the nodes of a cluster.
type nodesOutput struct {
	Nodes []nodeOutput `json:"nodes"`
}

// A nodeOutput is a node of a cluster.
type nodeOutput struct {
	Name      string  `json:"name"`
	Host      string  `json:"host"` // name of its machine
	URL       string  `json:"url"`  // URL at which the other nodes reach it
	Version   string  `json:"version"`
	Protocol  int     `json:"protocol"` // version of the protocol between nodes
	Self      bool    `json:"self"`     // this node answers
	Alive     bool    `json:"alive"`    // its latest heartbeat is recent
	Draining  bool    `json:"draining"` // it takes no new encoders
	Capacity  int     `json:"capacity"` // streams that it has room for
	Streams   int     `json:"streams"`
	Viewers   int     `json:"viewers"`
	Heartbeat float64 `json:"secondsSinceHeartbeat"`
}
