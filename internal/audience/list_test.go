package audience

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/cmcd"
)

func TestList(t *testing.T) {
	var v Viewers
	if list, n := v.List(noon, 10); n != 0 || len(list) != 0 {
		t.Errorf("%d viewers: %v", n, list)
	}
	v.Seen(1, 100, noon)
	v.Place(1, ClassOf("[2001:db8::1]:5"), "DE")
	v.Seen(2, 200, noon.Add(time.Second))
	v.Rendition(2, "720p30")
	v.Rendition(1, "source")
	v.Rendition(2, "source")
	v.Rendition(3, "source") // unknown
	v.Place(3, ClassIPv4, "DE")
	v.Identify(2, Identity{ViewerID: "v", Version: 7})
	v.Identify(3, Identity{ViewerID: "v"}) // unknown
	want := []Viewer{
		{Number: 2, Identity: Identity{ViewerID: "v", Version: 7}, Since: noon.Add(time.Second), Rendition: "source"},
		{Number: 1, Since: noon, Rendition: "source", Class: ClassIPv6, Country: "DE"},
	}
	list, n := v.List(noon.Add(2*time.Second), 10)
	if diff := cmp.Diff(want, list); diff != "" || n != 2 {
		t.Errorf("%d viewers: %s", n, diff)
	}
	if list, n := v.List(noon.Add(2*time.Second), 1); len(list) != 1 || n != 2 {
		t.Errorf("%d of %d", len(list), n)
	}
	if list, n := v.List(noon.Add(time.Minute), 10); len(list) != 0 || n != 0 {
		t.Errorf("after a minute %d of %d", len(list), n)
	}
	for i := range 300 {
		v.Seen(uint64(i), Client(i), noon)
		v.Rendition(uint64(i), time.Duration(i).String())
	}
	if len(v.renditions) > maxRenditions {
		t.Errorf("%d names of renditions are kept", len(v.renditions))
	}
}

// What a session's player reports is in the list for a minute.
func TestListPlayers(t *testing.T) {
	var v Viewers
	v.Seen(1, 100, noon)
	v.Seen(2, 200, noon)
	v.Report(1, cmcd.Report{StartDelay: 700 * time.Millisecond, Bitrate: 2500, Buffer: 2 * time.Second, Latency: 3 * time.Second}, noon)
	v.Report(1, cmcd.Report{Starved: true}, noon.Add(time.Second))
	player := func(after time.Duration) map[uint64]*Player {
		found := map[uint64]*Player{}
		for number := range uint64(2) {
			v.Renew(number+1, noon.Add(after))
		}
		list, _ := v.List(noon.Add(after), 10)
		for _, w := range list {
			found[w.Number] = w.Player
		}
		return found
	}
	want := map[uint64]*Player{1: {Stalls: 1, Stalled: true, Bitrate: 2500, Buffer: 2 * time.Second, Startup: 700 * time.Millisecond, Latency: 3 * time.Second}, 2: nil}
	if diff := cmp.Diff(want, player(2*time.Second)); diff != "" {
		t.Error(diff)
	}
	for after := 10 * time.Second; after < 70*time.Second; after += 10 * time.Second {
		player(after) // they still watch
	}
	if diff := cmp.Diff(map[uint64]*Player{1: nil, 2: nil}, player(70*time.Second)); diff != "" {
		t.Error(diff)
	}
}

func TestClassOf(t *testing.T) {
	for address, want := range map[string]Class{"127.0.0.1:5": ClassLoopback, "[::1]:5": ClassLoopback, "10.1.2.3:5": ClassPrivate, "192.168.1.1": ClassPrivate,
		"fd00::1": ClassPrivate, "[fe80::1%eth0]:5": ClassPrivate, "203.0.113.7:5": ClassIPv4, "::ffff:203.0.113.7": ClassIPv4, "2001:db8::1": ClassIPv6, "": ClassUnknown, "x:5": ClassUnknown} {
		if got := ClassOf(address); got != want {
			t.Errorf("%q is %v, want %v", address, got, want)
		}
	}
}
