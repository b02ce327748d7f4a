package rtmp

import (
	"net"
	"testing"
)

// Who has a whole network of IPv6 has no more connections for it.
func TestSource(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1:1", "192.0.2.1:2", true},
		{"192.0.2.1:1", "192.0.2.2:1", false},
		{"192.0.2.1:1", "[::ffff:192.0.2.1]:1", true},
		{"[2001:db8:1:2::1]:1", "[2001:db8:1:2:ffff::9]:1", true},
		{"[2001:db8:1:2::1]:1", "[2001:db8:1:3::1]:1", false},
		{"[fe80::1%lo]:1", "[fe80::2]:1", true},
	} {
		var from [2]net.Addr
		for i, s := range []string{tt.a, tt.b} {
			addr, err := net.ResolveTCPAddr("tcp", s)
			if err != nil {
				t.Fatal(err)
			}
			from[i] = addr
		}
		if same := source(from[0]) == source(from[1]); same != tt.same {
			t.Errorf("%s and %s count as one: %v, want %v", tt.a, tt.b, same, tt.same)
		}
	}
	if pipe, _ := net.Pipe(); source(pipe.RemoteAddr()).IsValid() {
		t.Error("a connection in memory has an address")
	}
}
