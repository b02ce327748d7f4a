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
	open int                // guarded by mu
	from map[source]*peer   // guarded by mu
	many map[*peer]struct{} // guarded by mu; those that may lose connections
}

// A source is where connections come from.
type source struct {
	client netip.Addr
	proxy  bool // it is a trusted one
}

// A peer is a source with its connections.
type peer struct {
	source
	places map[*Place]struct{}
	busy   int  // how many of places are
	ranked bool // it is in many
}

// A Place is that of a connection on a port. Its connection may lose it to another one; then
// its methods do nothing.
type Place struct {
	on   *Conns
	conn net.Conn

	of   *peer // guarded by on.mu; nil when it is given back
	busy bool  // guarded by on.mu
}

// count returns how many connections p has: none if it is nil.
func (p *peer) count() int {
	if p == nil {
		return 0
	}
	return len(p.places)
}

// Enter returns the place of nc. If there is no room for it, it closes nc and returns nil.
func (c *Conns) Enter(nc net.Conn) *Place {
	remote := nc.RemoteAddr().String()
	at := &Place{on: c, conn: nc}
	refused := c.take(at, source{ClientOf(remote), c.Trusted.HasHost(remote)})
	if refused != nil {
		BelowTLS(refused.conn).Close()
	}
	if refused == at {
		return nil
	}
	return at
}

// take gives at to a connection from there, and returns the place whose connection is to be
// closed: at itself, or one that was given up for it.
func (c *Conns) take(at *Place, from source) (refused *Place) {
	c.mu.Lock()
	defer c.mu.Unlock()
	count := c.from[from].count()
	if count >= c.PerClient && !from.proxy {
		return at
	}
	if c.open >= c.Max {
		if count >= FewConns {
			return at
		}
		if refused = c.yieldedLocked(); refused == nil {
			return at
		}
		c.leaveLocked(refused)
	}
	if c.from == nil {
		c.from, c.many = map[source]*peer{}, map[*peer]struct{}{}
	}
	p := c.from[from]
	if p == nil {
		p = &peer{source: from, places: map[*Place]struct{}{}}
		c.from[from] = p
	}
	at.of = p
	p.places[at] = struct{}{}
	c.open++
	c.rankLocked(p)
	return refused
}

// yieldedLocked returns the place that is given up; nil if there is none.
func (c *Conns) yieldedLocked() (at *Place) {
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
	for one := range of.places {
		if at = one; !at.busy || of.busy == of.count() {
			break
		}
	}
	return at
}

// rankLocked is called when the connections of p have changed.
func (c *Conns) rankLocked(p *peer) {
	ranked := !p.proxy && p.count() > 0 && c.Yields(p.count(), p.busy) > 0
	if ranked == p.ranked {
		return
	}
	if p.ranked = ranked; ranked {
		c.many[p] = struct{}{}
	} else {
		delete(c.many, p)
	}
}

// SetBusy says whether the connection is busy: it then keeps its place as long as its client
// has another one to lose.
func (p *Place) SetBusy(busy bool) {
	p.on.mu.Lock()
	defer p.on.mu.Unlock()
	if p.of == nil || p.busy == busy {
		return
	}
	p.busy = busy
	if busy {
		p.of.busy++
	} else {
		p.of.busy--
	}
	p.on.rankLocked(p.of)
}

// Leave gives the place back.
func (p *Place) Leave() {
	p.on.mu.Lock()
	defer p.on.mu.Unlock()
	p.on.leaveLocked(p)
}

func (c *Conns) leaveLocked(at *Place) {
	p := at.of
	if p == nil {
		return
	}
	at.of = nil
	delete(p.places, at)
	c.open--
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
