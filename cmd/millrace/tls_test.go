package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
	"github.com/aws/aws-sdk-go-v2/service/ivs/types"
)

// newCertificate writes a new certificate with its key to file, and has pool
// trust it.
func newCertificate(t *testing.T, file string, pool *x509.CertPool) {
	t.Helper()
	content, err := selfSigned("live.example.com")
	if err != nil {
		t.Fatal(err)
	}
	if err := writeFile(file, content); err != nil {
		t.Fatal(err)
	}
	pool.AppendCertsFromPEM(content)
}

// A secureClient speaks HTTP/2 over TLS, on one connection while that is open.
type secureClient struct {
	t *testing.T
	http.Client
}

func newSecureClient(t *testing.T, pool *x509.CertPool) secureClient {
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ClientSessionCache: tls.NewLRUClientSessionCache(0)}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return secureClient{t, http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// again is the client on another connection, with its TLS session.
func (c secureClient) again() secureClient {
	transport := c.Transport.(*http.Transport).Clone()
	c.t.Cleanup(transport.CloseIdleConnections)
	c.Transport = transport
	return c
}

// get returns the answer, its body read, and whether it came on a connection
// that was open before.
func (c secureClient) get(address string) (r *http.Response, reused bool) {
	c.t.Helper()
	ctx := httptrace.WithClientTrace(c.t.Context(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }})
	request, err := http.NewRequestWithContext(ctx, "GET", address, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	if r, err = c.Do(request); err != nil {
		c.t.Fatal(err)
	}
	defer r.Body.Close()
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		c.t.Fatal(err)
	}
	return r, reused
}

