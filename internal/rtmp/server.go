package rtmp

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/proxies"
)

// A Server accepts encoders. Its zero value refuses all of them, since it has no Handle.
// It must not be changed once Serve runs.
type Server struct {
	// Handle is called, on the connection's goroutine, once an encoder asks to
	// publish. It calls Accept and then reads frames until ReadFrame fails or it
	// has had enough. What it returns ends the connection; the text of an
	// *ingest.Refusal is sent to the encoder, that of another error is not. When
	// Serve's context ends, so do ctx and ReadFrame.
	Handle func(ctx context.Context, p *Publisher) error

	// App is the only application name accepted; "" accepts any.
	App string

	// Log gets one line for each encoder refused before Handle (info),
	// and for each connection that Handle or its peer ended (debug); nil means
	// slog.Default().
	Log *slog.Logger

	HandshakeTimeout time.Duration // from accept to the publish command; 0 means 10 s
	ReadTimeout      time.Duration // without a frame, that ends a stream; 0 means 30 s
	WriteTimeout     time.Duration // for one write, at least half of which must be left when it begins; 0 means 10 s
	MaxConns         int           // connections at a time, at which one that has not published may give way to a new one; 0 means 8,192
	MaxConnsPerAddr  int           // of them from one IP address; 0 means 1,024
}

func (s *Server) log() *slog.Logger {
	if s.Log != nil {
		return s.Log
	}
	return slog.Default()
}

// closeTimeout is how long a connection is kept open for its peer to read why it
// ends.
const closeTimeout = 2 * time.Second

// Serve accepts encoders on ln until ctx is done, then cuts them off, waits
// for their handlers, and returns the cause of ctx. It closes ln.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	var conns sync.WaitGroup
	defer conns.Wait()
	ctx, cut := context.WithCancelCause(ctx)
	defer cut(net.ErrClosed)
	defer context.AfterFunc(ctx, func() { ln.Close() })()
	defer ln.Close()
	counted := &proxies.Conns{Max: cmp.Or(s.MaxConns, 8192), PerClient: cmp.Or(s.MaxConnsPerAddr, 1024), Yields: yields}
	pause := time.Duration(0)
	for {
		nc, err := ln.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				nc.Close()
			}
			return context.Cause(ctx)
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept on %v: %w", ln.Addr(), err)
		case err != nil: // out of descriptors, most likely: some will come back
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.log().Warn("RTMP accept failed", "error", err, "pause", pause)
			wait(ctx, pause)
			continue
		}
		pause = 0
		probe(nc)
		place := counted.Enter(nc)
		if place == nil {
			s.log().Debug("RTMP connection over the limit", "remote", nc.RemoteAddr())
			continue
		}
		conns.Go(func() {
			defer place.Leave()
			s.serveConn(ctx, s.newConn(nc), func() { place.SetBusy(true) })
		})
	}
}

// fairConns is how many connections that do not publish a client may have on a full port
// without losing any.
const fairConns = 2

// yields has a client lose a connection that does not publish, whose stream key was
// refused or not checked yet, and none that does.
func yields(all, publishing int) int {
	if waiting := all - publishing; waiting > fairConns {
		return waiting
	}
	return 0
}

// probe enables TCP keep-alive: the kernel of a peer that was restarted resets the
// connection within seconds, so that its channel is free again. A peer that cannot be
// reached is left to ReadTimeout.
func probe(nc net.Conn) {
	if tcp, ok := proxies.BelowTLS(nc).(*net.TCPConn); ok {
		_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 3 * time.Second, Interval: 3 * time.Second, Count: 20}) // then it has the system's settings
	}
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func (s *Server) newConn(nc net.Conn) *conn {
	return newConn(nc, cmp.Or(s.WriteTimeout, 10*time.Second))
}

// serveConn is one connection from accept to close. It calls publishes when the connection
// publishes, and so keeps its place.
func (s *Server) serveConn(ctx context.Context, c *conn, publishes func()) {
	nc := c.nc
	defer nc.Close()
	log := s.log().With("remote", nc.RemoteAddr())
	defer func() {
		if v := recover(); v != nil {
			log.Error("panic on an RTMP connection", "panic", v, "stack", string(debug.Stack()))
		}
	}()
	by := time.Now().Add(cmp.Or(s.HandshakeTimeout, 10*time.Second))
	if nc.SetDeadline(by) != nil {
		return
	}
	c.writeBy = by
	defer context.AfterFunc(ctx, func() { c.cut(context.Cause(ctx)) })()
	end := func(err error) { s.end(c, log, err) }
	end(s.publish(ctx, c, publishes, end))
}

// end tells the encoder, where it can be told, why the connection ends, and
// closes it. It does so once.
func (s *Server) end(c *conn, log *slog.Logger, err error) {
	if c.ended {
		return
	}
	c.ended = true
	defer c.nc.Close()
	r := refusalOf(err)
	switch {
	case r != nil && c.connected:
		level := slog.LevelInfo
		if c.handed {
			level = slog.LevelDebug // the handler knows who it was, and has said so
		}
		log.Log(context.Background(), level, "publish refused", "code", r.code, "description", r.description)
		c.sendStatus("error", r.code, r.description)
		c.linger(closeTimeout)
	case err == nil || errors.Is(err, io.EOF):
		c.sendStatus("status", "NetStream.Unpublish.Success", "Unpublished")
		c.linger(closeTimeout)
	default:
		log.Debug("RTMP connection failed", "error", err)
	}
}

// publish takes the connection to its handler and through it.
func (s *Server) publish(ctx context.Context, c *conn, publishes func(), end func(error)) error {
	p := &Publisher{RemoteAddr: c.nc.RemoteAddr(), c: c, publishes: publishes, end: end, readTimeout: cmp.Or(s.ReadTimeout, 30*time.Second)}
	if tc, ok := c.nc.(*tls.Conn); ok {
		p.TLS = true
		if err := tc.HandshakeContext(ctx); err != nil {
			return fmt.Errorf("TLS handshake: %w", err)
		}
	}
	if err := serverHandshake(c.in.r, c.nc); err != nil {
		return err
	}
	if err := p.negotiate(s.App); err != nil {
		return err
	}
	if s.Handle == nil {
		return &refusal{CodeRejected, "this server takes no streams"}
	}
	c.handed = true
	return s.Handle(ctx, p)
}
