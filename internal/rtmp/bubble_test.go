package rtmp

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/internal/amf0"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/wiretest"
)

// A strainedListener is one in memory that is out of descriptors at first.
type strainedListener struct {
	*wiretest.Listener
	failures int
}

func (l *strainedListener) Accept() (net.Conn, error) {
	if l.failures < 5 {
		l.failures++
		return nil, syscall.EMFILE
	}
	return l.Listener.Accept()
}

var memory net.Addr = &net.UnixAddr{Name: "memory", Net: "unix"}

// bubble runs test with a running server, in virtual time. The server takes every
// broadcast to its end and reports it on ends.
func bubble(t *testing.T, s *Server, test func(t *testing.T, dial func() net.Conn, ends <-chan ending)) {
	synctest.Test(t, func(t *testing.T) {
		ends := make(chan ending, 1)
		s.Log, s.Handle = slog.New(slog.DiscardHandler), untilEnd(ends)
		l := &strainedListener{Listener: wiretest.Listen(memory)}
		ctx, stop := context.WithCancelCause(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx, l) }()
		test(t, func() net.Conn { return l.Dial(memory) }, ends)
		stop(errors.New("test is over"))
		if err := <-done; err == nil || err.Error() != "test is over" {
			t.Errorf("Serve = %v, want the cause of its context", err)
		}
	})
}

// shake does the client's handshake. Its conn answers nothing by itself.
func shake(t testing.TB, nc net.Conn) *conn {
	t.Helper()
	c := newConn(nc, time.Minute)
	c.in.maxMessage = maxMessage
	if err := clientHandshake(c.in.r, nc); err != nil {
		t.Fatal(err)
	}
	return c
}

// call sends a command and returns the commands up to the answer that is named.
func (c *conn) call(t testing.TB, stream uint32, until string, values ...amf0.Value) []command {
	t.Helper()
	c.sendCommand(stream, values...)
	return c.await(t, until)
}

func (c *conn) await(t testing.TB, until string) (all []command) {
	t.Helper()
	for {
		m, err := c.readMessage()
		if err != nil {
			t.Fatalf("waiting for %s after %v: %v", until, all, err)
		}
		if m.kind != kindCommand {
			continue
		}
		cmd, err := parseCommand(m)
		if err != nil {
			t.Fatal(err)
		}
		if all = append(all, cmd); cmd.name == until {
			return all
		}
	}
}

func connectTo(app string, more ...amf0.Property) []amf0.Value {
	return []amf0.Value{amf0.String("connect"), amf0.Number(1), append(amf0.Object{{Key: "app", Value: amf0.String(app)}}, more...)}
}

func publishKey(key string) []amf0.Value {
	return []amf0.Value{amf0.String("publish"), amf0.Number(5), amf0.Null{}, amf0.String(key), amf0.String("live")}
}

// onAir connects and publishes.
func onAir(t testing.TB, nc net.Conn) *conn {
	t.Helper()
	c := shake(t, nc)
	c.call(t, 0, "_result", connectTo("app")...)
	c.call(t, 1, "onStatus", publishKey("key")...)
	return c
}

// An ending is the result of a handler.
type ending struct {
	frames []media.Frame
	p      *Publisher
	err    error
}

// untilEnd returns a handler that reads to the end and reports it.
func untilEnd(ends chan<- ending) func(context.Context, *Publisher) error {
	return func(_ context.Context, p *Publisher) error {
		e := ending{p: p, err: p.Accept()}
		for e.err == nil {
			var f media.Frame
			if f, e.err = p.ReadFrame(); e.err == nil {
				e.frames = append(e.frames, f)
			}
		}
		ends <- e
		return e.err
	}
}

// readAny returns the next message, also one about the connection itself.
func (c *conn) readAny() (message, error) {
	if err := c.flush(); err != nil {
		return message{}, err
	}
	return c.in.read()
}
