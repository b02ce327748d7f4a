package rtmp

import (
	"net"
	"net/netip"
	"sync"

	"github.com/millrace/millrace/internal/proxies"
)

// A gate counts connections against the limits.
type gate struct {
	limit, perAddr int

	mu    sync.Mutex
	total int
	byIP  map[netip.Addr]int
}

// enter returns the function that gives the place back.
func (g *gate) enter(remote net.Addr) (leave func(), ok bool) {
	ip := source(remote)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.total >= g.limit || g.byIP[ip] >= g.perAddr {
		return nil, false
	}
	if g.byIP == nil {
		g.byIP = make(map[netip.Addr]int)
	}
	g.total++
	g.byIP[ip]++
	return func() { g.leave(ip) }, true
}

func (g *gate) leave(ip netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.total--
	if g.byIP[ip]--; g.byIP[ip] == 0 {
		delete(g.byIP, ip)
	}
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