// HTTPS has HTTP/2 by ALPN, its address is the public one, and a certificate
// that is renewed is presented to those who come, on HTTPS and RTMPS, while
// those who are connected stay.
func TestHTTPS(t *testing.T) {
	t.Parallel()
	pool := x509.NewCertPool()
	file := filepath.Join(t.TempDir(), "server.pem")
	newCertificate(t, file, pool)
	s := startServer(t, "", "--https", "127.0.0.1:0", "--redirect-http", "--tls-cert", file, "--tls-key", file)
	if !strings.HasPrefix(s.api, "https://127.0.0.1:") {
		t.Fatalf("the API is at %s", s.api)
	}
	viewer := newSecureClient(t, pool)
	first, _ := viewer.get(s.api + "/console/")
	if first.StatusCode != 200 || first.ProtoMajor != 2 || first.TLS.NegotiatedProtocol != "h2" || first.TLS.Version != tls.VersionTLS13 {
		t.Errorf("the console over HTTPS: %s %s, protocol %q, TLS %x", first.Proto, first.Status, first.TLS.NegotiatedProtocol, first.TLS.Version)
	}
	created, err := s.ivs().CreateChannel(t.Context(), &awsivs.CreateChannelInput{}, func(o *awsivs.Options) { o.HTTPClient = &viewer.Client })
	if err != nil {
		t.Fatal(err)
	}
	if got := *created.Channel.PlaybackUrl; !strings.HasPrefix(got, s.api+"/") {
		t.Errorf("the playback URL is %s, the server is at %s", got, s.api)
	}
	if back, reused := viewer.again().get(s.api + "/console/"); reused || !back.TLS.DidResume {
		t.Errorf("a viewer who comes back: on the old connection %v, TLS session resumed %v", reused, back.TLS.DidResume)
	}

	newCertificate(t, file, pool)
	s.waitLog("TLS certificate reloaded")
	if again, reused := viewer.get(s.api + "/console/"); !reused || again.StatusCode != 200 {
		t.Errorf("after the renewal the viewer's connection is a new one: %v, %s", !reused, again.Status)
	}
	newcomer, _ := newSecureClient(t, pool).get(s.api + "/console/")
	if renewed := newcomer.TLS.PeerCertificates[0]; renewed.Equal(first.TLS.PeerCertificates[0]) {
		t.Error("who comes after the renewal gets the old certificate")
	}
	encoder, err := tls.Dial("tcp", s.rtmps, &tls.Config{RootCAs: pool})
	if err != nil {
		t.Fatal(err)
	}
	defer encoder.Close()
	if !encoder.ConnectionState().PeerCertificates[0].Equal(newcomer.TLS.PeerCertificates[0]) {
		t.Error("RTMPS presents another certificate than HTTPS")
	}

	// One file of a renewal that was cut short changes nothing.
	if err := os.WriteFile(file, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.waitLog("reloading the TLS certificate failed")
	if after, _ := newSecureClient(t, pool).get(s.api + "/healthz"); after.StatusCode != 200 {
		t.Errorf("with a broken certificate file: %s", after.Status)
	}
}

// The viewers' page plays over HTTP/2 and TLS, and a certificate that is renewed
// meanwhile interrupts nothing.
func TestWatchPageOverHTTPS(t *testing.T) {
	pool := x509.NewCertPool()
	file := filepath.Join(t.TempDir(), "server.pem")
	newCertificate(t, file, pool)
	s := startServer(t, "", "--https", "127.0.0.1:0", "--redirect-http", "--tls-cert", file, "--tls-key", file)
	client := newSecureClient(t, pool)
	created, err := s.ivs().CreateChannel(t.Context(), &awsivs.CreateChannelInput{InsecureIngest: true, Type: types.ChannelTypeBasicChannelType},
		func(o *awsivs.Options) { o.HTTPClient = &client.Client })
	if err != nil {
		t.Fatal(err)
	}
	publish(t, rtmpURL(s.rtmp, *created.StreamKey.Value), slices.Concat(testInputs, testCodecs)...)
	s.waitLog("stream started")
	b := openBrowser(t, s.watchLink(*created.Channel.PlaybackUrl))
	b.until(`document.querySelector('#video')?.currentTime > 1`)
	newCertificate(t, file, pool)
	s.waitLog("TLS certificate reloaded")
	before := b.number(`document.querySelector('#video').currentTime`)
	b.until(fmt.Sprintf(`document.querySelector('#video').currentTime > %f`, before+2))
	const protocols = `performance.getEntriesByType('resource').filter(r => /playlist\.m3u8|\/p\d+\.ts/.test(r.name)).map(r => r.nextHopProtocol)`
	if n := b.number(protocols + `.length`); n < 4 {
		t.Errorf("%v requests of the player are known, want parts and playlists", n)
	}
	if n := b.number(protocols + `.filter(p => p != 'h2').length`); n != 0 {
		t.Errorf("%v requests of the player were not by HTTP/2", n)
	}
}

// Plain HTTP redirects to the public address, but for probes.
func TestRedirectHTTP(t *testing.T) {
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "here") })
	h := networkFlags{RedirectHTTP: true, PublicURL: "https://live.example.com/"}.redirecting(next)
	for path, want := range map[string]string{
		"/console/":                          "https://live.example.com/console/",
		"/api/video/v1/x.m3u8?token=a%2Fb&c": "https://live.example.com/api/video/v1/x.m3u8?token=a%2Fb&c",
		"/tags/arn%3Aaws%3Aivs":              "https://live.example.com/tags/arn%3Aaws%3Aivs",
		"/healthz":                           "", "/readyz": "", "/readyz/playback": "", "/metrics": "",
	} {
		r, w := httptest.NewRequest("GET", path, nil), httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if got := w.Result(); got.Header.Get("Location") != want || (got.StatusCode == http.StatusPermanentRedirect) != (want != "") {
			t.Errorf("%s: %s to %q, want %q", path, got.Status, got.Header.Get("Location"), want)
		}
		r, w = httptest.NewRequest("GET", path, nil), httptest.NewRecorder()
		r.TLS = &tls.ConnectionState{}
		h.ServeHTTP(w, r)
		if w.Code != 200 || w.Header().Get("Strict-Transport-Security") != "max-age=31536000" {
			t.Errorf("%s over TLS: %d %v", path, w.Code, w.Header())
		}
	}
}

