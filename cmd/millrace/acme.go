package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/millrace/millrace/internal/store"
)

// acmeFlags configure certificates from an authority.
type acmeFlags struct {
	ACME          []string `name:"acme" sep:"," placeholder:"HOST" help:"Get certificates for these names by ACME, for HTTPS and RTMPS, and renew them. The authority must reach --https as port 443, or --http as port 80. By this you agree to its terms. May be repeated."`
	ACMEDirectory string   `name:"acme-directory" default:"https://acme-v02.api.letsencrypt.org/directory" placeholder:"URL" help:"The authority of --acme (${default})."`
	ACMEEmail     string   `name:"acme-email" placeholder:"ADDRESS" help:"Email address at which the authority of --acme reports problems."`
}

// check returns an error for settings that cannot work. tls is whether --tls-cert is set.
func (f acmeFlags) check(http, https string, tls bool) error {
	if len(f.ACME) == 0 {
		return nil
	}
	if tls {
		return errors.New("--acme and --tls-cert exclude each other: both say which certificate to present")
	}
	for _, host := range f.ACME {
		if net.ParseIP(host) != nil || !certmagic.SubjectQualifiesForCert(host) || strings.Contains(host, "*") {
			return fmt.Errorf("--acme %q: must be a host name, without scheme and port", host)
		}
	}
	if u, err := url.Parse(f.ACMEDirectory); err != nil || u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("--acme-directory %q: must be an https:// URL", f.ACMEDirectory)
	}
	if http == off && https == off {
		return errors.New("--acme: the authority must reach --http or --https")
	}
	return nil
}

// acmeCertificates obtain certificates from an authority, and renew them.
type acmeCertificates struct {
	hosts  []string
	cache  *certmagic.Cache
	config *certmagic.Config
	issuer *certmagic.ACMEIssuer
}

// startACME starts the loop of certmagic's cache, which run stops.
func startACME(cfg config, db *store.DB, owner string, log *slog.Logger) *acmeCertificates {
	a := &acmeCertificates{hosts: cfg.ACME}
	quiet := zap.NewNop() // acmeLog logs what matters
	a.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return a.config, nil },
		Logger:           quiet,
	})
	a.config = certmagic.New(a.cache, certmagic.Config{
		Storage: acmeStorage{db, owner, &acmeLocks{}}, Logger: quiet, OnEvent: acmeLog(log),
		DefaultServerName: a.hosts[0], FallbackServerName: a.hosts[0], // for clients that send no name
	})
	listener := cfg.HTTPS
	if listener == off {
		listener = cfg.HTTP
	}
	host, _, _ := net.SplitHostPort(listener) // it is bound, so it is valid
	a.issuer = certmagic.NewACMEIssuer(a.config, certmagic.ACMEIssuer{
		CA: cfg.ACMEDirectory, TestCA: cfg.ACMEDirectory, Email: cfg.ACMEEmail, Agreed: true, Logger: quiet,
		// These ports are bound already, and answer: certmagic detects that and starts no
		// listener of its own.
		ListenHost: host, AltHTTPPort: port(cfg.HTTP), AltTLSALPNPort: port(cfg.HTTPS),
		DisableHTTPChallenge: cfg.HTTP == off, DisableTLSALPNChallenge: cfg.HTTPS == off,
	})
	a.config.Issuers = []certmagic.Issuer{a.issuer}
	return a
}

// acmeLog logs the events of certificates.
func acmeLog(log *slog.Logger) func(context.Context, string, map[string]any) error {
	return func(_ context.Context, event string, data map[string]any) error {
		switch event {
		case "cert_obtained":
			log.Info("TLS certificate obtained", "host", data["identifier"], "renewal", data["renewal"])
		case "cert_failed":
			log.Warn("no TLS certificate was obtained; trying again", "host", data["identifier"], "renewal", data["renewal"], "error", data["error"])
		}
		return nil
	}
}

// run maintains the certificates until ctx is done.
func (a *acmeCertificates) run(ctx context.Context) error {
	defer a.cache.Stop()
	if err := a.config.ManageAsync(ctx, a.hosts); err != nil {
		return fmt.Errorf("--acme: %w", err)
	}
	<-ctx.Done()
	return nil
}

