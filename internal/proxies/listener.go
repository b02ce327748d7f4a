package proxies

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pires/go-proxyproto"
)

const (
	// headerTime is how long a trusted proxy may take for its header, or for the
	// first bytes of a connection without one.
	headerTime = 5 * time.Second

	// maxHeaders is how many headers are awaited at a time. Beyond it connections
	// from proxies are closed.
	maxHeaders = 1024
)

// Listener returns l with connections from trusted proxies that may begin with a header
// of the PROXY protocol, version 1 or 2: their remote address is then the client's. Other
// connections are unchanged. Accept returns a connection when its header has been
// received, so that none delays another.
func (t Trusted) Listener(l net.Listener) net.Listener {
	if len(t) == 0 {
		return l
	}
	return &listener{Listener: l, trusted: t, accepted: make(chan accepted), closed: make(chan struct{}), headers: make(chan struct{}, maxHeaders)}
}

type accepted struct {
	conn net.Conn
	err  error
}

type listener struct {
	net.Listener
	trusted  Trusted
	accepted chan accepted
	headers  chan struct{} // holds one for each connection whose header is awaited

	start, stop sync.Once
	closed      chan struct{}  // by Close
	running     sync.WaitGroup // the loop that accepts, and those that await headers
}

// Accept starts the loop that accepts, the first time; Close ends it.
func (l *listener) Accept() (net.Conn, error) {
	l.start.Do(func() { l.running.Go(l.loop) })
	select {
	case a := <-l.accepted:
		return a.conn, a.err
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) loop() {
	for {
		conn, err := l.Listener.Accept()
		if err != nil || !l.trustedPeer(conn) {
			l.deliver(conn, err)
		} else {
			l.await(conn)
		}
		select {
		case <-l.closed:
			return
		default:
		}
	}
}

func (l *listener) trustedPeer(conn net.Conn) bool {
	peer, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	return err == nil && l.trusted.Has(peer.Addr())
}

// await delivers a connection when its header has been read.
func (l *listener) await(conn net.Conn) {
	select {
	case l.headers <- struct{}{}:
	default:
		conn.Close()
		return
	}
	l.running.Go(func() {
		defer func() { <-l.headers }()
		ended := make(chan struct{})
		defer close(ended)
		go func() { // closing the listener ends the wait
			select {
			case <-l.closed:
				conn.Close()
			case <-ended:
			}
		}()
		c := proxyproto.NewConn(conn, proxyproto.SetReadHeaderTimeout(headerTime), proxyproto.WithPolicy(proxyproto.USE), proxyproto.ValidateHeader(onlyTCP))
		c.ProxyHeader() // reads it; one that is wrong fails the first Read
		l.deliver(c, nil)
	})
}

// onlyTCP refuses a header for a client without an IP address: limits by address
// need one, and so do the logs.
func onlyTCP(h *proxyproto.Header) error {
	if _, ok := h.SourceAddr.(*net.TCPAddr); !ok && !h.Command.IsLocal() {
		return fmt.Errorf("PROXY header with a client at %v: only TCP over IPv4 and IPv6 is accepted", h.SourceAddr)
	}
	return nil
}

// deliver gives a connection or an error to Accept.
func (l *listener) deliver(conn net.Conn, err error) {
	select {
	case l.accepted <- accepted{conn, err}:
	case <-l.closed:
		if conn != nil {
			conn.Close()
		}
	}
}

// Close closes the listener and waits for what it has started.
func (l *listener) Close() error {
	err := net.ErrClosed
	l.stop.Do(func() {
		close(l.closed)
		err = l.Listener.Close()
		l.running.Wait()
	})
	return err
}
