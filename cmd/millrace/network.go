package main

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace/millrace/internal/cluster"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/rtmp"
)

// networkFlags are the addresses to listen on, and those that clients use.
type networkFlags struct {
	HTTP         string `name:"http" default:"127.0.0.1:8080" placeholder:"HOST:PORT" help:"API, playback, console and health; or off (${default})."`
	HTTPS        string `name:"https" default:"off" placeholder:"HOST:PORT" help:"The same over TLS, with HTTP/2 (${default})."`
	RedirectHTTP bool   `name:"redirect-http" help:"Redirect requests on --http to --public-url, except those for health and metrics. Needs --https. AWS SDKs do not follow redirects. Responses over TLS tell browsers to use HTTPS alone for a year (Strict-Transport-Security)."`
	RTMP         string `name:"rtmp" default:"127.0.0.1:1935" placeholder:"HOST:PORT" help:"RTMP ingest, or off (${default})."`
	RTMPS        string `name:"rtmps" default:"127.0.0.1:1936" placeholder:"HOST:PORT" help:"RTMPS ingest, or off (${default})."`
	TLSCert      string `name:"tls-cert" type:"existingfile" placeholder:"FILE" help:"Certificate chain for HTTPS and RTMPS, PEM; read again when it changes. Without it a self-signed one is made in the data folder."`
	TLSKey       string `name:"tls-key" type:"existingfile" placeholder:"FILE" help:"Private key of --tls-cert, PEM."`
	PublicURL    string `name:"public-url" placeholder:"URL" help:"Base of playback URLs, and where the console and millrace env find the API. Default: https:// and --https, or http:// and --http."`
	IngestHost   string `name:"ingest-host" placeholder:"HOST" help:"Host that ingestEndpoint shows. Default: the host of --public-url."`

	IngestRTMPPort  int `name:"ingest-rtmp-port" placeholder:"PORT" help:"Port that encoders are told for RTMP, behind NAT or a balancer that has another. Default: that of --rtmp."`
	IngestRTMPSPort int `name:"ingest-rtmps-port" placeholder:"PORT" help:"The same for RTMPS. Default: that of --rtmps."`
}

// endpoints are the addresses that the API shows.
func (n networkFlags) endpoints() ivs.Endpoints {
	return ivs.Endpoints{PublicURL: n.PublicURL, IngestHost: n.IngestHost}
}

// apiURL is how this machine reaches the API.
func (n networkFlags) apiURL() string {
	if n.HTTP == off || n.RedirectHTTP {
		return "https://" + reachable(n.HTTPS)
	}
	return "http://" + reachable(n.HTTP)
}

// ingest returns the address for encoders, without the stream key, on that port; "" if it
// is 0, as the listener is off.
func (n networkFlags) ingest(scheme string, port int) string {
	if port == 0 {
		return ""
	}
	return scheme + "://" + net.JoinHostPort(n.IngestHost, strconv.Itoa(port)) + "/" + rtmp.App
}

// checkIngest returns an error for what encoders cannot be told.
func (n networkFlags) checkIngest() error {
	if net.ParseIP(n.IngestHost) == nil && strings.ContainsAny(n.IngestHost, ":/@?# ") {
		return fmt.Errorf("--ingest-host %q: must be a host alone, without scheme, port or application (--ingest-rtmp-port and --ingest-rtmps-port name the ports)", n.IngestHost)
	}
	for _, p := range []struct {
		flag, listener, address string
		port                    int
	}{
		{"--ingest-rtmp-port", "--rtmp", n.RTMP, n.IngestRTMPPort},
		{"--ingest-rtmps-port", "--rtmps", n.RTMPS, n.IngestRTMPSPort},
	} {
		if p.port < 0 || p.port > 65535 {
			return fmt.Errorf("%s %d: must be a port, between 1 and 65535", p.flag, p.port)
		}
		if p.port != 0 && p.address == off {
			return fmt.Errorf("%s %d: nothing listens behind it, as %s is off", p.flag, p.port, p.listener)
		}
	}
	return nil
}

// reachable replaces the unspecified host of a listening address by one that
// can be dialled.
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// strictTransport has browsers use HTTPS alone for this host, and all its ports, for a year.
const strictTransport = "max-age=31536000"

// redirecting redirects requests without TLS to the public address with --redirect-http,
// except for probes, metrics and other nodes, whose clients do not follow redirects. To
// those with TLS it adds strictTransport, unless the public address or that of the request
// is loopback: other programs of the machine have that name too.
func (n networkFlags) redirecting(next http.Handler) http.Handler {
	if !n.RedirectHTTP {
		return next
	}
	strict := outsideURL(n.PublicURL)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS != nil && strict && outsideURL("https://"+r.Host) {
			w.Header().Set("Strict-Transport-Security", strictTransport)
		}
		direct := slices.Contains([]string{"/healthz", "/readyz", "/readyz/playback", "/metrics"}, r.URL.Path)
		if r.TLS != nil || direct || strings.HasPrefix(r.URL.Path, cluster.Root) {
			next.ServeHTTP(w, r)
			return
		}
		http.Redirect(w, r, strings.TrimSuffix(n.PublicURL, "/")+r.URL.RequestURI(), http.StatusPermanentRedirect)
	})
}
