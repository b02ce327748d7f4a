package rtmp

import (
	"net"
	"net/netip"
	"sync"
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
	ip := Source(remote)
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

// Source is the IP address to count connections by: of IPv6 the network of 64 bits, which is
// what one subscriber has. It is the zero Addr for a connection without any, in
// memory or on a Unix socket.
func Source(remote net.Addr) netip.Addr {
	tcp, ok := remote.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	if ip.Is6() {
		return netip.PrefixFrom(ip, 64).Masked().Addr()
	}
	return ip
}
