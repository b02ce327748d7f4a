package audience

import (
	"testing"
	"time"
)

// A revocation ends the sessions of its viewer up to its version: waiting
// requests are woken, they count no more, and cannot go on. Others can.
func TestEnd(t *testing.T) {
	var v Viewers
	enter := func(number uint64, id string, version int64, at time.Duration) <-chan struct{} {
		t.Helper()
		ended, ok := v.Enter(number, Identity{id, version}, noon.Add(at))
		if !ok {
			t.Fatalf("session %d of %s is refused", number, id)
		}
		v.Seen(number, Client(number), noon.Add(at))
		return ended
	}
	waits := map[uint64]<-chan struct{}{1: enter(1, "ann", 1, 0), 2: enter(2, "ann", 2, 0), 3: enter(3, "ann", 3, 0), 4: enter(4, "bob", 1, 0)}
	if again := enter(1, "ann", 1, 0); again != waits[1] {
		t.Error("two requests of a session wait for different ends")
	}
	if n := v.End("ann", 2); n != 2 {
		t.Errorf("%d sessions ended, want 2", n)
	}
	if n := v.End("ann", 2) + v.End("eve", 9); n != 0 {
		t.Errorf("%d sessions ended again, or of nobody", n)
	}
	for number, ended := range waits {
		select {
		case <-ended:
			if number > 2 {
				t.Errorf("session %d has been ended", number)
			}
		default:
			if number <= 2 {
				t.Errorf("session %d has not been ended", number)
			}
		}
	}
	if n := v.Count(noon.Add(2 * time.Second)); n != 2 {
		t.Errorf("%d viewers count, want 2", n)
	}
	if _, ok := v.Enter(1, Identity{"ann", 1}, noon); ok {
		t.Error("a session that was ended goes on")
	}
}

// What is known of sessions with a viewer id is forgotten when they are idle,
// but not while a request is being answered, which a revocation must reach.
func TestIdentifiedAreForgotten(t *testing.T) {
	var v Viewers
	ended, _ := v.Enter(1, Identity{"ann", 1}, noon)
	v.Enter(2, Identity{"ann", 1}, noon)
	v.Leave(2, noon.Add(time.Second))
	v.Count(noon.Add(time.Minute))
	if n := v.End("ann", 1); n != 1 {
		t.Errorf("%d sessions ended, want the one that waits", n)
	}
	<-ended
	v.Leave(1, noon.Add(time.Minute))
	v.Count(noon.Add(2 * time.Minute))
	if len(v.identified) != 0 || len(v.byViewer) != 0 {
		t.Errorf("%d sessions and %d viewers are remembered", len(v.identified), len(v.byViewer))
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
