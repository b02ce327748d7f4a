package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
)

// config are the flags of serve and demo, in the order in which --help lists
// them.
type config struct {
	storage
	networkFlags
	Auth    string   `name:"auth" enum:"sigv4,off" default:"sigv4" help:"Who may call the API: sigv4 verifies signatures; off accepts any, and takes a 12-digit access key as the account (${default})."`
	Origins []string `name:"auth-off-origins" placeholder:"ORIGIN" help:"With --auth off: origins, such as http://localhost:3000, whose pages may call the API, and whose hosts are accepted in the Host header; * allows all. Default: none but the console."`
	recordingFlags
	Drain      time.Duration `name:"drain" default:"10s" help:"How long a shutdown waits for broadcasts and requests to end (${default})."`
	Faults     bool          `name:"faults" help:"Let POST /_millrace/faults inject starvation, limit breaches and cuts into live streams, to test event handlers."`
	LogLevel   slog.Level    `name:"log-level" default:"info" placeholder:"LEVEL" help:"What to log: debug, info, warn or error. Info has a line for each thing that happens to a stream, debug also one for each API call and each connection that fails (${default})."`
	PerChannel bool          `name:"metrics-per-channel" help:"Add metrics of each channel to /metrics. Each channel adds several time series."`

	clusterFlags
	acmeFlags
	accessFlags
	quotaFlags
	eventFlags
	limitFlags `group:"Limits (defaults as in Amazon IVS):"`
	transcodeFlags
}

// storage is where Millrace stores its data, and for which account.
type storage struct {
	Data            string `name:"data" default:"./millrace-data" type:"path" placeholder:"FOLDER" help:"Folder of the embedded database, the credentials and recordings (./millrace-data)."`
	Database        string `name:"database" placeholder:"URL" help:"postgres://… for PostgreSQL. Default: SQLite in the data folder."`
	Account         string `name:"account" default:"000000000000" placeholder:"ID" help:"Account of the root credentials (${default})."`
	Region          string `name:"region" default:"us-west-2" placeholder:"NAME" help:"Region of requests whose signature names none (${default})."`
	AccessKeyID     string `name:"access-key-id" placeholder:"ID" help:"Root credentials. Default: made at the first start and kept in the data folder."`
	SecretAccessKey string `name:"secret-access-key" secret:"" placeholder:"SECRET" help:"Secret of --access-key-id."`
}

// check returns an error for settings that cannot work, before anything is started.
func (c config) check() error {
	channel := ivs.ARN{Region: c.Region, Account: c.Account, Type: ivs.ChannelType, ID: "x"}
	if _, ok := ivs.ParseARN(channel.String()); !ok || len(c.Account) != 12 {
		return fmt.Errorf("--account %q, --region %q: an account must have 12 digits, a region only lower-case letters, digits and hyphens", c.Account, c.Region)
	}
	if u, err := url.Parse(c.PublicURL); c.PublicURL != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "") {
		return fmt.Errorf("--public-url %q: must be http:// or https:// with a host and optionally a port. A path is not allowed: the console, the watch page and the API are at the root of the host", c.PublicURL)
	}
	if c.HTTP == off && c.HTTPS == off {
		return errors.New("--http off, --https off: one of them must be on, for the API and playback")
	}
	if c.RedirectHTTP && (c.HTTPS == off || c.HTTP == off || strings.HasPrefix(c.PublicURL, "http:")) {
		return errors.New("--redirect-http needs --http, --https, and a --public-url that is https:// or not given")
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return errors.New("--tls-cert and --tls-key go together: one of them is missing")
	}
	return cmp.Or(c.checkIngest(), c.clusterFlags.check(c.Database, c.AccessKeyID), c.acmeFlags.check(c.HTTP, c.HTTPS, c.TLSCert != ""), c.limitFlags.check(), c.quotaFlags.check())
}

// dsn names the database for store.Open.
func (s storage) dsn() string {
	if s.Database != "" {
		return s.Database
	}
	return filepath.Join(s.Data, "millrace.db")
}

// scope is the account and region of the commands.
func (s storage) scope() store.Scope { return store.Scope{Account: s.Account, Region: s.Region} }

// fillPublic derives the public names and ports from the bound addresses.
func (c *config) fillPublic() {
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
	c.IngestRTMPPort = cmp.Or(c.IngestRTMPPort, port(c.RTMP))
	c.IngestRTMPSPort = cmp.Or(c.IngestRTMPSPort, port(c.RTMPS))
}

// port returns the port of a listening address; 0 if it is off.
func port(address string) int {
	_, p, _ := net.SplitHostPort(address)
	n, _ := strconv.Atoi(p) // 0 if it is none
	return n
}

// secureHost is the host and port of HTTPS, as clients know it.
func (c config) secureHost() string {
	address := reachable(c.HTTPS)
	if _, port, err := net.SplitHostPort(address); err == nil && len(c.ACME) > 0 {
		address = net.JoinHostPort(c.ACME[0], port)
	}
	return address
}
