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
	Name  string // kept in its data folder
	Place string // which folder that is; a copy of it is at another place
	Host  string // for people
}

// A NodeInUseError is RegisterNode's where a server at another place has used
// the name within NodeLease.
type NodeInUseError struct {
	Node
	Ago time.Duration // since its last heartbeat
}

func (e *NodeInUseError) Error() string {
	return fmt.Sprintf("a server on host %s has used the node name %s %v ago", e.Host, e.Name, e.Ago.Round(time.Second))
}

// ErrNodeReplaced is NodeHeartbeat's where a later start has registered the name.
var ErrNodeReplaced = errors.New("another server has started with this node's name")

// A nodeRow is what a registration needs of the last one.
type nodeRow struct {
	Node
	epoch, ago int64 // ago is the age of the last heartbeat in milliseconds
	stopped    bool
}

func scanNode(rows *sql.Rows) (n nodeRow, err error) {
	err = rows.Scan(&n.Name, &n.Place, &n.Host, &n.epoch, &n.stopped, &n.ago)
	return n, err
}

// RegisterNode records the start of a node and returns its epoch, which is larger
// than that of any start before. It is a *NodeInUseError while a server at another
// place may be running under the same name, by the database's clock.
func (db *DB) RegisterNode(ctx context.Context, n Node) (epoch int64, err error) {
	defer wrap(&err, "RegisterNode(%s)", n.Name)
	err = db.update(ctx, func(t *tx) error {
		last, ok, err := one(ctx, t, scanNode, "SELECT name, place, host, epoch, heartbeat_at = 0, "+t.dialect.now+" - heartbeat_at FROM nodes WHERE name = ?"+t.dialect.forUpdate, n.Name)
		if err != nil {
			return err
		}
		ago := time.Duration(last.ago) * time.Millisecond
		if ok && !last.stopped && last.Place != n.Place && ago < NodeLease {
			return &NodeInUseError{last.Node, ago}
		}
		epoch = last.epoch + 1
		_, err = t.exec(ctx, "INSERT INTO nodes (name, place, host, epoch, heartbeat_at) VALUES (?, ?, ?, ?, "+t.dialect.now+`)
			ON CONFLICT (name) DO UPDATE SET place = excluded.place, host = excluded.host, epoch = excluded.epoch, heartbeat_at = excluded.heartbeat_at`,
			n.Name, n.Place, n.Host, epoch)
		return err
	})
	return epoch, err
}

// NodeHeartbeat records that the node that was registered with epoch is running.
func (db *DB) NodeHeartbeat(ctx context.Context, name string, epoch int64) (err error) {
	defer wrap(&err, "NodeHeartbeat(%s)", name)
	return db.setHeartbeat(ctx, db.dialect.now, name, epoch)
}

// StopNode records that the node has stopped: its name is free at once.
func (db *DB) StopNode(ctx context.Context, name string, epoch int64) (err error) {
	defer wrap(&err, "StopNode(%s)", name)
	return db.setHeartbeat(ctx, "0", name, epoch)
}

func (db *DB) setHeartbeat(ctx context.Context, at, name string, epoch int64) error {
	return db.update(ctx, func(t *tx) error {
		n, err := t.exec(ctx, "UPDATE nodes SET heartbeat_at = "+at+" WHERE name = ? AND epoch = ?", name, epoch)
		if err == nil && n == 0 {
			err = ErrNodeReplaced
		}
		return err
	})
}

// ProbeWrite reports whether the database takes a write now, onto its disk.
func (db *DB) ProbeWrite(ctx context.Context) (err error) {
	defer wrap(&err, "ProbeWrite")
	return db.update(ctx, func(t *tx) error {
		_, err := t.exec(ctx, `INSERT INTO settings (name, value) VALUES ('probe', ?)
			ON CONFLICT (name) DO UPDATE SET value = excluded.value`, time.Now().UTC().Format(time.RFC3339Nano))
		return err
	})
}
