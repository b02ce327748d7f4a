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
	"github.com/millrace/millrace/internal/proxies"
	"github.com/millrace/millrace/internal/wiretest"
)

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
	conns := &proxies.Conns{Max: 20, PerClient: 20, Yields: yields}
	enter := func(ip string) (place *proxies.Place, closed func() bool) {
		t.Helper()
		ours, theirs := net.Pipe()
		t.Cleanup(func() { ours.Close() })
		place = conns.Enter(pretended{ours, &net.TCPAddr{IP: net.ParseIP(ip), Port: 1}})
		if place == nil {
			return nil, nil
		}
		return place, func() bool {
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
		place, closed := enter(ip)
		if place == nil {
			t.Fatalf("there is no place %d of 20", n+1)
		}
		switch {
		case n < 4: // two of each
			place.SetBusy(true)
			kept = append(kept, closed)
		case n >= 18:
			kept = append(kept, closed)
		default: // seven of each
			waiting = append(waiting, closed)
		}
	}
	if place, _ := enter("192.0.2.1"); place != nil {
		t.Error("an address with many connections gets one more on a full port")
	}
	const spare = 14 - 2*fairConns
	for n := range spare + 1 {
		place, _ := enter(fmt.Sprintf("198.51.100.%d", n))
		if (place != nil) != (n < spare) {
			t.Errorf("encoder %d of %d gets a place: %t", n+1, spare, place != nil)
		}
		if place != nil {
			place.SetBusy(true)
		}
	}
	count := func(all []func() bool) (n int) {
		for _, closed := range all {
			if closed() {
				n++
			}
		}
		return n
	}
	if a, b := count(waiting), count(kept); a != spare || b != 0 {
		t.Errorf("closed were %d connections that had not published, and %d others; want %d and none", a, b, spare)
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
