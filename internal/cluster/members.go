package cluster

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
)

// A Member is a node of the cluster, as this one sees it.
type Member struct {
	store.Member
	Self  bool
	Alive bool
}

// setMembers remembers the members for other goroutines.
func (n *Node) setMembers(list []store.Member) {
	all := make([]Member, len(list))
	for i, m := range list {
		self := m.Name == n.Name
		all[i] = Member{Member: m, Self: self, Alive: self || !n.watch.silent(m.Name) && m.Ago < store.NodeLease}
	}
	n.members.Store(&all)
}

// Members returns the nodes of the cluster by name: those that run, and those that died
// within the last day. It returns none if this node has no cluster.
func (n *Node) Members() []Member {
	if all := n.members.Load(); all != nil {
		return *all
	}
	return nil
}

// A Peer is a node to send requests to.
type Peer struct {
	Name, URL string
	Protocol  int
	Self      bool // it is this node
}

// Peer finds a member by its name. ok is false for a node that is not a member, or has
// died.
func (n *Node) Peer(name string) (Peer, bool) {
	if name == n.Name {
		return Peer{Name: name, Protocol: Protocol, Self: true}, true
	}
	for _, m := range n.Members() {
		if m.Name == name {
			return Peer{Name: name, URL: m.URL, Protocol: m.Protocol}, m.Alive
		}
	}
	return Peer{}, false
}

// protocolOf is the version of the protocol that a member speaks, 0 for a node that is
// none.
func (n *Node) protocolOf(name string) int {
	if name == n.Name {
		return Protocol
	}
	for _, m := range n.Members() {
		if m.Name == name {
			return m.Protocol
		}
	}
	return 0
}

// Lost reports whether another node of the cluster does not run now: it has died, has
// stopped, or is about to start. A node without a cluster knows of no other.
func (n *Node) Lost(name string) bool {
	if len(n.Members()) == 0 {
		return false
	}
	_, alive := n.Peer(name)
	return !alive
}

// A Stream says which node has a stream.
type Stream struct {
	ID, ChannelARN string
	Started        bool // viewers may see it
	Ended          bool // less than endedKept ago
	Peer           Peer // the node that has it
}

// endedKept is how long the owner of an ended stream is remembered: viewers still get
// its last seconds there.
const endedKept = time.Minute

// Owner returns which node has a stream, by the stream's id or, until it has ended, by
// the ARN of its channel. It answers from memory, which is half a second old, and older
// while the database is unreachable. ok is false for an unknown stream, for one whose
// node has died or is in no cluster, and always on a node without a cluster.
func (n *Node) Owner(key string) (s Stream, ok bool) {
	e, ok := n.directory.find(key)
	if !ok {
		return s, false
	}
	p, ok := n.Peer(e.Owner)
	return Stream{e.StreamID, e.ChannelARN, e.Started, !e.ended.IsZero(), p}, ok
}

// AwaitOwners waits until Owner knows all streams that viewers could see before since, which
// it does within a second while the database answers, or until ctx is done.
func (n *Node) AwaitOwners(ctx context.Context, since time.Time) { n.directory.await(ctx, since) }

// OwnerNow returns which node has the stream of a channel, from the database. The error
// is ivs.NotBroadcasting if the channel has none, and ivs.StreamUnavailable if its node
// cannot be reached by requests.
func (n *Node) OwnerNow(ctx context.Context, channelARN string) (s Stream, err error) {
	o, ok, err := n.store.OwnedStream(ctx, channelARN)
	if err != nil {
		return s, err
	}
	if !ok {
		return s, ivs.NotLive(channelARN)
	}
	s = Stream{ID: o.StreamID, ChannelARN: o.ChannelARN, Started: o.Started}
	if s.Peer, ok = n.Peer(o.Owner); !ok {
		return s, ivs.Errorf(ivs.StreamUnavailable, "The stream of channel %s is on a server that cannot be reached from this one", channelARN)
	}
	return s, nil
}

// A directory knows which node has which stream. The zero directory is ready.
type directory struct{ now atomic.Pointer[listing] }

type listing struct {
	streams  map[string]listed // by stream id
	channels map[string]string // ARN to stream id, of streams that have not ended
	read     time.Time         // when the database was asked for them
	replaced chan struct{}     // closed when there is a newer one
}

type listed struct {
	store.OwnedStream
	ended time.Time // when that was noticed; zero before
}

// set takes in the streams of all nodes, for which the database was asked at that time.
func (d *directory) set(open []store.OwnedStream, now time.Time) {
	next := &listing{make(map[string]listed, len(open)), make(map[string]string, len(open)), now, make(chan struct{})}
	for _, s := range open {
		next.streams[s.StreamID] = listed{OwnedStream: s}
		next.channels[s.ChannelARN] = s.StreamID
	}
	last := d.now.Load()
	if last != nil {
		for id, s := range last.streams {
			if _, open := next.streams[id]; open {
				continue
			}
			if s.ended.IsZero() {
				s.ended = now
			}
			if now.Sub(s.ended) < endedKept {
				next.streams[id] = s
			}
		}
	}
	d.now.Store(next)
	if last != nil {
		close(last.replaced)
	}
}

// await waits until there is a listing for which the database was asked after since, or
// ctx is done. Before the first listing it does not wait.
func (d *directory) await(ctx context.Context, since time.Time) {
	for l := d.now.Load(); l != nil && !l.read.After(since); l = d.now.Load() {
		select {
		case <-l.replaced:
		case <-ctx.Done():
			return
		}
	}
}

// find looks a stream up by its id, or the ARN of its channel.
func (d *directory) find(key string) (s listed, ok bool) {
	l := d.now.Load()
	if l == nil {
		return s, false
	}
	if id, ok := l.channels[key]; ok {
		key = id
	}
	s, ok = l.streams[key]
	return s, ok
}
