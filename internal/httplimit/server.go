// Package httplimit bounds what the clients of an HTTP server may have open at a time, each
// and all together: connections, headers that are being received, requests and, over HTTP/2,
// what they abandon, send without reading, or do not take.
package httplimit

import (
	"crypto/tls"
	"errors"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/net/http2"

	"github.com/millrace/millrace/internal/proxies"
)

// How large a request without its body may be, in bytes, over HTTP/1.1 and HTTP/2.
const (
	MaxHeader1 = 64 << 10
	MaxHeader2 = 16 << 10
)

// ConnMemory is the maximum memory of a connection, including its goroutine's stack.
const ConnMemory = 24<<10 + freeHeader*HeaderCost

// NewServer returns a server of one handler with HTTP/1.1 and one with HTTP/2, which has
// conns connections at most, half of them from one client, and within the limits of
// docs/limits.md. A trusted proxy counts as many clients. The server accepts from listeners
// of CountHeaders alone.
func NewServer(http1, http2 http.Handler, conns int, trusted proxies.Trusted, log *slog.Logger) *http.Server {
	counted := &proxies.Conns{Max: conns, PerClient: max(conns/2, 1), Trusted: trusted, Yields: yields}
	server := newServer(byVersion(http1, http2, trusted), MaxHeader1, watch(counted), log)
	if err := boundHTTP2(server, newServer(byVersion(http1, http2, trusted), MaxHeader2, nil, log)); err != nil {
		panic(err) // the settings are constants
	}
	return server
}

// yields has a client lose a connection if it has more than a few: one without a request
// in progress as long as any client has one, and of those the client that has the most.
func yields(all, busy int) int {
	switch {
	case all <= proxies.FewConns:
		return 0
	case busy < all:
		return 1<<30 + all // before all that have none
	default:
		return all
	}
}

// watch returns an http.Server's ConnState that counts its connections, which are those of
// CountHeaders. The goroutine of one that is closed gets an error from its next read.
func watch(conns *proxies.Conns) func(net.Conn, http.ConnState) {
	return func(nc net.Conn, state http.ConnState) {
		c := proxies.BelowTLS(nc).(*headerConn)
		if state == http.StateNew {
			c.place = conns.Enter(nc)
		}
		if c.place == nil {
			return // it is closed
		}
		switch state {
		case http.StateActive, http.StateIdle:
			c.place.SetBusy(state == http.StateActive)
		case http.StateClosed, http.StateHijacked:
			c.place.Leave()
		}
	}
}

// boundHTTP2 has server serve HTTP/2 with the settings of another one. Its headers are
// bounded for all methods alike: a block of headers that is being received is in memory,
// several times, without a limit for all connections as HTTP/1.1 has one.
func boundHTTP2(server, settings *http.Server) error {
	//lint:ignore SA1019 what replaces it has one MaxHeaderBytes for both protocols
	if err := http2.ConfigureServer(server, nil); err != nil {
		return err
	}
	if server.TLSNextProto["h2"] == nil {
		return errors.New("package http2 leaves HTTP/2 to net/http, where it has no limit on headers of its own")
	}
	settings.ConnState = func(c net.Conn, state http.ConnState) { server.ConnState(c, state) }
	for protocol, serve := range server.TLSNextProto {
		server.TLSNextProto[protocol] = func(_ *http.Server, c *tls.Conn, handler http.Handler) { serve(settings, c, handler) }
	}
	return nil
}

// newServer returns a server whose headers have that many bytes at most.
func newServer(handler http.Handler, headers int, connState func(net.Conn, http.ConnState), log *slog.Logger) *http.Server {
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler:           handler,
		ConnContext:       withResets,
		Protocols:         protocols,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second, // 30 s of it at most for a request that waits for the next part
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    headers,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: 100,
			SendPingTimeout:      15 * time.Second, PingTimeout: 15 * time.Second, WriteByteTimeout: 15 * time.Second,
			MaxReceiveBufferPerStream: maxStreamUpload, MaxReceiveBufferPerConnection: maxConnUpload,
			MaxReadFrameSize: maxFrame, // a frame is in memory before it counts for those
		},
		ConnState: connState,
		ErrorLog:  stdlog.New(httpErrors{log}, "", 0),
	}
}

// httpErrors are the lines of an http.Server, such as one for each TLS handshake that
// fails. They are logged under one name, so that they can be limited.
type httpErrors struct{ log *slog.Logger }

// Write logs a line.
func (e httpErrors) Write(line []byte) (int, error) {
	e.log.Debug("HTTP connection failed", "error", strings.TrimSpace(string(line)))
	return len(line), nil
}

// What a connection of HTTP/2 may have sent before a handler reads it, in bytes. Many
// encoders are forwarded between two nodes over one connection: of each 10 Mbit/s
// arrive over a round trip of 100 ms, and of all 40 Mbit/s.
const (
	maxStreamUpload = 128 << 10
	maxConnUpload   = 512 << 10
	maxFrame        = 16 << 10 // the least that RFC 9113 allows
)

// byVersion passes requests of HTTP/2 to one handler, within the limits of HTTP/2, and all
// others to another, so that thousands of those that wait need no stack for these limits.
func byVersion(http1, http2 http.Handler, trusted proxies.Trusted) http.Handler {
	http2 = withoutBodies(limitResets(http2, trusted))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 2 {
			http2.ServeHTTP(w, r)
			return
		}
		http1.ServeHTTP(w, r)
	})
}

// withoutBodies is for HTTP/2, which would keep bodies until the response has been read:
// it discards those of requests that need none as they come, and those of all others once
// they are answered. (HTTP/1.1 receives only what is read.)
func withoutBodies(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := r.Body
		defer body.Close()
		switch r.Method {
		case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodDelete:
			body.Close()
			r.Body = http.NoBody
		}
		handler.ServeHTTP(w, r)
	})
}
