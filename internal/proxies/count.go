package proxies

import "net/netip"

// A Count counts how much of something each client has, and all clients together. The zero
// value counts nothing. Its owner's lock guards it.
type Count struct {
	total int
	by    map[netip.Addr]int // without those that have none
}

// Total returns how much all clients have together.
func (c *Count) Total() int { return c.total }

// Of returns how much a client has.
func (c *Count) Of(client netip.Addr) int { return c.by[client] }

// Add gives n more to a client, or takes them off it where n is negative.
func (c *Count) Add(client netip.Addr, n int) {
	if c.by == nil {
		c.by = map[netip.Addr]int{}
	}
	c.total += n
	if n += c.by[client]; n != 0 {
		c.by[client] = n
	} else {
		delete(c.by, client)
	}
}

// Share reports whether a client may have one more where all may have most: it leaves as
// many as it has, and a tenth of all, to the others. So no client shuts them out.
func (c *Count) Share(client netip.Addr, most int) bool {
	free := most - c.total
	return free > 0 && c.by[client] < max(free-most/10, 1)
}
