package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/net/http2"
	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/internal/api"
	"github.com/millrace/millrace/internal/cluster"
	"github.com/millrace/millrace/internal/console"
	"github.com/millrace/millrace/internal/live"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/multitrack"
	"github.com/millrace/millrace/internal/playback"
	"github.com/millrace/millrace/internal/proxies"
	"github.com/millrace/millrace/internal/record"
	"github.com/millrace/millrace/internal/timeline"
	"github.com/millrace/millrace/internal/transcode"
)

// newHTTPServer has all HTTP endpoints. Everything without an endpoint of its own goes to
// the API.
func newHTTPServer(cfg config, control *api.Server, hub *live.Hub, views, recordings http.Handler, node *cluster.Node, endpoints map[string]http.Handler, probes probes, certs *certificates, log *slog.Logger, more ...prometheus.Collector) *http.Server {
	mux := http.NewServeMux()
	mux.Handle("/", control)
	share := ownShares()
	playing := &requestLimit{handler: views, max: share.playback, sent: true}
	mux.Handle(playback.Root, playing)
	reading := &requestLimit{handler: recordings, max: share.recordings, sent: true}
	mux.Handle(record.Root, reading)
	encoders := &multitrack.Handler{Store: control.Store, RTMP: cfg.ingest("rtmp", cfg.IngestRTMPPort), RTMPS: cfg.ingest("rtmps", cfg.IngestRTMPSPort), Log: log}
	mux.HandleFunc("GET /api/v2/FindIngest", encoders.FindIngest)
	mux.Handle("POST /api/v3/GetClientConfiguration", &requestLimit{handler: http.HandlerFunc(encoders.GetClientConfiguration), max: share.configurations})
	mux.Handle("GET /console/", console.Handler(consoleConfig(cfg, hub.Transcode)))
	mux.Handle(console.WatchRoot, console.WatchHandler())
	mux.Handle("GET /console", http.RedirectHandler("/console/", http.StatusMovedPermanently))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" || r.URL.Query().Has("Action") { // a call of STS or another AWS service
			control.ServeHTTP(w, r)
			return
		}
		http.Redirect(w, r, "/console/", http.StatusFound)
	})
	mux.Handle(cluster.Root, node.Handler(endpoints))
	mux.Handle("GET /healthz", probes.health)
	mux.Handle("GET /readyz", probes.ready)
	mux.Handle("GET /readyz/playback", probes.playback)
	mux.Handle("GET /metrics", metrics(hub, log, append(more,
		playing.gauge("millrace_playback_requests_in_flight", "Playback requests that are being answered, most of which wait for what is to come."),
		reading.gauge("millrace_recording_requests_in_flight", "Requests for recordings (playlists, media, thumbnails) that are being answered."))...))

	trusted, _ := cfg.trusted() // they were read before
	all := certs.challenges(cfg.redirecting(screened(mux, control)))
	overHTTP2 := cfg.limitHTTP2(all, share.others, node.Signed)
	server := boundedServer(trusted.Handler(all), trusted.Handler(overHTTP2), trusted, log)
	server.TLSConfig = certs.httpsConfig()
	return server
}

// limitHTTP2 passes requests over HTTP/2 to next: of most as many as may be answered at a
// time. Media is not among them, which has limits of its own, and neither is what other
// nodes have signed: there is one request for each stream that they copy and each encoder
// that they forward, all from one address, and no client may shut them out.
func (c config) limitHTTP2(next http.Handler, most int, signed func(*http.Request) bool) http.Handler {
	limited := &requestLimit{handler: next, max: most, sent: true}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		media := strings.HasPrefix(r.URL.Path, playback.Root) || strings.HasPrefix(r.URL.Path, record.Root)
		redirected := c.RedirectHTTP && r.TLS == nil
		ofNode := strings.HasPrefix(r.URL.Path, cluster.Root) && signed(r)
		if c := connOf(r); ofNode && c != nil {
			c.trust()
		}
		if (media && !redirected || ofNode) && hasCleanPath(r) {
			next.ServeHTTP(w, r)
			return
		}
		limited.ServeHTTP(w, r)
	})
}

