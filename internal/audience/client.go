package audience

import (
	"hash/maphash"

	"github.com/millrace/millrace/internal/proxies"
)

// A Client stands for where requests come from: an address in the upper half,
// a kind of player in the lower. Both are hashes that differ from process to
// process, so that no client can choose an address with the hash of another.
type Client uint64

// address is the hash of the address.
func (c Client) address() uint32 { return uint32(c >> 32) }

// seed is the process's.
var seed = maphash.MakeSeed()

// NewClient returns the Client of requests from an address with a port (of
// IPv6, all of a /64 are one) by a player that names itself so.
func NewClient(remoteAddr, userAgent string) Client {
	address := maphash.Comparable(seed, proxies.ClientOf(remoteAddr))
	return Client(address&^0xffff_ffff | maphash.String(seed, userAgent)&0xffff_ffff)
}

// Network is the same for all Clients with one address.
func (c Client) Network() uint64 { return uint64(c) >> 32 }
