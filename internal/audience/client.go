package audience

import (
	"hash/maphash"

	"github.com/millrace/millrace/internal/proxies"
)

// A Client identifies the source of requests: a hash of the address in the upper half, of
// the kind of player in the lower. The hashes differ from process to process, so no
// client can choose an address with the hash of another.
type Client uint64

// address is the hash of the address.
func (c Client) address() uint32 { return uint32(c >> 32) }

// seed is the process's.
var seed = maphash.MakeSeed()

// NewClient returns the Client for an address with a port (all of an IPv6 /64 count as
// one) and a player's User-Agent.
func NewClient(remoteAddr, userAgent string) Client {
	address := maphash.Comparable(seed, proxies.ClientOf(remoteAddr))
	return Client(address&^0xffff_ffff | maphash.String(seed, userAgent)&0xffff_ffff)
}

// Network is equal for all Clients with one address.
func (c Client) Network() uint64 { return uint64(c) >> 32 }