// boundedServer serves one handler with HTTP/1.1 and one with HTTP/2, within the limits of
// docs/limits.md. A trusted proxy counts as many clients.
func boundedServer(http1, http2 http.Handler, trusted proxies.Trusted, log *slog.Logger) *http.Server {
	share := ownShares()
	conns := &connLimit{max: share.http, perAddr: max(share.http/2, 1), proxies: trusted}
	server := newBoundedServer(byVersion(http1, http2, trusted), maxUntagHeader, conns.watch, log)
	if err := boundHTTP2(server, newBoundedServer(byVersion(http1, http2, trusted), maxHeader, nil, log)); err != nil {
		panic(err) // the settings are constants
	}
	return server
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

// newBoundedServer is a boundedServer whose headers have that many bytes at most.
func newBoundedServer(handler http.Handler, headers int, watch func(net.Conn, http.ConnState), log *slog.Logger) *http.Server {
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
		ConnState: watch,
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

// How large a request without its body may be, in bytes. UntagResource has its
// keys in the query: 50 of 128 characters, each of up to 9 bytes there. That much
// is received over HTTP/1.1 only.
const (
	maxHeader      = 16 << 10
	maxUntagHeader = 64 << 10
	maxFields      = 100 // each takes some 200 bytes of memory
)

// screened passes all but two kinds of requests to mux. Paths that are not clean go to the
// API: ServeMux would redirect them, which breaks ARNs in them and signatures. Large
// headers, which only UntagResource needs, are refused elsewhere, since many requests
// wait there.
func screened(mux *http.ServeMux, control http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case hasLargeHeader(r):
			if r.ProtoMajor == 2 { // a response might wait, and the header be kept for it
				panic(http.ErrAbortHandler)
			}
			w.Header().Set("Connection", "close") // as net/http does for headers that it does not read
			http.Error(w, "the request's headers are too large", http.StatusRequestHeaderFieldsTooLarge)
		case !hasCleanPath(r):
			control.ServeHTTP(w, r)
		default:
			mux.ServeHTTP(w, r)
		}
	})
}

func hasLargeHeader(r *http.Request) bool {
	n, fields := len(r.RequestURI), 0
	for name, values := range r.Header {
		fields += len(values)
		for _, v := range values {
			n += len(name) + len(v)
		}
	}
	return fields > maxFields || n > maxHeader && !(r.Method == http.MethodDelete && strings.Contains(r.URL.Path, "/tags/"))
}

func hasCleanPath(r *http.Request) bool {
	clean := path.Clean(r.URL.Path)
	return r.URL.Path == clean || r.URL.Path == clean+"/" || r.Method == http.MethodConnect
}

// countHeaders has server bound the headers that are being received on the listeners
// that it returns.
func countHeaders(server *http.Server, trusted proxies.Trusted, plain, secure net.Listener) (net.Listener, net.Listener) {
	headers, others := &headerLimit{max: ownShares().headers, proxies: trusted}, server.ConnState
	server.ConnState = func(c net.Conn, state http.ConnState) {
		headers.watch(c, state)
		others(c, state)
	}
	return headers.listen(plain, freeHeader), headers.listen(secure, freeTLSHeader)
}

// serveHTTP runs server on the listeners that are not nil until ctx is done, and then
// waits for its requests, at most for what is left then.
func serveHTTP(ctx context.Context, server *http.Server, plain, secure net.Listener, left func() time.Duration) error {
	g, ctx := errgroup.WithContext(ctx)
	if plain != nil {
		g.Go(func() error { return unlessClosed("--http", plain, server.Serve(plain)) })
	}
	if secure != nil {
		g.Go(func() error { return unlessClosed("--https", secure, server.ServeTLS(secure, "", "")) })
	}
	<-ctx.Done()
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), left())
	defer cancel()
	err := server.Shutdown(stop)
	if err != nil {
		err = server.Close()
	}
	return errors.Join(err, g.Wait())
}

func unlessClosed(flag string, l net.Listener, err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("%s %s: %w", flag, l.Addr(), err)
}

// consoleConfig returns the settings that the console cannot get from the API: the ingest
// ports, the origin of playback, and whether nothing is transcoded.
func consoleConfig(cfg config, pool *transcode.Pool) console.Config {
	c := console.Config{Region: cfg.Region, RTMPPort: cfg.IngestRTMPPort, RTMPSPort: cfg.IngestRTMPSPort, Faults: cfg.Faults}
	c.Notice = func() string {
		if err := pool.Err(); err != nil {
			return "This server does not transcode: viewers of every channel, whatever its type, get only the source. The reason: " + err.Error()
		}
		return ""
	}
	if u, err := url.Parse(cfg.PublicURL); err == nil && u.Host != "" {
		c.PlaybackOrigin = u.Scheme + "://" + u.Host
	}
	return c
}

// metrics serves Prometheus.
func metrics(hub *live.Hub, log *slog.Logger, more ...prometheus.Collector) http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "millrace_old_sessions_deleted_total", Help: "Old sessions that this node deleted because their channels had more than 10,000."}, func() float64 {
			return float64(hub.SessionsDropped.Load())
		}),
	)
	r.MustRegister(more...)
	for _, kind := range timeline.Kinds() {
		r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "millrace_timestamp_repairs_total", Help: "Frames whose time was repaired because an encoder's clock was wrong.",
			ConstLabels: prometheus.Labels{"kind": kind.String()},
		}, func() float64 { return float64(hub.Repairs[kind].Load()) }))
	}
	media.InputStats{}.Each(func(kind string, _ int64) {
		r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "millrace_ingest_anomalies_total", Help: "Frames (and configurations, bad_config) that could not be carried as the encoder sent them: early, malformed and bad_config are left out, repaired and joined are shown.",
			ConstLabels: prometheus.Labels{"kind": kind},
		}, func() (value float64) {
			hub.Input.Load().Each(func(k string, n int64) {
				if k == kind {
					value = float64(n)
				}
			})
			return value
		}))
	})
	return &cachedMetrics{gatherer: r, log: log}
}
