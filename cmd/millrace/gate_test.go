package main

import (
	"net"
	"net/url"
	"path/filepath"
	"sync"
	"testing"
)

// A gate is in front of a listener. It can be closed, say nothing, and lead elsewhere.
type gate struct {
	address string // that leads through it

	mu      sync.Mutex
	network string        // guarded by mu, as is what follows; of the listener behind it
	to      string        // its address
	closed  bool          // connections are cut, and no others are taken
	silence chan struct{} // closed when bytes pass again; nil while they do
	open    []net.Conn
}

func startGate(t *testing.T, network, to string) *gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{address: l.Addr().String(), network: network, to: to}
	var running sync.WaitGroup
	t.Cleanup(func() { l.Close(); g.setClosed(true); g.setSilent(false); running.Wait() })
	running.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { g.pass(nc) })
		}
	})
	return g
}

// startDatabaseGate is for a server of a PostgreSQL, which it has at another URL then.
func startDatabaseGate(t *testing.T, database string) (g *gate, through string) {
	t.Helper()
	direct, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	g = startGate(t, "unix", filepath.Join(direct.Query().Get("host"), ".s.PGSQL.5432"))
	return g, "postgres://" + direct.Query().Get("user") + "@" + g.address + direct.Path + "?sslmode=disable"
}

// pass carries a connection until one of its ends, or the gate, cuts it.
func (g *gate) pass(nc net.Conn) {
	defer nc.Close()
	g.mu.Lock()
	network, to, closed := g.network, g.to, g.closed
	g.mu.Unlock()
	if closed { // nothing reaches what is behind it, which might be busy with that for long after
		return
	}
	server, err := net.Dial(network, to)
	if err != nil {
		return
	}
	defer server.Close()
	g.mu.Lock()
	closed = g.closed
	if !closed {
		g.open = append(g.open, nc)
	}
	g.mu.Unlock()
	if closed {
		return
	}
	go func() { g.carry(server, nc); server.Close() }() // ends with the connections
	g.carry(nc, server)
}

// carry copies what comes, when it may pass, until an end of a connection.
func (g *gate) carry(to, from net.Conn) {
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		g.mu.Lock()
		silence := g.silence
		g.mu.Unlock()
		if silence != nil {
			<-silence
		}
		if _, failed := to.Write(b[:n]); failed != nil || err != nil {
			return
		}
	}
}

// setClosed cuts all connections and takes no others, or takes them again.
func (g *gate) setClosed(closed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = closed
	if closed {
		for _, nc := range g.open {
			nc.Close()
		}
		g.open = nil
	}
}

// setSilent has no byte pass, in either direction, or has them pass again: as when
// the process behind the gate is stopped.
func (g *gate) setSilent(silent bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case silent && g.silence == nil:
		g.silence = make(chan struct{})
	case !silent && g.silence != nil:
		close(g.silence)
		g.silence = nil
	}
}

// lead leads new connections to another address.
func (g *gate) lead(to string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.to = to
}
