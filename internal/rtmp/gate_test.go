package rtmp

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/internal/ingest"
	"github.com/millrace/millrace/internal/wiretest"
)

// placed returns a place for the only connection of a server.
func placed(nc net.Conn) *place { return (&gate{limit: 1, perAddr: 1}).enter(nc) }

// A pretended connection is one of an address.
type pretended struct {
	net.Conn
	remote net.Addr
}

func (p pretended) RemoteAddr() net.Addr { return p.remote }

// Where all places are taken, an encoder gets that of a connection that has not
// published, of the address that has most of them; never that of one that has, or of
// an address with few.
func TestFullPort(t *testing.T) {
	g := &gate{limit: 20, perAddr: 20}
	enter := func(ip string) (p *place, closed func() bool) {
		t.Helper()
		ours, theirs := net.Pipe()
		t.Cleanup(func() { ours.Close() })
		return g.enter(pretended{ours, &net.TCPAddr{IP: net.ParseIP(ip), Port: 1}}), func() bool {
			ended := make(chan struct{})
			go func() { defer close(ended); theirs.Write([]byte{0}) }()
			if _, err := ours.Read(make([]byte, 1)); err != nil {
				theirs.Close()
				<-ended
				return true
			}
			<-ended
			return false
		}
	}
	var kept, waiting []func() bool
	for n := range 20 {
		ip := fmt.Sprintf("192.0.2.%d", n%2)
		if n >= 18 {
			ip = "192.0.2.3" // who has few
		}
		p, closed := enter(ip)
		if p == nil {
			t.Fatalf("there is no place %d of 20", n+1)
		}
		switch {
		case n < 4: // two of each
			p.publishes()
			kept = append(kept, closed)
		case n >= 18:
			kept = append(kept, closed)
		default: // seven of each
			waiting = append(waiting, closed)
		}
	}
	if p, _ := enter("192.0.2.1"); p != nil {
		t.Error("an address with many connections gets one more on a full port")
	}
	const spare = 14 - 2*fairConns
	for n := range spare + 1 {
		p, _ := enter(fmt.Sprintf("198.51.100.%d", n))
		if (p != nil) != (n < spare) {
			t.Errorf("encoder %d of %d gets a place: %t", n+1, spare, p != nil)
		}
		if p != nil {
			p.publishes()
		}
	}
	count := func(conns []func() bool) (n int) {
		for _, closed := range conns {
			if closed() {
				n++
			}
		}
		return n
	}
	if a, b := count(waiting), count(kept); a != spare || b != 0 {
		t.Errorf("closed were %d connections that had not published, and %d others; want %d and none", a, b, spare)
	}
	if g.total != g.limit {
		t.Errorf("%d connections are counted, want %d", g.total, g.limit)
	}
}

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

// A connection whose stream key is looked up, or was refused, does not keep its place on a
// full port; one that publishes does.
func TestUnknownKeysKeepNoPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ends := make(chan ending, 20)
		var lookups atomic.Int32
		publish := untilEnd(ends)
		s := &Server{MaxConns: 20, MaxConnsPerAddr: 20, Log: slog.New(slog.DiscardHandler)}
		s.Handle = func(ctx context.Context, p *Publisher) error {
			if p.StreamKey == "key" {
				return publish(ctx, p)
			}
			lookups.Add(1)
			time.Sleep(5 * time.Second) // the database is slow
			return ingest.Refuse(ingest.UnknownKey, "unknown")
		}
		l := wiretest.Listen(&net.TCPAddr{})
		ctx, stop := context.WithCancelCause(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx, l) }()
		dial := func(ip string) net.Conn { return l.Dial(&net.TCPAddr{IP: net.ParseIP(ip), Port: 1}) }
		defer onAir(t, dial("192.0.2.1")).nc.Close()
		for range 19 {
			c := shake(t, dial("192.0.2.1"))
			defer c.nc.Close()
			c.call(t, 0, "_result", connectTo("app")...)
			c.sendCommand(1, publishKey("unknown")...)
			if err := c.flush(); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if n := lookups.Load(); n != 19 {
			t.Fatalf("%d keys are looked up", n)
		}
		for n := range 3 {
			defer onAir(t, dial(fmt.Sprintf("198.51.100.%d", n+1))).nc.Close()
		}
		synctest.Wait()
		if len(ends) > 0 {
			t.Error("a connection that publishes was closed")
		}
		stop(net.ErrClosed)
		<-done
	})
}
