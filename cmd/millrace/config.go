package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/rtmp"
	"github.com/millrace/millrace/internal/store"
)

// config is what serve and demo can be told.
type config struct {
	storage
	HTTP         string        `name:"http" default:"127.0.0.1:8080" placeholder:"HOST:PORT" help:"API, playback, console and health; or off (${default})."`
	HTTPS        string        `name:"https" default:"off" placeholder:"HOST:PORT" help:"The same over TLS, with HTTP/2 (${default})."`
	RedirectHTTP bool          `name:"redirect-http" help:"Redirect requests on --http to --public-url, but for health and metrics. Needs --https. AWS SDKs do not follow."`
	RTMP         string        `name:"rtmp" default:"127.0.0.1:1935" placeholder:"HOST:PORT" help:"RTMP ingest, or off (${default})."`
	RTMPS        string        `name:"rtmps" default:"127.0.0.1:1936" placeholder:"HOST:PORT" help:"RTMPS ingest, or off (${default})."`
	TLSCert      string        `name:"tls-cert" type:"existingfile" placeholder:"FILE" help:"Certificate chain for HTTPS and RTMPS, PEM; read again when it changes. Without it a self-signed one is made in the data folder."`
	TLSKey       string        `name:"tls-key" type:"existingfile" placeholder:"FILE" help:"Private key of --tls-cert, PEM."`
	PublicURL    string        `name:"public-url" placeholder:"URL" help:"Base of playback URLs, and where the console and millrace env find the API. Default: https:// and --https, or http:// and --http."`
	IngestHost   string        `name:"ingest-host" placeholder:"HOST" help:"Host that ingestEndpoint shows. Default: the host of --public-url."`
	Auth         string        `name:"auth" enum:"sigv4,off" default:"sigv4" help:"Who may call the API: sigv4 verifies signatures; off accepts any, and takes a 12-digit access key as the account (${default})."`
	Origins      []string      `name:"auth-off-origins" placeholder:"ORIGIN" help:"With --auth off: origins, such as http://localhost:3000, whose web pages may call the API and under whose hosts it may be called; * for all. Default: none but the console."`
	Buckets      string        `name:"buckets" placeholder:"PLACE" help:"Where recording buckets live: a folder, or s3://. Default: buckets in the data folder."`
	Spool        byteSize      `name:"recording-spool" default:"10GiB" placeholder:"SIZE" help:"How much recorded media may wait on disk, in the data folder, for buckets that are slow or away (${default})."`
	Recordings   bool          `name:"recordings-public" help:"Serve recordings at /recordings/<bucket>/<key> to everyone, for teams without a CDN; those of private channels to who has a playback token (?token=)."`
	Drain        time.Duration `name:"drain" default:"10s" help:"How long a stop waits for broadcasts and requests to end in good order (${default})."`
	Faults       bool          `name:"faults" help:"Let POST /_millrace/faults make starvation, limit breaches and cuts happen to live streams, for tests of event handlers."`
	LogLevel     slog.Level    `name:"log-level" default:"info" placeholder:"LEVEL" help:"What to log: debug, info, warn or error. Info has a line for each thing that happens to a stream, debug also one for each API call and each connection that fails (${default})."`
	PerChannel   bool          `name:"metrics-per-channel" help:"Give /metrics figures of each channel. Costs the monitoring system some series a channel."`

	acmeFlags
	accessFlags
	quotaFlags
	eventFlags
	limitFlags `group:"Limits (defaults as in Amazon IVS):"`
	transcodeFlags
}

