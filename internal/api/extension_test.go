package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/api"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
)

// An Extension is reached with a signature only, knows whose it is, and fails
// as operations do.
func TestExtension(t *testing.T) {
	w := newWorld(t)
	w.Extensions = map[string]api.Extension{
		"POST /_millrace/things/{name}": func(rw http.ResponseWriter, r *http.Request, scope store.Scope) error {
			var in struct{ Size int }
			if err := api.Decode(r, &in); err != nil {
				return err
			}
			if in.Size == 0 {
				return ivs.Errorf(ivs.NotFound, "no thing of no size")
			}
			api.Reply(rw, []any{scope.Account, scope.Region, r.PathValue("name"), in.Size})
			return nil
		},
	}
	if a := w.send(t, "POST", "/_millrace/things/one", `{"size":1}`); a.code(t) != "MissingAuthenticationTokenException" {
		t.Errorf("unsigned: %d %s", a.status, a.body)
	}
	w.AuthOff = true
	for _, tt := range []struct {
		method, path, body string
		status             int
		want               string // the body, or the error's code
	}{
		{"POST", "/_millrace/things/arn%3Aaws%2Fx", `{"size":7}`, 200, `["123456789012","us-west-2","arn:aws/x",7]`},
		{"POST", "/_millrace/things/one", `{}`, 404, "ResourceNotFoundException"},
		{"POST", "/_millrace/things/one", `{"size":"x"}`, 400, "ValidationException"},
		{"GET", "/_millrace/things/one", ``, 404, "UnknownOperationException"},
		{"POST", "/_millrace/other", ``, 404, "UnknownOperationException"},
	} {
		a := w.send(t, tt.method, tt.path, tt.body)
		got := string(a.body)
		if a.status >= 300 {
			got = a.header.Get("x-amzn-ErrorType")
		}
		if a.status != tt.status || got != tt.want {
			t.Errorf("%s %s %s = %d %s, want %d %s", tt.method, tt.path, tt.body, a.status, a.body, tt.status, tt.want)
		}
	}
}

// Why a bucket cannot be recorded to is said, which CREATE_FAILED does not.
func TestBucketCall(t *testing.T) {
	w := newWorld(t)
	w.Extensions = map[string]api.Extension{"GET /_millrace/buckets/{bucket}": w.Bucket}
	w.AuthOff = true
	for _, tt := range []struct {
		bucket string
		status int
		want   string // in the answer
	}{
		{"recordings", 200, `{"bucket":"recordings","usable":true}`},
		{"bad-one", 200, `{"bucket":"bad-one","usable":false,"reason":"`},
		{"No%20bucket", 400, "3 to 63 characters"},
	} {
		if a := w.send(t, "GET", "/_millrace/buckets/"+tt.bucket, ""); a.status != tt.status || !strings.Contains(string(a.body), tt.want) {
			t.Errorf("%s: %d %s, want %d with %s", tt.bucket, a.status, a.body, tt.status, tt.want)
		}
	}
}