// certificate returns that of the authority, or own until there is one.
func (a *acmeCertificates) certificate(hello *tls.ClientHelloInfo, own *tls.Certificate) (*tls.Certificate, error) {
	cert, err := a.config.GetCertificateWithContext(hello.Context(), hello)
	if err != nil && !slices.Contains(hello.SupportedProtos, acmeALPN) {
		return own, nil
	}
	return cert, err
}

// acmeALPN is the protocol of a challenge over TLS (RFC 8737).
const acmeALPN = "acme-tls/1"

// challenges serves challenges over HTTP, and next everything else.
func (a *acmeCertificates) challenges(next http.Handler) http.Handler {
	return a.issuer.HTTPChallengeHandler(next)
}

// acmeStorage is the storage of certmagic: in the database, for all nodes.
type acmeStorage struct {
	db    *store.DB
	owner string // this node: it has the locks back that it held when it was killed
	locks *acmeLocks
}

// acmeLocks exclude the goroutines of this process. The zero value is ready.
type acmeLocks struct {
	mu sync.Mutex
	of map[string]chan struct{} // guarded by mu; by name; it holds one while the lock is held
}

func (l *acmeLocks) named(name string) chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of == nil {
		l.of = map[string]chan struct{}{}
	}
	if l.of[name] == nil {
		l.of[name] = make(chan struct{}, 1)
	}
	return l.of[name]
}

// acmeLease is how long a lock is held unless it is extended.
const acmeLease = 2 * time.Minute

// Lock waits until the caller holds the lock.
func (s acmeStorage) Lock(ctx context.Context, name string) error {
	local := s.locks.named(name)
	select {
	case local <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	err := s.lockAll(ctx, name)
	if err != nil {
		<-local
	}
	return err
}

// lockAll waits until this node holds the lock.
func (s acmeStorage) lockAll(ctx context.Context, name string) error {
	for {
		ok, err := s.db.LockACME(ctx, name, s.owner, acmeLease)
		if err != nil || ok {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// RenewLockLease extends a lock that this node holds.
func (s acmeStorage) RenewLockLease(ctx context.Context, name string, lease time.Duration) error {
	if len(s.locks.named(name)) == 0 {
		return fmt.Errorf("the lock %s is not held", name)
	}
	ok, err := s.db.LockACME(ctx, name, s.owner, lease)
	if err == nil && !ok {
		err = fmt.Errorf("the lock %s is another node's", name)
	}
	return err
}

// Unlock releases a lock that the caller holds.
func (s acmeStorage) Unlock(ctx context.Context, name string) error {
	err := s.db.UnlockACME(ctx, name, s.owner)
	select {
	case <-s.locks.named(name):
	default:
	}
	return err
}

// Store sets a value.
func (s acmeStorage) Store(ctx context.Context, key string, value []byte) error {
	return s.db.PutACME(ctx, key, value)
}

// Load returns a value, or fs.ErrNotExist.
func (s acmeStorage) Load(ctx context.Context, key string) ([]byte, error) {
	v, err := s.db.ACME(ctx, key)
	return v.Value, err
}

// Delete deletes a value, and all below it.
func (s acmeStorage) Delete(ctx context.Context, key string) error { return s.db.DeleteACME(ctx, key) }

// Exists reports whether there is a value, or one below it.
func (s acmeStorage) Exists(ctx context.Context, key string) bool {
	_, err := s.Stat(ctx, key)
	return err == nil
}

// List returns the keys below a folder: all, or those in it and the folders there.
func (s acmeStorage) List(ctx context.Context, folder string, recursive bool) ([]string, error) {
	folder = strings.Trim(folder, "/")
	keys, err := s.db.ListACME(ctx, folder)
	if err != nil || recursive {
		return keys, err
	}
	for i, key := range keys {
		name, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(key, folder), "/"), "/")
		keys[i] = path.Join(folder, name)
	}
	return slices.Compact(keys), nil
}

// Stat describes a value or a folder.
func (s acmeStorage) Stat(ctx context.Context, key string) (certmagic.KeyInfo, error) {
	v, err := s.db.ACME(ctx, key)
	if err == nil {
		return certmagic.KeyInfo{Key: key, Modified: v.Modified, Size: int64(len(v.Value)), IsTerminal: true}, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return certmagic.KeyInfo{}, err
	}
	below, err := s.db.ListACME(ctx, key)
	if err == nil && len(below) == 0 {
		err = fs.ErrNotExist
	}
	return certmagic.KeyInfo{Key: key}, err
}
