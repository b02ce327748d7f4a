package bucket_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

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
		case r.Method == http.MethodPut && strings.HasPrefix(r.URL.Path, "/readonly"):
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	defer srv.Close()
	for k, v := range map[string]string{"AWS_ENDPOINT_URL_S3": srv.URL, "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret",
		"AWS_REGION": "eu-west-1", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull} {
		t.Setenv(k, v)
	}
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
