package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/bucket"
	"github.com/millrace/millrace/internal/store"
)

// A dataFolder is the folder of --data, locked by one server at a time.
type dataFolder struct {
	path string
	node string // this node's name, the same after a restart
	lock *os.File
}

// openData creates the folder if necessary, and locks it.
func openData(path string) (*dataFolder, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("--data: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(path, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("--data: %w", err)
	}
	if err := lockFile(lock); err != nil {
		return nil, errors.Join(fmt.Errorf("--data %s: another millrace is using this folder", path), lock.Close())
	}
	f := &dataFolder{path: path, lock: lock}
	name, err := f.keep("node", newNodeName, checkNodeName)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	f.node = string(name)
	return f, nil
}

func newNodeName() ([]byte, error) { return []byte("node-" + strings.ToLower(rand.Text()[:12])), nil }

func checkNodeName(content []byte) error {
	if !nodeName.Match(content) {
		return fmt.Errorf("%.80q is not the name of a node", content)
	}
	return nil
}

var nodeName = regexp.MustCompile(`^node-[a-z0-9]{12}$`)

// emptied creates or empties a folder in f, and returns its path.
func (f *dataFolder) emptied(name string) (string, error) {
	path := filepath.Join(f.path, name)
	if err := os.RemoveAll(path); err != nil {
		return "", fmt.Errorf("--data: %w", err)
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return "", fmt.Errorf("--data: %w", err)
	}
	return path, nil
}

// place distinguishes the folder from its copies, until the machine is restarted: the
// inode number of a file is not copied with it.
func (f *dataFolder) place() string {
	number, err := fileNumber(f.lock)
	if err != nil {
		return ""
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil { // not Linux
		host, _ := os.Hostname() // without it, the numbers must suffice
		boot = []byte(host)
	}
	return strings.TrimSpace(string(boot)) + " " + number
}

// Close unlocks the folder.
func (f *dataFolder) Close() error { return f.lock.Close() }

// keep returns the content of a file in the folder, if check accepts it. The first time it
// writes the result of create, readable for the owner only.
func (f *dataFolder) keep(name string, create func() ([]byte, error), check func([]byte) error) ([]byte, error) {
	path := filepath.Join(f.path, name)
	content, err := os.ReadFile(path)
	if err == nil {
		if err := check(content); err != nil {
			return nil, fmt.Errorf("%s: %w: restore it from a backup, or delete it to have a new one made", path, err)
		}
		return content, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if content, err = create(); err != nil {
		return nil, fmt.Errorf("making %s: %w", path, err)
	}
	return content, writeFile(path, content)
}

// writeFile writes a temporary file and renames it, so that a crash or a loss of power
// leaves the whole file or none.
func writeFile(path string, content []byte) error {
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return bucket.SyncFolder(filepath.Dir(path))
}

// openDatabase opens the database of the server. It waits while another client keeps the
// schema from being changed.
func openDatabase(ctx context.Context, dsn string, log *slog.Logger) (*store.DB, error) {
	for pause := 2 * time.Second; ; pause = min(pause+2*time.Second, 30*time.Second) { // each try holds up other nodes
		db, err := store.Open(ctx, dsn)
		if !errors.Is(err, store.ErrSchemaLocked) {
			return db, err
		}
		log.Warn("waiting to change the schema of the database; trying again", "error", err, "retry_in", pause)
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// Files of the data folder that other commands read.
const (
	credentialsFile = "credentials.json"
	certificateFile = "tls.pem" // with its private key
	apiFile         = "api-url" // URLs of the running server; removed when it stops
)

// announce writes into the folder, for other commands, where the API is on this machine,
// and on a second line its public URL.
func (f *dataFolder) announce(local, public string) (withdraw func(), err error) {
	path := filepath.Join(f.path, apiFile)
	if err := writeFile(path, []byte(local+"\n"+strings.TrimSuffix(public, "/"))); err != nil {
		return nil, err
	}
	return func() { os.Remove(path) }, nil // a stale file is detected
}

// announcedAPI returns the addresses that the server of a data folder has announced; "" if
// there are none, or if no server answers there because it was killed.
func announcedAPI(data string) (local, public string) {
	content, err := os.ReadFile(filepath.Join(data, apiFile))
	if err != nil {
		return "", ""
	}
	local, public, _ = strings.Cut(string(content), "\n")
	if !isMillrace(local) {
		return "", ""
	}
	if public == "" { // of a server of an earlier version
		public = local
	}
	return local, public
}

// isMillrace reports whether a server of this kind answers at a URL, well or not. Its
// certificate is not checked: nothing is sent that is secret.
func isMillrace(url string) bool {
	client := &http.Client{Timeout: 4 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	answer, err := client.Get(url + "/healthz")
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	var body healthBody
	err = json.NewDecoder(io.LimitReader(answer.Body, 64<<10)).Decode(&body)
	return err == nil && body.Status != "" && body.Checks["streams"] != ""
}

// trust returns how the server's certificate is verified: the self-signed one of the data
// folder is accepted too.
func (s storage) trust(insecure bool) (*tls.Config, error) {
	config := &tls.Config{InsecureSkipVerify: insecure}
	own, err := os.ReadFile(filepath.Join(s.Data, certificateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return config, nil
	}
	if err != nil {
		return nil, err
	}
	if config.RootCAs, err = x509.SystemCertPool(); err != nil {
		config.RootCAs = x509.NewCertPool() // this system has none
	}
	config.RootCAs.AppendCertsFromPEM(own)
	return config, nil
}

// selfSigned is the folder's own certificate, made at the first start for this
// machine and host.
func (f *dataFolder) selfSigned(host string) (tls.Certificate, error) {
	content, err := f.keep(certificateFile, func() ([]byte, error) { return selfSigned(host) }, func(content []byte) error {
		_, err := tls.X509KeyPair(content, content)
		return err
	})
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(content, content)
}

// selfSigned makes a certificate for this machine and host, with its key, PEM.
func selfSigned(host string) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "millrace"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().AddDate(10, 0, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = append(template.IPAddresses, ip)
	} else {
		template.DNSNames = append(template.DNSNames, host)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return append(
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})...,
	), nil
}
