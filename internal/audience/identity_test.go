package audience

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// A revocation takes the sessions of its viewer up to a version off the count,
// and no others; who a session belonged to is forgotten with it.
func TestEnd(t *testing.T) {
	var v Viewers
	for number, who := range map[uint64]Identity{1: {"ann", 1}, 2: {"ann", 2}, 3: {"ann", 3}, 4: {"bob", 1}} {
		v.Seen(number, Client(number), noon)
		v.Identify(number, who)
	}
	if n := v.End("ann", 2); n != 2 {
		t.Errorf("%d sessions ended, want 2", n)
	}
	if n := v.End("ann", 2) + v.End("eve", 9); n != 0 {
		t.Errorf("%d sessions ended again, or of nobody", n)
	}
	list, _ := v.List(noon.Add(2*time.Second), 10)
	var left []string
	for _, w := range list {
		left = append(left, fmt.Sprint(w.Number, w.ViewerID))
	}
	if slices.Sort(left); !slices.Equal(left, []string{"3ann", "4bob"}) {
		t.Errorf("after the end of two sessions %q are left", left)
	}
	v.Count(noon.Add(time.Minute))
	if len(v.identities.of) != 0 || len(v.identities.byViewer) != 0 {
		t.Errorf("after a minute %d sessions and %d viewers are remembered", len(v.identities.of), len(v.identities.byViewer))
	}
}

// Players of one address are apart; so are two addresses. Of IPv6, all of a /64
// are one.
func TestClient(t *testing.T) {
	for _, tt := range []struct {
		a, b          string
		sameAddress   bool
		agentA, agent string
	}{
		{"192.0.2.1:80", "192.0.2.1:81", true, "x", "x"},
		{"192.0.2.1:80", "192.0.2.1:80", true, "x", "y"},
		{"192.0.2.1:80", "192.0.2.2:80", false, "x", "x"},
		{"192.0.2.1:80", "[::ffff:192.0.2.1]:80", true, "x", "x"},
		{"[2001:db8::1]:80", "[2001:db8::ffff:1]:80", true, "x", "x"},
		{"[2001:db8::1]:80", "[2001:db8:0:1::1]:80", false, "x", "x"},
		{"[fe80::1%eth0]:80", "[fe80::2%eth1]:80", true, "x", "x"},
		{"", "192.0.2.1", false, "x", "x"},
	} {
		a, b := NewClient(tt.a, tt.agentA), NewClient(tt.b, tt.agent)
		if got := a>>32 == b>>32; got != tt.sameAddress {
			t.Errorf("%s and %s: the same address: %v", tt.a, tt.b, got)
		}
		if got := a == b; got != (tt.sameAddress && tt.agentA == tt.agent) {
			t.Errorf("%s and %s: the same client: %v", tt.a, tt.b, got)
		}
	}
}
