package audience

import (
	"testing"
	"time"
)

// One address has its share of the viewers of all streams, and what it has used
// up is no one else's loss. Viewers that leave make room.
func TestShares(t *testing.T) {
	shares := &Shares{PerAddress: 100}
	a, b := Viewers{Shares: shares}, Viewers{Shares: shares}
	greedy, other := NewClient("192.0.2.1:1", "x"), NewClient("192.0.2.2:1", "x")
	let := 0
	for i := range uint64(1000) {
		v := &a
		if i%2 == 1 {
			v = &b
		}
		if v.Seen(i, greedy+Client(i), noon) { // each with another player
			let++
		}
	}
	if let != 100 || shares.hasRoom(greedy) {
		t.Errorf("%d viewers of one address are let in, want 100", let)
	}
	if !a.Seen(5000, other, noon) || !shares.hasRoom(other) {
		t.Error("another address is refused")
	}
	if !a.Seen(0, greedy, noon.Add(time.Second)) || a.Seen(7000, greedy, noon) {
		t.Error("a viewer who watches is refused, or another one let in")
	}
	if n := a.Count(noon.Add(2 * time.Second)); n != 51 {
		t.Errorf("%d viewers count, want 51", n)
	}
	a.Count(noon.Add(time.Minute))
	if !shares.hasRoom(greedy) {
		t.Error("viewers that left take up room")
	}
	b.Close()
	a.Close()
	if len(shares.viewers) != 0 {
		t.Errorf("when all have gone, %d addresses are remembered", len(shares.viewers))
	}
}

// Sessions of one player replace each other, and each keeps its share until it is
// forgotten: together they never count for more, although all of them come back.
func TestSharesOfReloads(t *testing.T) {
	const share = 10
	shares := &Shares{PerAddress: share}
	v := Viewers{Shares: shares}
	for i := range 300 { // a new session a second, of which some are refused
		at := noon.Add(time.Duration(i) * time.Second)
		v.Seen(uint64(i), 7, at)
		v.Count(at)
		if got := shares.viewers[Client(7).address()]; got != len(v.sessions) || got > share {
			t.Fatalf("after %d s %d viewers are held against the share, %d are known", i, got, len(v.sessions))
		}
		if i%10 != 9 {
			continue
		}
		for number := range v.sessions {
			v.Renew(number, at)
		}
		if n := v.Count(at.Add(time.Second)); n > share {
			t.Fatalf("after %d s %d sessions count of one address, want at most %d", i, n, share)
		}
	}
	v.Count(noon.Add(time.Hour))
	if len(shares.viewers) != 0 {
		t.Errorf("when all are forgotten, %d addresses hold shares", len(shares.viewers))
	}
}
