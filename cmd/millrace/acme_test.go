package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"github.com/miekg/dns"
	"go.uber.org/zap"

	"github.com/millrace/millrace/internal/rtmp"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/store/storetest"
)

// A pebble is Let's Encrypt's ACME server for tests. It does not answer until it
// knows which ports its challenges go to.
type pebble struct {
	*httptest.Server
	trust    string        // file with the certificate of its directory
	lifetime time.Duration // of the certificates; 0 is its default of 90 days
	asked    atomic.Int64  // requests, also those that are not answered yet
	orders   atomic.Int64
	roots    *x509.CertPool
	knows    chan struct{}
	answer   http.Handler
}

func startPebble(t *testing.T) *pebble {
	t.Helper()
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	p := &pebble{knows: make(chan struct{}), roots: x509.NewCertPool()}
	p.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.asked.Add(1)
		select {
		case <-p.knows:
		case <-r.Context().Done():
			return
		}
		if strings.Contains(r.URL.Path, "order") && r.Method == http.MethodPost {
			p.orders.Add(1)
		}
		p.answer.ServeHTTP(w, r)
	}))
	t.Cleanup(p.Close)
	p.trust = filepath.Join(t.TempDir(), "pebble.pem")
	if err := os.WriteFile(p.trust, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// challenge has it look for challenges on those ports of this machine, whatever
// the host.
func (p *pebble) challenge(t *testing.T, httpPort, tlsPort int) {
	t.Helper()
	quiet := log.New(io.Discard, "", 0)
	store := db.NewMemoryStore()
	authority := ca.New(quiet, store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {ValidityPeriod: uint64(p.lifetime / time.Second)}})
	validator := va.New(quiet, httpPort, tlsPort, false, localDNS(t), store)
	front := wfe.New(quiet, store, validator, authority, []string{"pebble.example"}, false, false, 1, 1)
	p.answer = front.Handler()
	p.roots.AddCert(authority.GetRootCert(0).Cert)
	close(p.knows)
}

// localDNS is the address of a name server for which every host is this one.
func localDNS(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	packets, err := net.ListenPacket("udp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	answer := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		if q.Question[0].Qtype == dns.TypeA {
			m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1}, A: net.IPv4(127, 0, 0, 1)})
		}
		w.WriteMsg(m)
	})
	var serving sync.WaitGroup
	t.Cleanup(serving.Wait)
	for _, server := range []*dns.Server{{Listener: listener, Handler: answer}, {PacketConn: packets, Handler: answer}} {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		serving.Go(func() { server.ActivateAndServe() })
		<-started
		t.Cleanup(func() { server.Shutdown() })
	}
	return listener.Addr().String()
}

// acmeServer starts a server that trusts p.
func acmeServer(t *testing.T, p *pebble, data string, flags ...string) *server {
	t.Helper()
	args := append([]string{"serve", "--acme", "live.example.com", "--acme-directory", p.URL + "/dir"}, flags...)
	return startProcess(t, data, func(c *exec.Cmd) { c.Env = append(c.Env, "SSL_CERT_FILE="+p.trust) }, args...)
}

// presented is the certificate that an address presents to who trusts roots, nil
// if there is none yet.
func presented(t *testing.T, address string, roots *x509.CertPool) *x509.Certificate {
	t.Helper()
	conn, err := tls.Dial("tcp", address, &tls.Config{ServerName: "live.example.com", RootCAs: roots})
	if err != nil {
		return nil
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0]
}

