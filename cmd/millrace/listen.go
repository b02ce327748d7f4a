package main

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/millrace/millrace/internal/playback"
	"github.com/millrace/millrace/internal/proxies"
)

// off is the address of a disabled listener.
const off = "off"

// listeners are the bound ports. One that is off is nil.
type listeners struct{ http, https, rtmp, rtmps net.Listener }

// listen binds the ports and writes the bound addresses back into cfg, so that port 0 can
// be used.
func listen(cfg *config, trusted proxies.Trusted) (l listeners, err error) {
	for _, p := range []struct {
		flag    string
		address *string
		to      *net.Listener
	}{
		{"--http", &cfg.HTTP, &l.http}, {"--https", &cfg.HTTPS, &l.https},
		{"--rtmp", &cfg.RTMP, &l.rtmp}, {"--rtmps", &cfg.RTMPS, &l.rtmps},
	} {
		if *p.address == off {
			continue
		}
		bound, err := net.Listen("tcp", *p.address)
		if err != nil {
			l.close()
			return listeners{}, fmt.Errorf("%s %s: %w (is another millrace running? choose another address with %s)", p.flag, *p.address, err, p.flag)
		}
		*p.address = bound.Addr().String()
		switch p.to {
		case &l.http:
			bound = playback.FastListener(bound)
		case &l.https:
			bound = playback.RecordListener(bound)
		}
		*p.to = trusted.Listener(bound)
	}
	cfg.fillPublic()
	return l, nil
}

// addTLS adds TLS to the RTMPS listener. (For HTTPS net/http does, with HTTP/2.)
func (l *listeners) addTLS(c *tls.Config) {
	if l.rtmps != nil {
		l.rtmps = tls.NewListener(l.rtmps, c)
	}
}

func (l listeners) close() {
	for _, bound := range []net.Listener{l.http, l.https, l.rtmp, l.rtmps} {
		if bound != nil {
			bound.Close()
		}
	}
}

// warn logs settings that are a risk.
func warn(log *slog.Logger, cfg config) {
	outside := ""
	for _, address := range []string{cfg.HTTP, cfg.HTTPS} {
		if fromOutside(address) {
			outside = address
		}
	}
	published := outsideURL(cfg.PublicURL) // by a proxy or a tunnel, wherever the server listens
	if published {
		outside = cfg.PublicURL
	}
	switch {
	case cfg.Auth == off && outside != "":
		log.Warn("ANY SIGNATURE IS ACCEPTED (--auth off) ON AN ADDRESS THAT OTHER MACHINES REACH: everyone there controls every channel", "address", outside)
	case cfg.Auth == off:
		log.Warn("ANY SIGNATURE IS ACCEPTED (--auth off): everyone who reaches the HTTP port controls every channel", "http", cfg.HTTP)
	case outside != "" && guessable(cfg.SecretAccessKey):
		log.Warn("--secret-access-key can be guessed, and other machines reach the API: leave it out to have a key made, or choose 20 characters or more", "address", outside)
	}
	if (published || fromOutside(cfg.HTTP)) && !strings.HasPrefix(cfg.PublicURL, "https:") {
		log.Warn("other machines reach the API without encryption: stream keys and playback tokens can be read on the way. Use --https, or a proxy with TLS and --public-url https://…", "http", cfg.HTTP, "public_url", cfg.PublicURL)
	}
	ingestOutside := fromOutside(cfg.RTMP) || fromOutside(cfg.RTMPS)
	if outside != "" && !published || ingestOutside && !fromOutside(net.JoinHostPort(cfg.IngestHost, "0")) {
		log.Warn("the addresses shown to other machines are loopback addresses: set --public-url and --ingest-host", "public_url", cfg.PublicURL, "ingest_host", cfg.IngestHost)
	}
}

// outsideURL reports whether a URL names another machine than the one that opens it.
func outsideURL(address string) bool {
	u, err := url.Parse(address)
	return err == nil && u.Host != "" && fromOutside(net.JoinHostPort(u.Hostname(), "0"))
}

// fromOutside reports whether other machines reach a listening address.
func fromOutside(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && host != "localhost" && !strings.HasSuffix(host, ".localhost") && (ip == nil || !ip.IsLoopback())
}

// guessable reports whether a secret that was given is a word, not a key.
func guessable(secret string) bool { return secret != "" && len(secret) < 20 }

// ingest are the listeners for encoders that are not off.
func (l listeners) ingest() []net.Listener {
	return slices.DeleteFunc([]net.Listener{l.rtmp, l.rtmps}, func(l net.Listener) bool { return l == nil })
}
