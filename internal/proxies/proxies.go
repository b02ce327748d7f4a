// Package proxies finds the addresses of clients behind trusted proxies, accepts none
// from anyone else, defines by which address a client is counted, and counts what clients
// have: connections of a port (Conns), or anything else (Count).
package proxies

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Trusted are the addresses of proxies that are trusted to name their clients.
type Trusted []netip.Prefix

// Parse parses prefixes in CIDR notation, or single addresses.
func Parse(list []string) (Trusted, error) {
	var t Trusted
	for _, s := range list {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			var ip netip.Addr
			if ip, err = netip.ParseAddr(s); err == nil {
				p, err = ip.Prefix(ip.BitLen())
			}
		}
		if err != nil {
			return nil, fmt.Errorf("%q is neither an address nor a prefix such as 10.0.0.0/8: %w", s, err)
		}
		t = append(t, netip.PrefixFrom(p.Addr().Unmap(), bits(p)))
	}
	return t, nil
}

// bits is the length of p, without the 96 bits by which IPv4 is mapped into
// IPv6.
func bits(p netip.Prefix) int {
	if p.Addr().Is4In6() {
		return max(p.Bits()-96, 0)
	}
	return p.Bits()
}

// Has reports whether an address is that of a trusted proxy.
func (t Trusted) Has(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	return slices.ContainsFunc(t, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// HasHost is Has for "host:port".
func (t Trusted) HasHost(address string) bool {
	ip, ok := parse(address)
	return ok && t.Has(ip)
}

// Handler sets RemoteAddr of requests that a trusted proxy has forwarded to the client's
// address before it calls h: that of X-Forwarded-For or of Forwarded (RFC 7239). A proxy
// sets one of them and passes the other on as the client sent it, so a request in which
// they differ is refused.
func (t Trusted) Handler(h http.Handler) http.Handler {
	if len(t) == 0 {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !t.HasHost(r.RemoteAddr) {
			h.ServeHTTP(w, r)
			return
		}
		client, ok := t.client(r)
		if !ok {
			http.Error(w, "X-Forwarded-For and Forwarded name different clients: the proxy must remove the one that it does not set", http.StatusBadRequest)
			return
		}
		if client != "" {
			forwarded := *r
			forwarded.RemoteAddr = net.JoinHostPort(client, "0")
			r = &forwarded
		}
		h.ServeHTTP(w, r)
	})
}

// client is the address that the headers of a request from a trusted proxy give
// its client, "" if they give none. It is not ok if they contradict each other.
func (t Trusted) client(r *http.Request) (address string, ok bool) {
	plain, hasPlain := t.last(list(r.Header["X-Forwarded-For"]))
	standard, hasStandard := t.last(forwardedFor(r.Header["Forwarded"]))
	if hasPlain && hasStandard && plain != standard {
		return "", false
	}
	if hasPlain {
		return plain, true
	}
	return standard, true
}

// last is the address in a chain that is nearest and not that of a trusted
// proxy: what stands before it may be forged. If all are trusted
// it is the first. present reports whether the header was there.
func (t Trusted) last(chain []string) (address string, present bool) {
	for i := len(chain) - 1; i >= 0; i-- {
		ip, ok := parse(chain[i])
		if !ok {
			break // such as "unknown": the proxy after it is all that is known
		}
		address = ip.String()
		if !t.Has(ip) {
			break
		}
	}
	return address, len(chain) > 0
}

// list is the items of a header that may come several times.
func list(values []string) (items []string) {
	for _, v := range values {
		for item := range strings.SplitSeq(v, ",") {
			if item = strings.TrimSpace(item); item != "" {
				items = append(items, item)
			}
		}
	}
	return items
}

// forwardedFor is the "for" parameters of Forwarded (RFC 7239, section 4), ""
// for an element without one.
func forwardedFor(values []string) (chain []string) {
	for _, element := range list(values) {
		client := ""
		for parameter := range strings.SplitSeq(element, ";") {
			name, value, _ := strings.Cut(strings.TrimSpace(parameter), "=")
			if strings.EqualFold(name, "for") {
				client = strings.Trim(value, `"`)
			}
		}
		chain = append(chain, client)
	}
	return chain
}

// parse reads an address with or without a port, in brackets or not.
func parse(s string) (netip.Addr, bool) {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone(""), true
	}
	ip, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	return ip.Unmap().WithZone(""), err == nil
}
