package proxies

import (
	"net"
	"net/netip"
	"sync"
)

// FewConns bounds what counts as few: on a full port, a client with fewer connections
// gets another one, in the place of one of a client that has more.
const FewConns = 8

// Conns counts the connections of a port, and closes those over a limit, without sending a
// TLS close_notify, which could block. On a full port a client with few connections gets
// another one in the place of one of a client that has many: so probes, operators and
// encoders get through to a port that a few clients have filled. The zero value has room
// for nothing.
type Conns struct {
	Max       int
	PerClient int
	Trusted   Trusted // proxies, each of which is many clients: it has no such share, and loses none

	// Yields is the precedence with which a client that has so many connections, of which
	// some are busy, loses one on a full port: the client with the highest does, and one
	// with 0 does not. It loses a busy one if it has no other.
	Yields func(all, busy int) int

	mu   sync.Mutex
	open map[net.Conn]*place // guarded by mu
	from map[source]*peer    // guarded by mu
	many map[*peer]struct{}  // guarded by mu; those that may lose connections
}

// A source is where connections come from.
type source struct {
	client netip.Addr
	proxy  bool // it is a trusted one
}

// A peer is a source with its connections.
type peer struct {
	source
	conns map[net.Conn]*place
	busy  int // how many of conns are
}

// A place belongs to a connection.
type place struct {
	of   *peer
	busy bool
}

// count returns how many connections p has: none if it is nil.
func (p *peer) count() int {
	if p == nil {
		return 0
	}
	return len(p.conns)
}

// Enter counts nc and reports whether there is room for it; if there is none it closes nc.
func (c *Conns) Enter(nc net.Conn) bool {
	remote := nc.RemoteAddr().String()
	refused := c.admit(nc, source{ClientOf(remote), c.Trusted.HasHost(remote)})
	if refused != nil {
		BelowTLS(refused).Close()
	}
	return refused != nc
}

// admit counts nc, and returns the connection that is to be closed: nc itself, or the one
// that gives up its place.
func (c *Conns) admit(nc net.Conn, from source) (refused net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	count := c.from[from].count()
	if count >= c.PerClient && !from.proxy {
		return nc
	}
	if len(c.open) >= c.Max {
		if count >= FewConns {
			return nc
		}
		if refused = c.yieldedLocked(); refused == nil {
			return nc
		}
		c.leaveLocked(refused)
	}
	if c.open == nil {
		c.open, c.from, c.many = map[net.Conn]*place{}, map[source]*peer{}, map[*peer]struct{}{}
	}
	p := c.from[from]
	if p == nil {
		p = &peer{source: from, conns: map[net.Conn]*place{}}
		c.from[from] = p
	}
	at := &place{of: p}
	c.open[nc], p.conns[nc] = at, at
	c.rankLocked(p)
	return refused
}

// yieldedLocked returns the connection that gives up its place; nil if there is none.
func (c *Conns) yieldedLocked() (nc net.Conn) {
	var of *peer
	most := 0
	for p := range c.many {
		if rank := c.Yields(p.count(), p.busy); rank > most {
			of, most = p, rank
		}
	}
	if of == nil {
		return nil
	}
	for conn, at := range of.conns {
		if nc = conn; !at.busy || of.busy == of.count() {
			break
		}
	}
	return nc
}

// rankLocked is called when the connections of p have changed.
func (c *Conns) rankLocked(p *peer) {
	if !p.proxy && p.count() > 0 && c.Yields(p.count(), p.busy) > 0 {
		c.many[p] = struct{}{}
	} else {
		delete(c.many, p)
	}
}

// SetBusy says whether a connection is busy: it then keeps its place as long as its client
// has another one to lose. Connections that have no place are ignored.
func (c *Conns) SetBusy(nc net.Conn, busy bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.open[nc]
	if at == nil || at.busy == busy {
		return
	}
	at.busy = busy
	if busy {
		at.of.busy++
	} else {
		at.of.busy--
	}
	c.rankLocked(at.of)
}

// Leave gives back the place of a connection, if it has one.
func (c *Conns) Leave(nc net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaveLocked(nc)
}

func (c *Conns) leaveLocked(nc net.Conn) {
	at := c.open[nc]
	if at == nil {
		return
	}
	p := at.of
	delete(c.open, nc)
	delete(p.conns, nc)
	if at.busy {
		p.busy--
	}
	if p.count() == 0 {
		delete(c.from, p.source)
	}
	c.rankLocked(p)
}

// BelowTLS returns the connection that carries nc, which is nc itself without TLS.
func BelowTLS(nc net.Conn) net.Conn {
	if secure, ok := nc.(interface{ NetConn() net.Conn }); ok {
		return secure.NetConn()
	}
	return nc
}
