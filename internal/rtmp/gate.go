package rtmp

import (
	"net"
	"net/netip"
	"sync"

	"github.com/millrace/millrace/internal/proxies"
)

// At the limit, an address with fewer than fewConns connections gets another one, in the
// place of one that does not publish: its stream key was refused, or not checked yet. An
// address with no more than fairConns of those loses none.
const (
	fewConns  = 8
	fairConns = 2
)

// A gate counts connections against the limits. At the limit on all connections, an
// address with few of them takes the place of one that does not publish, from the address
// that has the most of those: so encoders reach a port that others have filled.
type gate struct {
	limit, perAddr int

	mu    sync.Mutex
	total int                  // guarded by mu
	byIP  map[netip.Addr]*peer // guarded by mu
}

// A peer is an address with its connections.
type peer struct {
	count   int
	waiting map[*place]struct{} // those that do not publish
}

// A place is that of a connection.
type place struct {
	g    *gate
	nc   net.Conn
	ip   netip.Addr
	left bool // guarded by g.mu
}

// enter returns the place of nc, nil if there is none.
func (g *gate) enter(nc net.Conn) *place {
	ip := source(nc.RemoteAddr())
	g.mu.Lock()
	defer g.mu.Unlock()
	count := 0
	if g.byIP[ip] != nil {
		count = g.byIP[ip].count
	}
	if count >= g.perAddr || g.total >= g.limit && (count >= fewConns || !g.displaceLocked()) {
		return nil
	}
	if g.byIP == nil {
		g.byIP = make(map[netip.Addr]*peer)
	}
	if g.byIP[ip] == nil {
		g.byIP[ip] = &peer{waiting: map[*place]struct{}{}}
	}
	p := &place{g: g, nc: nc, ip: ip}
	g.total++
	g.byIP[ip].count++
	g.byIP[ip].waiting[p] = struct{}{}
	return p
}

// displaceLocked closes a connection that does not publish, if an address has more
// than its fair share of them.
func (g *gate) displaceLocked() bool {
	var from *peer
	for _, peer := range g.byIP {
		if n := len(peer.waiting); n > fairConns && (from == nil || n > len(from.waiting)) {
			from = peer
		}
	}
	if from == nil {
		return false
	}
	for p := range from.waiting {
		p.leaveLocked()
		under(p.nc).Close() // without a TLS close_notify, which could block
		break
	}
	return true
}

// publishes notes that the connection may publish: it keeps its place.
func (p *place) publishes() {
	p.g.mu.Lock()
	defer p.g.mu.Unlock()
	if !p.left {
		delete(p.g.byIP[p.ip].waiting, p)
	}
}

// leave gives the place back.
func (p *place) leave() {
	p.g.mu.Lock()
	defer p.g.mu.Unlock()
	p.leaveLocked()
}

func (p *place) leaveLocked() {
	if p.left {
		return
	}
	p.left = true
	p.g.total--
	peer := p.g.byIP[p.ip]
	delete(peer.waiting, p)
	if peer.count--; peer.count == 0 {
		delete(p.g.byIP, p.ip)
	}
}

// under is the connection below TLS.
func under(nc net.Conn) net.Conn {
	if secure, ok := nc.(interface{ NetConn() net.Conn }); ok {
		return secure.NetConn()
	}
	return nc
}

// source is the address to count connections by. It is the zero Addr for a
// connection without any, in memory or on a Unix socket.
func source(remote net.Addr) netip.Addr {
	tcp, ok := remote.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return proxies.ClientAddr(tcp.AddrPort().Addr())
}