// A certificate is had from an authority by a challenge over TLS, presented on
// HTTPS and RTMPS, and still there after a restart.
func TestACME(t *testing.T) {
	p := startPebble(t)
	s := acmeServer(t, p, "", "--https", "127.0.0.1:0", "--http", "off")
	at, err := url.Parse(s.api)
	if err != nil {
		t.Fatal(err)
	}
	own := x509.NewCertPool()
	pair, err := os.ReadFile(filepath.Join(s.data, certificateFile))
	if err != nil {
		t.Fatal(err)
	}
	own.AppendCertsFromPEM(pair)
	if presented(t, at.Host, own) == nil {
		t.Error("until there is a certificate, HTTPS does not present the data folder's")
	}
	tlsPort, _ := strconv.Atoi(at.Port())
	p.challenge(t, 1, tlsPort)
	s.waitLog("TLS certificate obtained")
	var cert *x509.Certificate
	wait(t, "the certificate on HTTPS", func() bool { cert = presented(t, at.Host, p.roots); return cert != nil })
	if rtmps := presented(t, s.rtmps, p.roots); rtmps == nil || !rtmps.Equal(cert) {
		t.Error("RTMPS presents another certificate than HTTPS")
	}

	s.stop()
	orders := p.orders.Load()
	again := acmeServer(t, p, s.data, "--https", "127.0.0.1:0", "--http", "off")
	wait(t, "the certificate after a restart", func() bool {
		kept := presented(t, strings.TrimPrefix(again.api, "https://"), p.roots)
		return kept != nil && kept.Equal(cert)
	})
	if now := p.orders.Load(); now != orders {
		t.Errorf("the restart asked the authority %d times for an order", now-orders)
	}
}

// Of the nodes of a database one gets the certificate, any answers the challenge, over TLS
// or over HTTP, and all present it.
func TestACMEOnTwoNodes(t *testing.T) {
	for name, flags := range map[string][]string{
		"TLS":  {"--https", "127.0.0.1:0", "--http", "off"},
		"HTTP": nil, // without HTTPS
	} {
		t.Run(name, func(t *testing.T) {
			p := startPebble(t)
			flags := append([]string{"--database", storetest.Postgres(t)}, flags...)
			first := acmeServer(t, p, "", flags...)
			wait(t, "the first node to hold the lock of the certificate", func() bool { return p.asked.Load() > 0 })
			second := acmeServer(t, p, "", flags...)
			at, err := url.Parse(second.api)
			if err != nil {
				t.Fatal(err)
			}
			port, _ := strconv.Atoi(at.Port())
			p.challenge(t, port, port)
			first.waitLog("TLS certificate obtained")
			var certs [2]*x509.Certificate
			for i, node := range []*server{first, second} {
				wait(t, "the certificate on RTMPS", func() bool { certs[i] = presented(t, node.rtmps, p.roots); return certs[i] != nil })
			}
			if !certs[0].Equal(certs[1]) {
				t.Error("the nodes present different certificates")
			}
			if line := second.log.Line("TLS certificate obtained"); line != "" {
				t.Errorf("the second node has got one itself: %s", line)
			}
		})
	}
}

// Goroutines of one node exclude each other as nodes do.
func TestACMELocks(t *testing.T) {
	t.Parallel()
	db, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "millrace.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s := acmeStorage{db, "node", &acmeLocks{}}
	if err := errors.Join(s.Lock(t.Context(), "account"), s.RenewLockLease(t.Context(), "account", acmeLease)); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := s.Lock(short, "account"); err == nil {
		t.Error("a second goroutine has the lock")
	}
	again := acmeStorage{db, "node", &acmeLocks{}} // it was killed and has started again
	if err := errors.Join(again.Lock(t.Context(), "account"), again.Unlock(t.Context(), "account")); err != nil {
		t.Errorf("the lock of a process that was killed: %v", err)
	}
	if err := errors.Join(s.Unlock(t.Context(), "account"), s.Lock(t.Context(), "account"), s.Unlock(t.Context(), "account")); err != nil {
		t.Error(err)
	}
	if err := s.RenewLockLease(t.Context(), "account", acmeLease); err == nil {
		t.Error("a lock is extended that nobody holds")
	}
}

