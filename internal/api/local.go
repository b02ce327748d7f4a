package api

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/millrace/millrace/internal/ivs"
)

// checkBrowser refuses, where signatures are not checked, what a web page of
// another origin has a browser send. Two ways lead a page here: a request
// across origins, which Origin or Sec-Fetch-Site (Fetch Metadata) gives away,
// and a name of its own that it lets resolve to this machine (DNS rebinding),
// which Host gives away. AWS clients send neither header.
func (s *Server) checkBrowser(r *http.Request) error {
	if !s.AuthOff || slices.Contains(s.AuthOffOrigins, "*") {
		return nil
	}
	origin := r.Header.Get("Origin")
	if origin != "" && slices.Contains(s.AuthOffOrigins, origin) {
		return nil
	}
	if !s.isOwnHost(r.Host) {
		return ivs.Errorf(ivs.AccessDenied, "The host %.100q does not belong to this server: allow its origin with --auth-off-origins", r.Host)
	}
	site := r.Header.Get("Sec-Fetch-Site")
	across := site != "" && site != "same-origin" && site != "none"
	if u, err := url.Parse(origin); origin != "" && (err != nil || !strings.EqualFold(u.Host, r.Host)) {
		across = true
	}
	if across {
		return ivs.Errorf(ivs.AccessDenied, "Pages of the origin %.100q may not call this server: allow it with --auth-off-origins", origin)
	}
	return nil
}

// isOwnHost reports whether no foreign page can have made host resolve to this
// machine: it is an address, a name that the public DNS does not have, the
// server's own, or one that is allowed.
func (s *Server) isOwnHost(host string) bool {
	name := (&url.URL{Host: host}).Hostname()
	if net.ParseIP(name) != nil || !strings.Contains(name, ".") || strings.HasSuffix(name, ".localhost") || strings.HasSuffix(name, ".internal") {
		return true
	}
	for _, own := range append([]string{s.Endpoints.PublicURL}, s.AuthOffOrigins...) {
		if u, err := url.Parse(own); err == nil && strings.EqualFold(u.Hostname(), name) {
			return true
		}
	}
	return false
}
