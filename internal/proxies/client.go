package proxies

import "net/netip"

// ClientAddr is what clients are counted by where one may have a share: the
// address itself of IPv4, and of IPv6 the network of 64 bits, which is the least
// that one subscriber has (RFC 6177).
func ClientAddr(ip netip.Addr) netip.Addr {
	ip = ip.Unmap().WithZone("")
	if ip.Is6() {
		return netip.PrefixFrom(ip, 64).Masked().Addr()
	}
	return ip
}

// ClientOf is ClientAddr for an address with or without a port, such as an
// http.Request's RemoteAddr. All that cannot be parsed count as one client, the
// zero Addr.
func ClientOf(remote string) netip.Addr {
	ip, _ := parse(remote) // the zero Addr where it is not ok
	return ClientAddr(ip)
}