// A certificate that is about to expire is renewed, for new connections on HTTPS and RTMPS;
// those that there are continue.
func TestACMERenewal(t *testing.T) {
	p := startPebble(t)
	p.lifetime = 10 * time.Minute // less than a few of the intervals at which certificates are looked at
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "millrace.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var cfg config
	cfg.HTTP, cfg.HTTPS, cfg.ACME, cfg.ACMEDirectory = off, listener.Addr().String(), []string{"live.example.com"}, p.URL+"/dir"
	c := &certificates{acme: startACME(cfg, db, "node", slog.New(slog.DiscardHandler)), log: slog.New(slog.DiscardHandler)}
	port := listener.Addr().(*net.TCPAddr).Port
	roots := x509.NewCertPool()
	roots.AddCert(p.Certificate())
	c.acme.issuer = certmagic.NewACMEIssuer(c.acme.config, certmagic.ACMEIssuer{ // which trusts p: other tests make it do so by an environment variable
		CA: cfg.ACMEDirectory, TestCA: cfg.ACMEDirectory, TrustedRoots: roots, Agreed: true, Logger: zap.NewNop(),
		ListenHost: "127.0.0.1", AltTLSALPNPort: port, DisableHTTPChallenge: true,
	})
	c.acme.config.Issuers = []certmagic.Issuer{c.acme.issuer}
	p.challenge(t, 1, port)

	var running sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	server := &http.Server{TLSConfig: c.httpsConfig(), ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
	running.Go(func() { c.acme.run(ctx) })
	running.Go(func() { server.ServeTLS(listener, "", "") })
	t.Cleanup(func() { stop(); server.Close(); running.Wait() })
	encoder := &rtmpsEncoder{trust: &tls.Config{ServerName: "live.example.com", RootCAs: p.roots}}
	encoder.serve(t, c)

	var first, second *x509.Certificate
	wait(t, "the certificate", func() bool { first = presented(t, cfg.HTTPS, p.roots); return first != nil })
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{ServerName: "live.example.com", RootCAs: p.roots}}}
	defer client.CloseIdleConnections()
	reused := func() (reused bool) {
		trace := &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }}
		r, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), http.MethodGet, "https://"+cfg.HTTPS, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		return reused
	}
	reused()
	encoder.publish(t)
	wait(t, "another certificate", func() bool {
		if err := c.acme.cache.RenewManagedCertificates(ctx); err != nil {
			t.Fatal(err)
		}
		second = presented(t, cfg.HTTPS, p.roots)
		return second != nil && second.SerialNumber.Cmp(first.SerialNumber) != 0
	})
	if !reused() {
		t.Error("the connection from before the renewal did not continue")
	}
	if rtmps := presented(t, encoder.address, p.roots); rtmps == nil || !rtmps.Equal(second) {
		t.Error("RTMPS presents another certificate than HTTPS")
	}
	encoder.continues(t)
}

// An rtmpsEncoder publishes to a server of its own, over TLS.
type rtmpsEncoder struct {
	trust               *tls.Config
	address             string
	connections, frames atomic.Int64
	ended               chan error // of publish
}

// serve receives encoders with the certificates of c until the end of the test.
func (e *rtmpsEncoder) serve(t *testing.T, c *certificates) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e.address = listener.Addr().String()
	bound := listeners{rtmps: listener}
	bound.addTLS(c.config())
	receiver := &rtmp.Server{Log: slog.New(slog.DiscardHandler), Handle: func(_ context.Context, p *rtmp.Publisher) error {
		e.connections.Add(1)
		err := p.Accept()
		for err == nil {
			if _, err = p.ReadFrame(); err == nil {
				e.frames.Add(1)
			}
		}
		return err
	}}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan struct{})
	go func() { defer close(served); receiver.Serve(ctx, bound.rtmps) }()
	t.Cleanup(func() { stop(); <-served })
}

// publish returns once frames arrive.
func (e *rtmpsEncoder) publish(t *testing.T) {
	t.Helper()
	clip, err := recordTestPattern(t.Context(), testPattern{Size: "160x90", FPS: 30, Bitrate: 100})
	if err != nil {
		t.Fatal(err)
	}
	e.ended = make(chan error, 1)
	go func() {
		e.ended <- publishTo(t.Context(), rtmpsURL(e.address, "key"), &paced{source: clip.loop()}, e.trust)
	}()
	e.continues(t)
}

// continues waits for more frames over the encoder's only connection.
func (e *rtmpsEncoder) continues(t *testing.T) {
	t.Helper()
	before := e.frames.Load()
	wait(t, "frames of the encoder", func() bool {
		select {
		case err := <-e.ended:
			t.Fatalf("the encoder was cut off: %v", err)
		default:
		}
		return e.frames.Load() > before+10
	})
	if n := e.connections.Load(); n != 1 {
		t.Errorf("the encoder has connected %d times", n)
	}
}
