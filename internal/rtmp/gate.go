package rtmp

import (
	"net"
	"net/netip"
	"sync"

	"github.com/millrace/millrace/internal/proxies"
)

// fewConns is how many connections an address has at most that gets one more where
// the limit is reached, in the place of one that does not publish: whose stream key was
// not accepted, or not yet. fairConns is how
// many such connections no address loses.
const (
	fewConns  = 8
	fairConns = 2
)

// A gate counts connections against the limits. Where the limit in all is reached, an
// address with few gets the place of a connection that does not publish, of the
// address that has most of them: so encoders reach a port that others have filled.
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
		under(p.nc).Close() // without a word of TLS, which could take long
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
