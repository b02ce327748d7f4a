package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/store"
)

// certificates have the certificate of all TLS listeners.
type certificates struct {
	certFile, keyFile string            // "" for the data folder's own certificate
	acme              *acmeCertificates // nil for none
	log               *slog.Logger

	current  atomic.Pointer[tls.Certificate]
	cert, pk []byte // the content of the files; used by read alone
}

// openCertificates reads the certificate of --tls-cert and --tls-key, or that of the data
// folder, which with --acme is used until there is one from the authority.
func openCertificates(cfg config, folder *dataFolder, db *store.DB, log *slog.Logger) (*certificates, error) {
	c := &certificates{certFile: cfg.TLSCert, keyFile: cfg.TLSKey, log: log}
	if c.certFile == "" {
		own, err := folder.selfSigned(cfg.IngestHost)
		if err != nil {
			return nil, err
		}
		c.current.Store(&own)
		if len(cfg.ACME) > 0 {
			c.acme = startACME(cfg, db, folder.node, log)
		}
		return c, nil
	}
	_, err := c.read()
	return c, err
}

// read reads the files. If they have not changed, it keeps the certificate and reports
// false.
func (c *certificates) read() (changed bool, err error) {
	cert, err := os.ReadFile(c.certFile)
	if err != nil {
		return false, fmt.Errorf("--tls-cert: %w", err)
	}
	key, err := os.ReadFile(c.keyFile)
	if err != nil {
		return false, fmt.Errorf("--tls-key: %w", err)
	}
	if bytes.Equal(cert, c.cert) && bytes.Equal(key, c.pk) {
		return false, nil
	}
	c.cert, c.pk = cert, key
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return false, fmt.Errorf("--tls-cert %s, --tls-key %s: %w", c.certFile, c.keyFile, err)
	}
	c.current.Store(&pair)
	return true, nil
}

// get is the certificate for a connection.
func (c *certificates) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c.acme != nil {
		return c.acme.certificate(hello, c.current.Load())
	}
	return c.current.Load(), nil
}

// challenges serves ACME challenges, and next everything else.
func (c *certificates) challenges(next http.Handler) http.Handler {
	if c.acme != nil {
		return c.acme.challenges(next)
	}
	return next
}

// run reads the files again when they change, until ctx is done. Connections keep the
// certificate with which they began. If the files do not match, as between the writes of
// the two, the certificate is kept.
func (c *certificates) run(ctx context.Context) error {
	if c.acme != nil {
		return c.acme.run(ctx)
	}
	if c.certFile == "" {
		return nil
	}
	const look = 2 * time.Second // polling, since their folders may be links that are swapped
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		switch changed, err := c.read(); {
		case err != nil:
			c.log.Warn("reloading the TLS certificate failed; the previous one stays in use", "error", err)
		case changed:
			c.log.Info("TLS certificate reloaded", "file", c.certFile, "not_after", c.current.Load().Leaf.NotAfter)
		}
	}
}

// config is for a listener. Records have full size from the first on: a part has many
// records, and is of no use before the last.
func (c *certificates) config() *tls.Config {
	return &tls.Config{
		GetCertificate:              c.get,
		MinVersion:                  tls.VersionTLS12,
		DynamicRecordSizingDisabled: true,
	}
}

// httpsConfig is config for HTTPS, which also answers challenges.
func (c *certificates) httpsConfig() *tls.Config {
	config := c.config()
	if c.acme != nil {
		config.NextProtos = []string{"h2", "http/1.1", acmeALPN}
	}
	return config
}