// Browsers are told to use HTTPS alone where the operator has decided that, over TLS, and not
// for a machine's own name, which other programs serve too.
func TestStrictTransport(t *testing.T) {
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "here") })
	for _, tt := range []struct {
		redirect bool
		public   string
		tls      bool
		host     string
		want     string
	}{
		{true, "https://live.example.com", true, "live.example.com", "max-age=31536000"},
		{true, "https://live.example.com", true, "localhost:8443", ""},
		{true, "https://live.example.com", true, "127.0.0.1:8443", ""},
		{true, "https://live.example.com", false, "live.example.com", ""},
		{false, "https://live.example.com", true, "live.example.com", ""},
		{true, "https://localhost:8443", true, "localhost:8443", ""},
		{true, "https://127.0.0.1:8443", true, "127.0.0.1:8443", ""},
	} {
		r, w := httptest.NewRequest("GET", "/console/", nil), httptest.NewRecorder()
		r.Host = tt.host
		if tt.tls {
			r.TLS = &tls.ConnectionState{}
		}
		networkFlags{RedirectHTTP: tt.redirect, PublicURL: tt.public}.redirecting(next).ServeHTTP(w, r)
		if got := w.Header().Get("Strict-Transport-Security"); got != tt.want {
			t.Errorf("%+v: %q", tt, got)
		}
	}
}

// Listeners can be off; what is off is offered nowhere, and missing nowhere.
func TestListenersOff(t *testing.T) {
	s := startServer(t, "", "--http", "off", "--https", "127.0.0.1:0", "--rtmp", "off")
	pool := x509.NewCertPool()
	own, err := os.ReadFile(filepath.Join(s.data, certificateFile))
	if err != nil {
		t.Fatal(err)
	}
	pool.AppendCertsFromPEM(own)
	client := newSecureClient(t, pool)
	wait(t, "the server to be ready", func() bool { r, _ := client.get(s.api + "/readyz"); return r.StatusCode == 200 })
	r, err := client.Get(s.api + "/api/v2/FindIngest")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, _ := io.ReadAll(r.Body)
	if !strings.Contains(string(body), `"url_template":""`) || !strings.Contains(string(body), `"url_template_secure":"rtmps://127.0.0.1:`) {
		t.Errorf("FindIngest: %s", body)
	}
	if s.rtmp != off {
		t.Errorf("RTMP is at %s", s.rtmp)
	}
}

