package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// NodeLease is how long after its last heartbeat a node may still be running.
const NodeLease = 15 * time.Second

// A Node is a server process that uses the database.
type Node struct {
	Name  string // stored in its data folder
	Place string // identifies that folder; a copy of it is another place
	Host  string // for people
}

// A NodeInUseError is returned by RegisterNode if a server at another place has used the
// name within NodeLease.
type NodeInUseError struct {
	Node
	Ago time.Duration // since its last heartbeat
}

func (e *NodeInUseError) Error() string {
	return fmt.Sprintf("a server on host %s has used the node name %s %v ago", e.Host, e.Name, e.Ago.Round(time.Second))
}

// ErrNodeReplaced is returned by NodeHeartbeat after a later start has registered the
// name.
var ErrNodeReplaced = errors.New("another server has started with this node's name")

// A nodeRow is the part of the last registration that the next one needs.
type nodeRow struct {
	Node
	epoch, ago int64 // ago is the age of the last heartbeat in milliseconds
	stopped    bool
}

func scanNode(rows *sql.Rows) (n nodeRow, err error) {
	err = rows.Scan(&n.Name, &n.Place, &n.Host, &n.epoch, &n.stopped, &n.ago)
	return n, err
}

// RegisterNode records the start of a node and returns its epoch, which is larger than
// that of any earlier start. It returns a *NodeInUseError while a server at another
// place may be running under the same name, by the clock of the database. The node is
// not in the cluster before JoinCluster.
func (db *DB) RegisterNode(ctx context.Context, n Node) (epoch int64, err error) {
	defer wrap(&err, "RegisterNode(%s)", n.Name)
	err = db.update(ctx, func(t *tx) error {
		last, ok, err := one(ctx, t, scanNode, "SELECT name, place, host, epoch, heartbeat_at <= 0, "+t.dialect.now+" - heartbeat_at FROM nodes WHERE name = ?"+t.dialect.forUpdate, n.Name)
		if err != nil {
			return err
		}
		ago := time.Duration(last.ago) * time.Millisecond
		if ok && !last.stopped && last.Place != n.Place && ago < NodeLease {
			return &NodeInUseError{last.Node, ago}
		}
		epoch = last.epoch + 1
		_, err = t.exec(ctx, "INSERT INTO nodes (name, place, host, epoch, heartbeat_at) VALUES (?, ?, ?, ?, "+t.dialect.now+`)
			ON CONFLICT (name) DO UPDATE SET place = excluded.place, host = excluded.host, epoch = excluded.epoch, heartbeat_at = excluded.heartbeat_at,
			url = '', heartbeats = nodes.heartbeats + 1`,
			n.Name, n.Place, n.Host, epoch)
		return err
	})
	return epoch, err
}

// A NodeReport is the content of a heartbeat of a node.
type NodeReport struct {
	Streams, Viewers int
	Draining         bool   // it accepts no new encoders
	Credentials      string // digests of the root credentials that it accepts, with spaces between; "" from a node of a version before
}

// NodeHeartbeat records that the node registered with epoch is running. It returns the
// time of the database. Like Heartbeat, Members and OwnedStreams it does not wait for other
// calls that have all connections: the sessions of the node live by it.
func (db *DB) NodeHeartbeat(ctx context.Context, name string, epoch int64, r NodeReport) (now time.Time, err error) {
	defer wrap(&err, "NodeHeartbeat(%s)", name)
	err = db.updateIn(ctx, db.heartbeatWrites, func(t *tx) error {
		ms, ok, err := one(ctx, t, scanInt, "UPDATE nodes SET heartbeat_at = "+t.dialect.now+`, heartbeats = heartbeats + 1,
			streams = ?, viewers = ?, draining = ?, credentials = ? WHERE name = ? AND epoch = ? RETURNING heartbeat_at`, r.Streams, r.Viewers, r.Draining, r.Credentials, name, epoch)
		if err == nil && !ok {
			err = ErrNodeReplaced
		}
		now = time.UnixMilli(ms)
		return err
	})
	return now, err
}

// StopNode ends the sessions that the node has left open, and then records that it has
// stopped, which releases its name. It returns the stream ids of those sessions.
func (db *DB) StopNode(ctx context.Context, name string, epoch int64) (ended []string, err error) {
	defer wrap(&err, "StopNode(%s)", name)
	ended, err = db.endOrphans(ctx, "owner = ? AND owner IN (SELECT name FROM nodes WHERE epoch = ?)", []any{name, epoch})
	if err != nil {
		return ended, err // the node is taken for dead, and others end them
	}
	return ended, db.changeNode(ctx, "heartbeat_at = -("+db.dialect.now+")", name, epoch)
}

// nodeKept is how long the row of a node that does not run is kept. It is not deleted
// while the node has open sessions or recordings.
const nodeKept = 7 * 24 * time.Hour

