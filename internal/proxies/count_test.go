package proxies_test

import (
	"net/netip"
	"testing"

	"github.com/millrace/millrace/internal/proxies"
)

func TestCount(t *testing.T) {
	var c proxies.Count
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for c.Share(a, 100) {
		c.Add(a, 1)
	}
	if got := c.Of(a); got != 45 || c.Total() != 45 { // which is not less than 100 - 45 - 10
		t.Errorf("one client has %d, and all have %d", got, c.Total())
	}
	for c.Share(b, 100) {
		c.Add(b, 1)
	}
	if got := c.Of(b); got != 23 || c.Total() != 68 {
		t.Errorf("a second client has %d, and all have %d", got, c.Total())
	}
	for n := range 32 {
		other := netip.AddrFrom4([4]byte{192, 0, 2, byte(10 + n)})
		if !c.Share(other, 100) {
			t.Fatalf("client %d gets none where %d of 100 are taken", n, c.Total())
		}
		c.Add(other, 1)
	}
	if c.Share(netip.MustParseAddr("192.0.2.99"), 100) {
		t.Error("101 of 100 are given")
	}
	c.Add(a, -45)
	if c.Of(a) != 0 || c.Total() != 55 || !c.Share(a, 100) {
		t.Errorf("%d, %d of all are left", c.Of(a), c.Total())
	}
}
