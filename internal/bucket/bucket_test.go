package bucket_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/internal/bucket"
)

func TestFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "buckets")
	p, err := bucket.Open(t.Context(), dir, "us-west-2")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // made, then found
		if err := p.Check(t.Context(), "recordings"); err != nil {
			t.Error(err)
		}
	}
	left, err := os.ReadDir(filepath.Join(dir, "recordings"))
	if err != nil || len(left) != 0 {
		t.Errorf("the check leaves %v, %v", left, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := p.Check(t.Context(), "file"); err == nil {
		t.Error("a file is taken for a bucket")
	}
}

// A place that is neither is refused at the start.
func TestOpenRefuses(t *testing.T) {
	for _, place := range []string{"s3://bucket", "http://example.com", "gs://"} {
		if _, err := bucket.Open(t.Context(), place, "us-west-2"); err == nil {
			t.Errorf("%s is opened", place)
		}
	}
}

// What is asked of S3: the bucket must be there, and take an object.
func TestS3(t *testing.T) {
	var mu sync.Mutex
	var calls []string // guarded by mu
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		calls = append(calls, r.Method+" "+r.URL.Path)
		mu.Unlock()
		switch {
		case strings.HasPrefix(r.URL.Path, "/absent"):
			w.WriteHeader(http.StatusNotFound)
		case strings.HasPrefix(r.URL.Path, "/elsewhere"): // as S3 answers where the bucket is in another region
			w.Header().Set("X-Amz-Bucket-Region", "ap-south-1")
			w.WriteHeader(http.StatusMovedPermanently)
		case r.Method == http.MethodPut && strings.HasPrefix(r.URL.Path, "/readonly"):
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	defer srv.Close()
	setenv(t, srv.URL)
	p, err := bucket.Open(t.Context(), "s3://", "us-west-2")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		bucket string
		ok     bool
		calls  []string
	}{
		{"good", true, []string{"HEAD /good", "PUT /good/millrace-write-check", "DELETE /good/millrace-write-check"}},
		{"absent", false, []string{"HEAD /absent"}},
		{"elsewhere", false, []string{"HEAD /elsewhere"}},
		{"readonly", false, []string{"HEAD /readonly", "PUT /readonly/millrace-write-check"}},
	} {
		calls = nil
		if err := p.Check(t.Context(), tt.bucket); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.bucket, err)
		}
		if !slices.Equal(calls, tt.calls) {
			t.Errorf("%s: asked %q, want %q", tt.bucket, calls, tt.calls)
		}
	}
}

// setenv has buckets opened at an endpoint, with nothing else from the environment.
func setenv(t *testing.T, endpoint string) {
	t.Helper()
	for k, v := range map[string]string{"AWS_ENDPOINT_URL_S3": endpoint, "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret",
		"AWS_REGION": "eu-west-1", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_REQUEST_CHECKSUM_CALCULATION": ""} {
		t.Setenv(k, v)
	}
}

// Servers other than Amazon S3 get media without checksums, which not all of them take,
// unless the environment or the shared configuration asks for these; and over TLS
// nothing hashes it.
func TestChecksums(t *testing.T) {
	const media = "media"
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte("[default]\nrequest_checksum_calculation = when_supported\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(media))
	for _, tt := range []struct {
		name, variable, config string
		tls                    bool
		hash                   string // X-Amz-Content-Sha256
		checksum               bool
	}{
		{name: "plain", hash: hex.EncodeToString(sum[:])},
		{name: "TLS", tls: true, hash: "UNSIGNED-PAYLOAD"},
		{name: "wanted by the environment", variable: "when_supported", tls: true, hash: "STREAMING-UNSIGNED-PAYLOAD-TRAILER", checksum: true},
		{name: "wanted by the configuration", config: file, tls: true, hash: "STREAMING-UNSIGNED-PAYLOAD-TRAILER", checksum: true},
		{name: "the environment comes first", variable: "when_required", config: file, tls: true, hash: "UNSIGNED-PAYLOAD"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			requests := make(chan http.Header, 1)
			bodies := make(chan string, 1)
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				b, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				requests <- r.Header
				bodies <- string(b)
			}))
			srv.EnableHTTP2 = false
			if tt.tls {
				srv.StartTLS()
			} else {
				srv.Start()
			}
			defer srv.Close()
			setenv(t, srv.URL)
			t.Setenv("AWS_REQUEST_CHECKSUM_CALCULATION", tt.variable)
			if tt.config != "" {
				t.Setenv("AWS_CONFIG_FILE", tt.config)
			}
			if tt.tls {
				ca := filepath.Join(t.TempDir(), "ca.pem")
				if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
					t.Fatal(err)
				}
				t.Setenv("AWS_CA_BUNDLE", ca)
			}
			p, err := bucket.Open(t.Context(), "s3://", "us-west-2")
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Put(t.Context(), "good", "a/0.ts", bucket.Immutable, strings.NewReader(media)); err != nil {
				t.Fatal(err)
			}
			h, body := <-requests, <-bodies
			checksum := h.Get("X-Amz-Trailer") != "" || h.Get("Content-Encoding") != "" || h.Get("X-Amz-Sdk-Checksum-Algorithm") != ""
			for name := range h {
				checksum = checksum || strings.HasPrefix(name, "X-Amz-Checksum-")
			}
			if got := h.Get("X-Amz-Content-Sha256"); got != tt.hash || checksum != tt.checksum || !tt.checksum && body != media {
				t.Errorf("the body %q is hashed as %s, with a checksum: %v; want %s and %v", body, got, checksum, tt.hash, tt.checksum)
			}
		})
	}
}

// Uploads at the same time reuse the connections of those before them.
func TestConnections(t *testing.T) {
	const uploads = 16
	var connections atomic.Int32
	arrived, answer := make(chan struct{}), make(chan struct{})
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		arrived <- struct{}{}
		<-answer
	}))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	srv.Start()
	defer srv.Close()
	setenv(t, srv.URL)
	p, err := bucket.Open(t.Context(), "s3://", "us-west-2")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		var all errgroup.Group
		for range uploads {
			all.Go(func() error {
				return p.Put(t.Context(), "good", "a/0.ts", bucket.Immutable, strings.NewReader("media"))
			})
		}
		for range uploads {
			<-arrived
		}
		for range uploads {
			answer <- struct{}{}
		}
		if err := all.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	if n := connections.Load(); n != uploads {
		t.Errorf("%d connections for %d uploads at a time", n, uploads)
	}
}