// deleteOldNodes deletes the rows of nodes that have not run for nodeKept, as of pods that
// were replaced.
func (t *tx) deleteOldNodes(ctx context.Context) error {
	_, err := t.exec(ctx, "DELETE FROM nodes WHERE ABS(heartbeat_at) < "+t.dialect.now+` - ?
		AND NOT EXISTS (SELECT 1 FROM sessions WHERE owner = nodes.name AND ended_at = 0)
		AND NOT EXISTS (SELECT 1 FROM recordings WHERE owner = nodes.name AND ended_at = 0)`, nodeKept.Milliseconds())
	return err
}

// A Membership describes a node that joins the cluster.
type Membership struct {
	URL      string // at which the other nodes reach it
	Version  string
	Protocol int // version of that between nodes
	Capacity int // streams
}

// JoinCluster records a node's membership.
func (db *DB) JoinCluster(ctx context.Context, name string, epoch int64, m Membership) (err error) {
	defer wrap(&err, "JoinCluster(%s)", name)
	return db.changeNode(ctx, "url = ?, version = ?, protocol = ?, capacity = ?", name, epoch, m.URL, m.Version, m.Protocol, m.Capacity)
}

func (db *DB) changeNode(ctx context.Context, set, name string, epoch int64, args ...any) error {
	return db.update(ctx, func(t *tx) error {
		n, err := t.exec(ctx, "UPDATE nodes SET "+set+" WHERE name = ? AND epoch = ?", append(args, name, epoch)...)
		if err == nil && n == 0 {
			err = ErrNodeReplaced
		}
		return err
	})
}

// A Member is a node of the cluster.
type Member struct {
	Name, Host string
	Membership
	NodeReport
	Epoch      int64
	Heartbeats int64         // recorded so far
	Ago        time.Duration // age of the last one, by the database's clock
}

func scanMember(rows *sql.Rows) (m Member, err error) {
	var ago int64
	err = rows.Scan(&m.Name, &m.Host, &m.URL, &m.Version, &m.Protocol, &m.Capacity, &m.Credentials, &m.Streams, &m.Viewers, &m.Draining, &m.Epoch, &m.Heartbeats, &ago)
	m.Ago = time.Duration(ago) * time.Millisecond
	return m, err
}

// memberKept is how long a node that has not called StopNode is listed after its last
// heartbeat.
const memberKept = 24 * time.Hour

// Members returns the nodes of the cluster by name: those that run, and those that died
// within memberKept.
func (db *DB) Members(ctx context.Context) (list []Member, err error) {
	defer wrap(&err, "Members")
	return collect(ctx, heartbeatReader{db}, scanMember, "SELECT name, host, url, version, protocol, capacity, credentials, streams, viewers, draining, epoch, heartbeats, "+db.dialect.now+` - heartbeat_at
		FROM nodes WHERE url <> '' AND heartbeat_at > `+db.dialect.now+" - ? ORDER BY name", memberKept.Milliseconds())
}

// An OwnedStream is a session that has not ended, and the node that has it.
type OwnedStream struct {
	StreamID, ChannelARN, Owner string
	Started                     bool // viewers may see it
}

func scanOwned(rows *sql.Rows) (s OwnedStream, err error) {
	err = rows.Scan(&s.StreamID, &s.ChannelARN, &s.Owner, &s.Started)
	return s, err
}

const ownedStreams = "SELECT stream_id, channel_arn, owner, started_at > 0 FROM sessions WHERE ended_at = 0"

// OwnedStreams returns the sessions of all nodes that have not ended.
func (db *DB) OwnedStreams(ctx context.Context) (list []OwnedStream, err error) {
	defer wrap(&err, "OwnedStreams")
	return collect(ctx, heartbeatReader{db}, scanOwned, ownedStreams)
}

// OwnedStream returns the channel's session that has not ended; ok is false if there is
// none.
func (db *DB) OwnedStream(ctx context.Context, channelARN string) (s OwnedStream, ok bool, err error) {
	defer wrap(&err, "OwnedStream(%s)", channelARN)
	return one(ctx, db, scanOwned, ownedStreams+" AND channel_arn = ?", channelARN)
}

// EndSessionsOfNode ends the sessions of a dead node, as EndSessionsOf does, unless the
// node has recorded another heartbeat than the given number.
func (db *DB) EndSessionsOfNode(ctx context.Context, name string, heartbeats int64) (ended []string, err error) {
	defer wrap(&err, "EndSessionsOfNode(%s)", name)
	return db.endOrphans(ctx, "owner = ? AND owner IN (SELECT name FROM nodes WHERE heartbeats = ?)", []any{name, heartbeats})
}

// ProbeWrite reports whether the database can write to its disk, and whether sessions
// can be written: a lock on their table would prevent every node from renewing leases.
func (db *DB) ProbeWrite(ctx context.Context) (err error) {
	defer wrap(&err, "ProbeWrite")
	return db.update(ctx, func(t *tx) error {
		if _, err := t.exec(ctx, "UPDATE sessions SET renewals = renewals WHERE stream_id = ''"); err != nil {
			return err
		}
		_, err := t.exec(ctx, `INSERT INTO settings (name, value) VALUES ('probe', ?)
			ON CONFLICT (name) DO UPDATE SET value = excluded.value`, time.Now().UTC().Format(time.RFC3339Nano))
		return err
	})
}