// A certificate is kept while its files are gone, and the loop ends with its
// context.
func TestCertificateFilesGone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "server.pem")
	newCertificate(t, file, x509.NewCertPool())
	c, err := openCertificates(config{networkFlags: networkFlags{TLSCert: file, TLSKey: file}}, nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if changed, err := c.read(); changed || err != nil {
		t.Errorf("the same files: %v, %v", changed, err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := c.read(); err == nil || !strings.Contains(err.Error(), "--tls-cert") {
		t.Errorf("files that are gone: %v", err)
	}
	if got, err := c.config().GetCertificate(nil); got == nil || err != nil {
		t.Errorf("the certificate is %v, %v", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.run(ctx); err != nil {
		t.Error(err)
	}
}

func TestFromOutside(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1:8080": false, "[::1]:8080": false, "localhost:8080": false, off: false,
		":8080": true, "0.0.0.0:8080": true, "[::]:8080": true, "192.0.2.1:8080": true, "live.example.com:443": true,
	} {
		if got := fromOutside(address); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
}

// What is dangerous where other machines reach the server is said in its log.
func TestWarnings(t *testing.T) {
	const key = "a key of twenty characters or more"
	const toldLoopback = "the addresses shown to other machines are loopback addresses"
	for _, tt := range []struct {
		http, https, auth, secret, public string
		want                              []string // each line has one of these
	}{
		{"127.0.0.1:8080", off, "", "", "", nil},
		{"127.0.0.1:8080", off, "", "secret", "", nil}, // a test's own
		{"127.0.0.1:8080", off, off, "", "", []string{"(--auth off): everyone who reaches the HTTP port"}},
		{"0.0.0.0:8080", off, off, "", "", []string{"(--auth off) ON AN ADDRESS THAT OTHER MACHINES REACH", "without encryption", toldLoopback}},
		{"0.0.0.0:8080", off, "", "secret", "", []string{"--secret-access-key can be guessed", "without encryption", toldLoopback}},
		{"0.0.0.0:8080", off, "", "secret", "https://live.example.com", []string{"--secret-access-key can be guessed"}},
		{"0.0.0.0:8080", off, "", key, "", []string{"without encryption", toldLoopback}},
		{"192.0.2.7:8080", off, "", "", "", []string{"without encryption"}},
		{"0.0.0.0:8080", off, "", "", "https://live.example.com", nil}, // behind a proxy, with the key that was made
		{"127.0.0.1:8080", ":443", "", "secret", "", []string{"--secret-access-key can be guessed", toldLoopback}},
		{off, ":443", "", key, "", []string{toldLoopback}},
		{off, ":443", "", key, "https://live.example.com", nil},
		// Behind a proxy or a tunnel on the same machine.
		{"127.0.0.1:8080", off, off, "", "https://live.example.com", []string{"(--auth off) ON AN ADDRESS THAT OTHER MACHINES REACH"}},
		{"127.0.0.1:8080", off, "", "secret", "https://live.example.com", []string{"--secret-access-key can be guessed"}},
		{"127.0.0.1:8080", off, "", "", "https://live.example.com", nil},
		{"127.0.0.1:8080", off, "", key, "http://192.0.2.7:8080", []string{"without encryption"}},
		{"127.0.0.1:8080", off, off, "", "http://localhost:8080", []string{"(--auth off): everyone who reaches the HTTP port"}},
		{"127.0.0.1:8080", off, "", "secret", "http://[::1]:8080/", nil},
	} {
		var cfg config
		cfg.HTTP, cfg.HTTPS, cfg.Auth, cfg.SecretAccessKey, cfg.PublicURL = tt.http, tt.https, tt.auth, tt.secret, tt.public
		cfg.fillPublic()
		var out strings.Builder
		warn(slog.New(slog.NewTextHandler(&out, nil)), cfg)
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		if out.Len() == 0 {
			lines = nil
		}
		if len(lines) != len(tt.want) {
			t.Errorf("%+v: it says\n%s", tt, &out)
			continue
		}
		for i, want := range tt.want {
			if !strings.Contains(lines[i], "level=WARN") || !strings.Contains(lines[i], want) {
				t.Errorf("%+v: it says %s, and not %q", tt, lines[i], want)
			}
			if tt.secret != "" && strings.Contains(lines[i], "="+tt.secret) {
				t.Errorf("%+v: the line has the secret: %s", tt, lines[i])
			}
		}
	}
}

// Encoders are told a host of their own, too.
func TestIngestHostWarning(t *testing.T) {
	for host, warned := range map[string]bool{"": true, "localhost": true, "live.example.com": false} {
		var cfg config
		cfg.HTTP, cfg.HTTPS, cfg.RTMP, cfg.RTMPS, cfg.IngestHost = "127.0.0.1:8080", off, ":1935", off, host
		cfg.fillPublic()
		var out strings.Builder
		warn(slog.New(slog.NewTextHandler(&out, nil)), cfg)
		if strings.Contains(out.String(), "--ingest-host") != warned {
			t.Errorf("--ingest-host %q: it says %q", host, &out)
		}
	}
}

// What a session ticket saves of the handshake of a viewer who comes back, at both ends.
func BenchmarkHandshake(b *testing.B) {
	content, err := selfSigned("live.example.com")
	if err != nil {
		b.Fatal(err)
	}
	pair, err := tls.X509KeyPair(content, content)
	if err != nil {
		b.Fatal(err)
	}
	var c certificates
	c.current.Store(&pair)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(content)
	for _, tickets := range []bool{false, true} {
		b.Run(fmt.Sprintf("tickets=%v", tickets), func(b *testing.B) {
			client, server := &tls.Config{RootCAs: pool, ServerName: "live.example.com"}, c.config()
			if tickets {
				client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			}
			resumed := false
			for b.Loop() {
				here, there := net.Pipe()
				served := make(chan error, 1)
				go func() {
					_, err := tls.Server(there, server).Write([]byte("x"))
					served <- err
				}()
				conn := tls.Client(here, client)
				if _, err := conn.Read(make([]byte, 1)); err != nil { // the ticket comes before it
					b.Fatal(err)
				}
				resumed = conn.ConnectionState().DidResume
				if err := <-served; err != nil {
					b.Fatal(err)
				}
				here.Close()
			}
			if resumed != tickets {
				b.Errorf("resumed: %v", resumed)
			}
		})
	}
}
