package access

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// strictOrigin returns the Origin header of a request. Browsers leave it out where a page
// reads from its own origin, as the viewers' page does, and say so in Sec-Fetch-Site
// (Fetch Metadata), which no script can set: then it is the origin of the request itself.
func strictOrigin(r *http.Request) string {
	if origin := r.Header.Get("Origin"); origin != "" || r.Header.Get("Sec-Fetch-Site") != "same-origin" {
		return origin
	}
	// The header comes by https, which a proxy may have ended, or else from this machine.
	if r.TLS == nil && isLoopback(r.Host) {
		return "http://" + r.Host
	}
	return "https://" + r.Host
}

func isLoopback(host string) bool {
	name := (&url.URL{Host: host}).Hostname()
	address, err := netip.ParseAddr(name)
	return name == "localhost" || strings.HasSuffix(name, ".localhost") || err == nil && address.IsLoopback()
}

// checkOrigin compares the Origin header of a request with a list of owner. Unless
// strict is set, a request without the header passes: it comes from the same origin,
// or not from a browser. The error is a *Refusal.
func checkOrigin(origin string, allowed []string, strict bool, code, owner string) error {
	switch {
	case origin == "" && strict:
		return ErrNoOrigin
	case origin == "" || len(allowed) == 0:
		return nil
	}
	for _, pattern := range allowed {
		if matches(pattern, origin) {
			return nil
		}
	}
	return refuse(code, "origin %.300q is not among those that %s allows", origin, owner)
}

// matches reports whether an origin (RFC 6454, section 6.2) matches a pattern: "*"
// matches any origin, and a host that begins with "*." any subdomain. Everything else
// must be equal, except for case, a trailing slash and a default port.
func matches(pattern, origin string) bool {
	if pattern == "*" {
		return true
	}
	pattern, origin = normalOrigin(pattern), normalOrigin(origin)
	scheme, host, ok := strings.Cut(pattern, "://")
	if !ok || !strings.HasPrefix(host, "*.") {
		return pattern == origin
	}
	theirs, theirHost, ok := strings.Cut(origin, "://")
	below, ok2 := strings.CutSuffix(theirHost, host[1:])
	return ok && ok2 && theirs == scheme && below != "" && !strings.ContainsFunc(below, notOfHost)
}

// notOfHost reports whether a name in an origin, in lower case, cannot have r.
func notOfHost(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '.' && r != '_'
}

func normalOrigin(s string) string {
	s = strings.TrimSuffix(strings.ToLower(s), "/")
	switch scheme, rest, _ := strings.Cut(s, "://"); scheme {
	case "https":
		return "https://" + strings.TrimSuffix(rest, ":443")
	case "http":
		return "http://" + strings.TrimSuffix(rest, ":80")
	}
	return s
}
