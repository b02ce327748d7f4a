package proxies

import "net/netip"

// ClientAddr returns the address by which clients are counted where each may have a
// share: an IPv4 address itself, and for IPv6 the /64 network, which is the least that
// one subscriber has (RFC 6177).
func ClientAddr(ip netip.Addr) netip.Addr {
	ip = ip.Unmap().WithZone("")
	if ip.Is6() {
		return netip.PrefixFrom(ip, 64).Masked().Addr()
	}
	return ip
}

// ClientOf is ClientAddr for an address with or without a port, such as an http.Request's
// RemoteAddr. All addresses that cannot be parsed count as one client, the zero Addr.
func ClientOf(remote string) netip.Addr {
	ip, _ := parse(remote) // the zero Addr where it is not ok
	return ClientAddr(ip)
}