// storage is where Millrace keeps things, and in whose name.
type storage struct {
	Data            string `name:"data" default:"./millrace-data" type:"path" placeholder:"FOLDER" help:"Everything Millrace keeps when it uses embedded defaults (./millrace-data)."`
	Database        string `name:"database" placeholder:"URL" help:"postgres://… for PostgreSQL. Default: SQLite in the data folder."`
	Account         string `name:"account" default:"000000000000" placeholder:"ID" help:"Account of the root credentials (${default})."`
	Region          string `name:"region" default:"us-west-2" placeholder:"NAME" help:"Region where the request's signature names none (${default})."`
	AccessKeyID     string `name:"access-key-id" placeholder:"ID" help:"Root credentials. Default: made at the first start and kept in the data folder."`
	SecretAccessKey string `name:"secret-access-key" secret:"" placeholder:"SECRET" help:"Secret of --access-key-id."`
}

// check finds what cannot work before anything is started.
func (c config) check() error {
	channel := ivs.ARN{Region: c.Region, Account: c.Account, Type: ivs.ChannelType, ID: "x"}
	if _, ok := ivs.ParseARN(channel.String()); !ok || len(c.Account) != 12 {
		return fmt.Errorf("--account %q, --region %q: an account has 12 digits, a region lower-case letters, digits and hyphens", c.Account, c.Region)
	}
	if u, err := url.Parse(c.PublicURL); c.PublicURL != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.RawQuery != "") {
		return fmt.Errorf("--public-url %q: it is http:// or https://, a host, and perhaps a port and a path", c.PublicURL)
	}
	if net.ParseIP(c.IngestHost) == nil && strings.ContainsAny(c.IngestHost, ":/@?# ") {
		return fmt.Errorf("--ingest-host %q: it is a host alone, without scheme, port and application", c.IngestHost)
	}
	if c.HTTP == off && c.HTTPS == off {
		return errors.New("--http off, --https off: the API and playback need one of them")
	}
	if c.RedirectHTTP && (c.HTTPS == off || c.HTTP == off || strings.HasPrefix(c.PublicURL, "http:")) {
		return errors.New("--redirect-http: it needs --http, --https, and a --public-url that is https:// or not given")
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return errors.New("--tls-cert and --tls-key go together: one of them is missing")
	}
	return cmp.Or(c.acmeFlags.check(c.HTTP, c.HTTPS, c.TLSCert != ""), c.limitFlags.check(), c.quotaFlags.check())
}

// dsn names the database for store.Open.
func (s storage) dsn() string {
	if s.Database != "" {
		return s.Database
	}
	return filepath.Join(s.Data, "millrace.db")
}

// scope is whose channels the commands mean.
func (s storage) scope() store.Scope { return store.Scope{Account: s.Account, Region: s.Region} }

// endpoints are the addresses that the API shows.
func (c config) endpoints() ivs.Endpoints {
	return ivs.Endpoints{PublicURL: c.PublicURL, IngestHost: c.IngestHost}
}

// apiURL is how this machine reaches the API.
func (c config) apiURL() string {
	if c.HTTP == off || c.RedirectHTTP {
		return "https://" + reachable(c.HTTPS)
	}
	return "http://" + reachable(c.HTTP)
}

// ingest is where encoders publish to, without the stream key, on a listener of
// that scheme; "" if it is off.
func (c config) ingest(scheme, address string) string {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return ""
	}
	return scheme + "://" + net.JoinHostPort(c.IngestHost, port) + "/" + rtmp.App
}

// fillHosts derives the public names from the addresses, which are bound by
// now.
func (c *config) fillHosts() {
	if c.PublicURL == "" {
		c.PublicURL = "http://" + reachable(c.HTTP)
		if c.HTTPS != off {
			c.PublicURL = "https://" + strings.TrimSuffix(c.secureHost(), ":443")
		}
	}
	if c.IngestHost == "" {
		c.IngestHost = "127.0.0.1"
		if u, err := url.Parse(c.PublicURL); err == nil && u.Hostname() != "" {
			c.IngestHost = u.Hostname()
		}
	}
}

// secureHost is the host and port of HTTPS, as clients know it.
func (c config) secureHost() string {
	address := reachable(c.HTTPS)
	if _, port, err := net.SplitHostPort(address); err == nil && len(c.ACME) > 0 {
		address = net.JoinHostPort(c.ACME[0], port)
	}
	return address
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
