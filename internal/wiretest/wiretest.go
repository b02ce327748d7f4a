// Package wiretest provides helpers for tests of network protocols: bytes in hexadecimal,
// as specifications write them, a listener of connections in memory, and addresses for
// programs that take no listener.
package wiretest

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
)

// Hex decodes hexadecimal text, with white space anywhere between digits. It panics if
// text is anything else.
func Hex(text string) []byte {
	b, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		panic(fmt.Sprintf("wiretest: %q: %v", text, err))
	}
	return b
}

// FreeAddress returns an address, host:port, that nothing listens on. The system assigns
// no ports of this range by itself: none is taken by a connection, or by a
// listener at port 0, before the caller's program listens there, or listens again.
func FreeAddress(t testing.TB) string {
	t.Helper()
	address, err := FindAddress()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// FindAddress is FreeAddress for programs that are no tests.
func FindAddress() (string, error) {
	const tries = 100
	for try := 1; ; try++ {
		l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", 20_000+rand.IntN(10_000)))
		if err == nil {
			l.Close()
			return l.Addr().String(), nil
		}
		if try == tries {
			return "", fmt.Errorf("no free port after %d tries: %w", tries, err)
		}
	}
}

// A Listener accepts connections in memory. Their reads and writes block durably in the
// sense of package testing/synctest, so that virtual time passes while they wait; it does
// not while sockets do.
type Listener struct {
	addr   net.Addr
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// Listen returns a Listener at addr.
func Listen(addr net.Addr) *Listener {
	return &Listener{addr: addr, conns: make(chan net.Conn, 1), closed: make(chan struct{})}
}

// Dial returns the client's end of a connection from client; Accept returns the other
// end. It waits while another connection has not been accepted.
func (l *Listener) Dial(client net.Addr) net.Conn {
	ours, theirs := net.Pipe()
	l.conns <- conn{theirs, l.addr, client}
	return ours
}

// Accept waits for Dial, or for Close.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept. Connections stay open.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr returns the address of Listen.
func (l *Listener) Addr() net.Addr { return l.addr }

// A conn is the server's end of a pipe, with addresses.
type conn struct {
	net.Conn
	server, client net.Addr
}

func (c conn) LocalAddr() net.Addr  { return c.server }
func (c conn) RemoteAddr() net.Addr { return c.client }
