package audience

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// A Class is the kind of network that a session's requests come from; it does not reveal
// the address.
type Class uint8

// Classes.
const (
	ClassUnknown  Class = iota
	ClassLoopback       // this machine
	ClassPrivate        // RFC 1918, RFC 4193, and link-local addresses
	ClassIPv4
	ClassIPv6
)

func (c Class) String() string {
	return [...]string{"UNKNOWN", "LOOPBACK", "PRIVATE", "IPV4", "IPV6"}[c]
}

// ClassOf returns the Class of an address with or without a port.
func ClassOf(remoteAddr string) Class {
	ip, err := netip.ParseAddr(remoteAddr)
	if err != nil {
		ap, err := netip.ParseAddrPort(remoteAddr)
		if err != nil {
			return ClassUnknown
		}
		ip = ap.Addr()
	}
	switch ip = ip.Unmap(); {
	case ip.IsLoopback():
		return ClassLoopback
	case ip.IsPrivate(), ip.IsLinkLocalUnicast():
		return ClassPrivate
	case ip.Is4():
		return ClassIPv4
	}
	return ClassIPv6
}

// maxRenditions bounds the names of renditions that are kept apart.
const maxRenditions = 250

// Place sets where the requests of a known session come from. The country is "" if it is
// unknown.
func (v *Viewers) Place(number uint64, class Class, country string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if s, ok := v.sessions[number]; ok {
		s.class = class
		copy(s.country[:], country)
		v.sessions[number] = s
	}
}

// Rendition sets the rendition that a known session last requested.
func (v *Viewers) Rendition(number uint64, name string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s, ok := v.sessions[number]
	if !ok || len(v.renditions) > 0 && v.renditions[s.rendition] == name {
		return
	}
	if len(v.renditions) == 0 {
		v.renditions = []string{""}
	}
	i := slices.Index(v.renditions, name)
	if i < 0 {
		if len(v.renditions) >= maxRenditions {
			return
		}
		i = len(v.renditions)
		v.renditions = append(v.renditions, name)
	}
	s.rendition = uint8(i)
	v.sessions[number] = s
}

// A Viewer describes a viewer session.
type Viewer struct {
	Number    uint64
	Identity  // its ViewerID is "" if the token names no viewer
	Since     time.Time
	Rendition string // "" before the first request for one
	Class     Class
	Country   string
	Player    *Player // nil unless its player reports
}

// A Player holds the last report of a viewer session's player, if that came in the last
// minute. 0 is unknown, except for Stalls.
type Player struct {
	Stalls  int  // since the session began
	Stalled bool // one of them was in the last minute
	Bitrate int  // kbit/s
	Buffer  time.Duration
	Startup time.Duration
	Latency time.Duration // behind live
}

// List returns the sessions that this node counts, newest first, at most limit of them,
// and their total number.
func (v *Viewers) List(now time.Time, limit int) (list []Viewer, total int) {
	total = v.CountHere(now)
	v.mu.Lock()
	defer v.mu.Unlock()
	at := v.sinceLocked(now)
	elapsed := now.Sub(v.base).Truncate(time.Millisecond)
	for number, s := range v.sessions {
		if s.inactive {
			continue
		}
		age := max(int32(at-s.first), 0)
		w := Viewer{Number: number, Since: v.base.Add(elapsed - time.Duration(age)*time.Millisecond), Class: s.class}
		if len(v.renditions) > 0 {
			w.Rendition = v.renditions[s.rendition]
		}
		if s.country[0] != 0 {
			w.Country = string(s.country[:])
		}
		w.Identity = v.identities.of[number]
		w.Player = v.playerLocked(number, at)
		list = append(list, w)
	}
	slices.SortFunc(list, func(a, b Viewer) int { return cmp.Or(b.Since.Compare(a.Since), cmp.Compare(a.Number, b.Number)) })
	return list[:min(len(list), limit)], total
}
