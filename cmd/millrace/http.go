package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/internal/api"
	"github.com/millrace/millrace/internal/cluster"
	"github.com/millrace/millrace/internal/console"
	"github.com/millrace/millrace/internal/httplimit"
	"github.com/millrace/millrace/internal/live"
	"github.com/millrace/millrace/internal/metrics"
	"github.com/millrace/millrace/internal/multitrack"
	"github.com/millrace/millrace/internal/playback"
	"github.com/millrace/millrace/internal/record"
)

// newHTTPServer has all HTTP endpoints. Everything without an endpoint of its own goes to
// the API.
func newHTTPServer(cfg config, control *api.Server, hub *live.Hub, views, recordings http.Handler, node *cluster.Node, endpoints map[string]http.Handler, probes probes, certs *certificates, log *slog.Logger, figures metrics.Sources) *http.Server {
	mux := http.NewServeMux()
	mux.Handle("/", control)
	share := ownShares()
	playing := &httplimit.Requests{Handler: views, Max: share.playback, Sent: true}
	reading := &httplimit.Requests{Handler: recordings, Max: share.recordings, Sent: true}
	mux.Handle(record.Root, reading)
	encoders := &multitrack.Handler{Store: control.Store, RTMP: cfg.ingest("rtmp", cfg.IngestRTMPPort), RTMPS: cfg.ingest("rtmps", cfg.IngestRTMPSPort), Log: log}
	mux.HandleFunc("GET /api/v2/FindIngest", encoders.FindIngest)
	mux.Handle("POST /api/v3/GetClientConfiguration", &httplimit.Requests{Handler: http.HandlerFunc(encoders.GetClientConfiguration), Max: share.configurations})
	pages := consoleConfig(cfg)
	mux.Handle("GET /console/", console.Handler(pages))
	mux.Handle(console.WatchRoot, console.WatchHandler(pages))
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
	figures.PlaybackRequests, figures.RecordingRequests = playing.InProgress, reading.InProgress
	mux.Handle("GET /metrics", metrics.New(figures))

	trusted, _ := cfg.trusted() // they were read before
	all := certs.challenges(cfg.redirecting(screened(mux, control, playing)))
	overHTTP2 := cfg.limitHTTP2(all, share.others, node.Signed)
	server := httplimit.NewServer(trusted.Handler(guarded(all)), trusted.Handler(guarded(overHTTP2)), share.http, trusted, log)
	server.TLSConfig = certs.httpsConfig()
	return server
}

// limitHTTP2 passes requests over HTTP/2 to next: of most as many as may be answered at a
// time. Media is not among them, which has limits of its own, and neither is what other
// nodes have signed: there is one request for each stream that they copy and each encoder
// that they forward, all from one address, and no client may shut them out.
func (c config) limitHTTP2(next http.Handler, most int, signed func(*http.Request) bool) http.Handler {
	limited := &httplimit.Requests{Handler: next, Max: most, Sent: true}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		media := strings.HasPrefix(r.URL.Path, playback.Root) || strings.HasPrefix(r.URL.Path, record.Root)
		redirected := c.RedirectHTTP && r.TLS == nil
		ofNode := strings.HasPrefix(r.URL.Path, cluster.Root) && signed(r)
		if ofNode {
			httplimit.Trust(r)
		}
		if (media && !redirected || ofNode) && hasCleanPath(r) {
			next.ServeHTTP(w, r)
			return
		}
		limited.ServeHTTP(w, r)
	})
}

var (
	noSniff  = []string{"nosniff"}
	noScript = []string{"default-src 'none'; img-src 'self'; media-src 'self'"}
)

// guarded has browsers take every response for what its type says, and run nothing of one
// that is opened as a page: objects of buckets have the console's origin, under which a tab
// keeps credentials. Playback does without the latter: all its types are its own, and none
// is a page. The API has its own headers, those of AWS, and so have the pages of package
// console their policy.
func guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h["X-Content-Type-Options"] = noSniff
		if !strings.HasPrefix(r.URL.Path, playback.Root) {
			h["Content-Security-Policy"] = noScript
		}
		next.ServeHTTP(w, r)
	})
}

// maxFields is how many fields the header of a request may have: each takes some 200 bytes
// of memory.
const maxFields = 100

// screened passes all but three kinds of requests to mux. Paths that are not clean go to the
// API: ServeMux would redirect them, which breaks ARNs in them and signatures. Large
// headers, which only UntagResource needs, are refused elsewhere, since many requests
// wait there. Those for playback, which are most of all, go to playing: finding that in mux
// took 3 % of the time of a viewer's request.
func screened(mux, control, playing http.Handler) http.Handler {
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
		case strings.HasPrefix(r.URL.Path, playback.Root):
			playing.ServeHTTP(w, r)
		default:
			mux.ServeHTTP(w, r)
		}
	})
}

// hasLargeHeader reports whether r has more of a header than HTTP/2 allows. UntagResource may
// have more over HTTP/1.1: it has its keys in the query, 50 of 128 characters, each of up to
// 9 bytes there.
func hasLargeHeader(r *http.Request) bool {
	n, fields := len(r.RequestURI), 0
	for name, values := range r.Header {
		fields += len(values)
		for _, v := range values {
			n += len(name) + len(v)
		}
	}
	return fields > maxFields || n > httplimit.MaxHeader2 && !(r.Method == http.MethodDelete && strings.Contains(r.URL.Path, "/tags/"))
}

func hasCleanPath(r *http.Request) bool {
	clean := path.Clean(r.URL.Path)
	return r.URL.Path == clean || r.URL.Path == clean+"/" || r.Method == http.MethodConnect
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
// ports and the origin of playback.
func consoleConfig(cfg config) console.Config {
	c := console.Config{Region: cfg.Region, RTMPPort: cfg.IngestRTMPPort, RTMPSPort: cfg.IngestRTMPSPort, Faults: cfg.Faults}
	if u, err := url.Parse(cfg.PublicURL); err == nil && u.Host != "" {
		c.PlaybackOrigin = u.Scheme + "://" + u.Host
	}
	return c
}
