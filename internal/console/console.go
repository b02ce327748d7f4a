// Package console serves two web pages, the operator's console and the viewers' page:
// static files that Vite builds from the folder console/, embedded in the program. The
// pages use only the API, that of IVS and the calls below /_millrace/, and playback URLs,
// so this package needs none of the others.
package console

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"
)

// Config holds what the page must know and cannot get from the IVS API.
type Config struct {
	// PlaybackOrigin is scheme, host and port of playback URLs, such as
	// "https://video.example.com". Pages may load playlists and media from
	// it and from the console's own origin. "" means the latter alone.
	PlaybackOrigin string `json:"-"`

	Region    string `json:"region"`    // offered in the sign-in form
	RTMPPort  int    `json:"rtmpPort"`  // TCP port of plain RTMP ingest, as encoders reach it; 0 means none
	RTMPSPort int    `json:"rtmpsPort"` // the same of RTMPS

	Faults bool `json:"faults,omitempty"` // faults can be injected
}

//go:embed all:dist
var dist embed.FS

// Handler serves the console below /console/, and its configuration as
// /console/config.json. A program built without `make build` has no page: it says so,
// with status 503.
func Handler(c Config) http.Handler {
	files, err := fs.Sub(dist, "dist")
	if err != nil {
		files = dist // never: "dist" is a valid path; the index is then missing
	}
	return handler(files, c)
}

func handler(files fs.FS, c Config) http.Handler {
	h := &server{files: files, policy: policy(c.PlaybackOrigin), origin: c.PlaybackOrigin}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /console/config.json", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-cache")
		_ = json.NewEncoder(w).Encode(c) // a failed write means that the browser has gone
	})
	mux.HandleFunc("GET /console/{file...}", h.serveFile)
	return h.guard(mux)
}

// WatchRoot is the prefix of the URLs of viewers' pages. The rest is as in the channel's
// playback URL: <region>.<account>.channel.<id>.
const WatchRoot = "/watch/"

// WatchHandler serves the viewers' page of every channel below WatchRoot. It does not
// check that the channel exists: the page is the same for all, and finds out. Other sites
// may embed it in a frame.
func WatchHandler(c Config) http.Handler {
	files, err := fs.Sub(dist, "dist")
	if err != nil {
		files = dist // never, as in Handler
	}
	return watchHandler(files, c)
}

var channelName = regexp.MustCompile(`^[a-z0-9-]{1,32}\.[0-9]{12}\.channel\.[A-Za-z0-9]{1,64}$`)

func watchHandler(files fs.FS, c Config) http.Handler {
	h := &server{files: files, policy: watchPolicy, origin: c.PlaybackOrigin}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+WatchRoot+"{channel}", func(w http.ResponseWriter, r *http.Request) {
		if !channelName.MatchString(r.PathValue("channel")) {
			http.Error(w, "This is no channel's page: its URL ends with <region>.<account>.channel.<id>, as the channel's playback URL does before .m3u8.", http.StatusNotFound)
			return
		}
		h.serve(w, r, "watch.html")
	})
	return h.guard(mux)
}

type server struct {
	files  fs.FS
	policy string // Content-Security-Policy of every answer
	origin string // scheme and host under which it is public; "" is unknown
}

// watchPolicy allows the viewers' page files and media of its own origin, and
// every page to frame it.
const watchPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; worker-src 'self'; " +
	"media-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors *"

// policy allows the page its own files, and media from one more origin.
// Media Source Extensions play from a blob: URL; the empty text tracks that
// hls.js fills with metadata and captions have a data: URL.
func policy(playback string) string {
	return strings.TrimSpace(fmt.Sprintf("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "+
		"worker-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; "+
		"media-src 'self' blob: data: %[1]s; connect-src 'self' %[1]s", playback))
}

// guard sets the headers that keep a page, and what is in its URL, to itself.
func (s *server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", s.policy)
		h.Set("Referrer-Policy", "no-referrer")
		if s.isSecure(r) {
			h.Set("Cross-Origin-Opener-Policy", "same-origin")
		}
		next.ServeHTTP(w, r)
	})
}

// isSecure reports whether browsers have a secure context for the page: elsewhere they
// ignore Cross-Origin-Opener-Policy, and report that as an error of the page.
func (s *server) isSecure(r *http.Request) bool {
	host := (&url.URL{Host: r.Host}).Hostname()
	ip := net.ParseIP(host)
	return r.TLS != nil || host == "localhost" || ip != nil && ip.IsLoopback() || strings.EqualFold("https://"+r.Host, s.origin) // with TLS in front
}

func (s *server) serveFile(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("file")
	if name == "" {
		name = "index.html"
	}
	s.serve(w, r, name)
}

// serve answers with a file of the build, in the gzip form that the build put
// beside it where the browser takes that.
func (s *server) serve(w http.ResponseWriter, r *http.Request, name string) {
	body, err := fs.ReadFile(s.files, name)
	if err != nil || strings.HasPrefix(path.Base(name), ".") {
		s.notFound(w, r, name)
		return
	}
	h := w.Header()
	h.Set("Content-Type", contentType(name))
	h.Set("Cache-Control", cacheControl(name))
	if packed, err := fs.ReadFile(s.files, name+".gz"); err == nil {
		h.Set("Vary", "Accept-Encoding")
		if acceptsGzip(r) {
			h.Set("Content-Encoding", "gzip")
			body = packed
		}
	}
	h.Set("Content-Length", fmt.Sprint(len(body)))
	w.Write(body) // a failed write means that the browser has gone
}

func (s *server) notFound(w http.ResponseWriter, r *http.Request, name string) {
	if path.Ext(name) == ".html" {
		http.Error(w, "This program was built without its web pages: run `make build`.", http.StatusServiceUnavailable)
		return
	}
	http.NotFound(w, r)
}

// contentType knows the few kinds of file that a build holds, whatever the
// machine's own table of types says: with nosniff, a wrong one is no page.
func contentType(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	}
	return "application/octet-stream"
}

// cacheControl lets what Vite named by its content be kept for ever, and
// nothing else be used unasked.
func cacheControl(name string) string {
	if strings.HasPrefix(name, "assets/") {
		return "public, max-age=31536000, immutable"
	}
	return "no-cache"
}

// acceptsGzip reads RFC 9110, section 12.5.3, as far as browsers use it.
func acceptsGzip(r *http.Request) bool {
	for coding := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, weight, _ := strings.Cut(strings.TrimSpace(coding), ";")
		if name == "gzip" && strings.TrimSpace(weight) != "q=0" {
			return true
		}
	}
	return false
}
