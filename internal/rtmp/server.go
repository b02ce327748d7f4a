package rtmp

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"
)

// A Server accepts broadcasters. Its zero value refuses them all for want of a
// Handle. It must not be changed once Serve runs.
type Server struct {
	// Handle is called, on the connection's goroutine, once a broadcaster asks to
	// publish. It calls Accept and then reads frames until ReadFrame fails or it
	// has had enough. What it returns ends the connection: a *Refusal, or an error
	// that wraps a *flv.UnsupportedError, is told to the broadcaster. ctx ends with
	// Serve's.
	Handle func(ctx context.Context, p *Publisher) error

	// App is the only application name accepted; "" accepts any.
	App string

	Log *slog.Logger // nil means slog.Default()

	HandshakeTimeout time.Duration // from accept to the publish command; 0 means 10 s
	ReadTimeout      time.Duration // silence that ends a broadcast; 0 means 30 s
	WriteTimeout     time.Duration // for one write; 0 means 10 s
	MaxConns         int           // connections at a time; 0 means 8,192
	MaxConnsPerAddr  int           // of them from one IP address; 0 means 1,024
}

// Serve accepts broadcasters on ln until ctx is done, then cuts them off, waits
// for their handlers, and returns the cause of ctx. It closes ln.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	return errors.New("not yet")
}
