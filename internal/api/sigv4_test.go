package api_test

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/millrace/millrace/internal/api"
)

// signed makes a call and signs it as the AWS SDKs do.
func signed(t testing.TB, method, target, body, id, secret, service, region string, at time.Time) *http.Request {
	t.Helper()
	req, err := http.NewRequest(method, target, strings.NewReader(body))
	must(t, err)
	req.Header.Set("Content-Type", "application/json")
	sum := sha256.Sum256([]byte(body))
	must(t, v4.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: id, SecretAccessKey: secret}, req, hex.EncodeToString(sum[:]), service, region, at))
	return req
}

const (
	mismatch   = "InvalidSignatureException"
	incomplete = "IncompleteSignatureException"
)

// replace changes the header with the signature.
func replace(old, new string) func(*http.Request) {
	return func(r *http.Request) {
		h := r.Header.Get("Authorization")
		if !strings.Contains(h, old) {
			panic(old + " is not in " + h)
		}
		r.Header.Set("Authorization", strings.Replace(h, old, new, 1))
	}
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

// tamperings are changes of a signed request.
var tamperings = []struct {
	name   string
	tamper func(*http.Request)
	code   string // "" means accepted
	says   string
}{
	{"nothing", func(*http.Request) {}, "", ""},
	{"an unsigned header", header("X-Forwarded-For", "10.0.0.1"), "", ""},
	{"body", func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(`{"maxResults":6}`)) }, mismatch, "does not match"},
	{"path", func(r *http.Request) { r.URL.Path = "/ListStreams" }, mismatch, "does not match"},
	{"query", func(r *http.Request) { r.URL.RawQuery = "a=b" }, mismatch, "does not match"},
	{"host", func(r *http.Request) { r.Host = "other.example.com" }, mismatch, "does not match"},
	{"signed header", header("Content-Type", "text/plain"), mismatch, "does not match"},
	{"signed header missing", func(r *http.Request) { r.Header.Del("Content-Type") }, incomplete, "content-type"},
	{"date", header("X-Amz-Date", "20260501T120001Z"), mismatch, "does not match"},
	{"date of another day", header("X-Amz-Date", "20260502T120000Z"), mismatch, "date in Credential"},
	{"date malformed", header("X-Amz-Date", "2026-05-01T12:00:00Z"), incomplete, "X-Amz-Date"},
	{"date missing", func(r *http.Request) { r.Header.Del("X-Amz-Date") }, incomplete, "X-Amz-Date"},
	{"signature", replace("Signature=", "Signature=0"), mismatch, "does not match"},
	{"signature empty", func(r *http.Request) {
		h, _, _ := strings.Cut(r.Header.Get("Authorization"), "Signature=")
		r.Header.Set("Authorization", h+"Signature=")
	}, incomplete, "must have"},
	{"access key", replace(keyID, "AKIDOTHER"), "UnrecognizedClientException", "unknown"},
	{"no access key", replace(keyID, ""), "UnrecognizedClientException", "unknown"},
	{"scope's date", replace("/20260501/", "/20260430/"), mismatch, "date in Credential"},
	{"scope's region", replace("/us-west-2/", "/eu-west-1/"), mismatch, "does not match"},
	{"scope's region odd", replace("/us-west-2/", "/US'--/"), mismatch, "region"},
	{"scope's service", replace("/ivs/", "/sts/"), mismatch, "service ivs"},
	{"scope's end", replace("aws4_request", "aws5_request"), incomplete, "aws4_request"},
	{"scope short", replace("/us-west-2", ""), incomplete, "Credential must be"},
	{"scope long", replace("/us-west-2", "/us-west-2/x"), incomplete, "Credential must be"},
	{"algorithm", replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"), incomplete, "AWS4-HMAC-SHA256"},
	{"host unsigned", replace(";host", ""), incomplete, "must have host"},
	{"signed headers reordered", replace("content-length;content-type", "content-type;content-length"), mismatch, "does not match"},
	{"signed headers absent", replace("SignedHeaders=", "Other="), incomplete, "must have"},
	{"signed headers too many", replace("SignedHeaders=", "SignedHeaders="+strings.Repeat("a;", 64)), incomplete, "at most 64"},
	{"other scheme", header("Authorization", "Basic eDp5"), incomplete, "AWS4-HMAC-SHA256"},
	{"garbage", header("Authorization", "AWS4-HMAC-SHA256 ,,=,Credential"), incomplete, "must have"},
	{"unsigned", func(r *http.Request) { r.Header.Del("Authorization") }, "MissingAuthenticationTokenException", "not signed"},
	{"presigned", func(r *http.Request) {
		r.Header.Del("Authorization")
		r.URL.RawQuery = "X-Amz-Signature=00"
	}, incomplete, "Presigned"},
	{"unsigned payload", header("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD"), mismatch, "hash of the request body"},
	{"wrong payload hash", header("X-Amz-Content-Sha256", strings.Repeat("0", 64)), mismatch, "hash of the request body"},
	{"payload hash twice", func(r *http.Request) {
		sum := sha256.Sum256([]byte(`{"maxResults":5}`))
		r.Header["X-Amz-Content-Sha256"] = []string{hex.EncodeToString(sum[:]), hex.EncodeToString(sum[:])}
	}, mismatch, "hash of the request body"},
	{"payload hash stated", func(r *http.Request) {
		sum := sha256.Sum256([]byte(`{"maxResults":5}`))
		r.Header.Set("X-Amz-Content-Sha256", hex.EncodeToString(sum[:]))
	}, "", ""},
}

// A signature is good for exactly the request that it was made for.
func TestTamperedRequests(t *testing.T) {
	w := newWorld(t)
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	w.Now = func() time.Time { return now }
	for _, tt := range tamperings {
		req := signed(t, "POST", w.url+"/ListChannels", `{"maxResults":5}`, keyID, secret, "ivs", region, now)
		tt.tamper(req)
		a := w.do(t, req)
		switch {
		case tt.code == "" && a.status != 200:
			t.Errorf("%s: %d %s", tt.name, a.status, a.body)
		case tt.code != "" && (a.status != 403 || a.code(t) != tt.code || !strings.Contains(string(a.body), tt.says)):
			t.Errorf("%s: %d %s, want %s saying %q", tt.name, a.status, a.body, tt.code, tt.says)
		}
	}
	wrong := signed(t, "POST", w.url+"/ListChannels", `{}`, keyID, secret+"x", "ivs", region, now)
	if a := w.do(t, wrong); a.code(t) != mismatch {
		t.Errorf("wrong secret: %d %s", a.status, a.body)
	}
}

// While the root credentials are replaced, calls are signed with either, and each access
// key has its own secret.
func TestTwoAccessKeys(t *testing.T) {
	w := newWorld(t)
	w.Root = rootOf(api.AccessKey{AccessKeyID: "NEW", SecretAccessKey: "new secret"}, w.Root.Keys()[0])
	for _, tt := range []struct{ id, secret, code string }{
		{"NEW", "new secret", ""}, {keyID, secret, ""},
		{"NEW", secret, mismatch}, {keyID, "new secret", mismatch}, {"OTHER", secret, "UnrecognizedClientException"},
	} {
		a := w.do(t, signed(t, "POST", w.url+"/ListChannels", `{}`, tt.id, tt.secret, "ivs", region, time.Now()))
		if tt.code == "" && a.status != 200 || tt.code != "" && a.code(t) != tt.code {
			t.Errorf("%s with %s: %d %s", tt.id, tt.secret, a.status, a.body)
		}
	}
}

// A server without credentials accepts no call, not even one signed with empty ones.
func TestNoCredentials(t *testing.T) {
	w := newWorld(t)
	w.Root.Keys = nil
	req := signed(t, "POST", w.url+"/ListChannels", `{}`, "x", "", "ivs", region, time.Now())
	req.Header.Set("Authorization", strings.Replace(req.Header.Get("Authorization"), "Credential=x/", "Credential=/", 1))
	if a := w.do(t, req); a.code(t) != "UnrecognizedClientException" {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestClockSkew(t *testing.T) {
	w := newWorld(t)
	now := time.Date(2026, 5, 2, 0, 2, 0, 0, time.UTC) // near midnight: the scope's date is the caller's
	w.Now = func() time.Time { return now }
	for off, says := range map[time.Duration]string{
		0:                              "",
		5 * time.Minute:                "",
		-5 * time.Minute:               "",
		5*time.Minute + time.Second:    "Signature not yet current",
		-(5*time.Minute + time.Second): "Signature expired",
		24 * time.Hour:                 "Signature not yet current",
		-24 * time.Hour:                "Signature expired",
	} {
		a := w.do(t, signed(t, "POST", w.url+"/ListChannels", `{}`, keyID, secret, "ivs", region, now.Add(off)))
		if says == "" && a.status != 200 || says != "" && (a.code(t) != "InvalidSignatureException" || !strings.Contains(string(a.body), says)) {
			t.Errorf("off by %v: %d %s, want %q", off, a.status, a.body, says)
		}
	}
}

// Paths, queries and headers that need care are canonicalised as the SDK's own
// signer does.
func TestCanonicalForms(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{
		"/tags/arn%3Aaws%3Aivs%3Aus-west-2%3A123456789012%3Achannel%2Fabcdefghijkl",
		"/tags/arn:aws:ivs:us-west-2:123456789012:channel/abcdefghijkl",
		"/tags/a%20b%25c~d",
		"/tags/x?b=2&a=1&a=0&a-b=3&c&d=",
		"/tags/x?tagKeys=a%20b&tagKeys=c%2Fd&tagKeys=%C3%BC~-._%3D%26%2B",
		"/tags/x?k=%7E*'()!",
		"/prefix/tags/arn:aws:ivs:us-west-2:123456789012:channel/a",
		"//tags/x",
	} {
		for _, method := range []string{"GET", "DELETE"} {
			req := signed(t, method, w.url+path, "", keyID, secret, "ivs", region, time.Now())
			if a := w.do(t, req); a.status == 403 {
				t.Errorf("%s %s: %s", method, path, a.body)
			}
		}
	}
	for name, values := range map[string][]string{
		"X-Amz-Meta": {"  a   b  ", "c"}, // several values, runs of spaces
		"X-Amz-Odd":  {"a,b ; c=\"d  e\""},
		"X-Empty":    {""},
		"User-Agent": {"x  y"},
	} {
		req, err := http.NewRequest("POST", w.url+"/ListChannels", strings.NewReader(`{}`))
		must(t, err)
		req.Header[name] = values
		sum := sha256.Sum256([]byte(`{}`))
		must(t, v4.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: keyID, SecretAccessKey: secret}, req, hex.EncodeToString(sum[:]), "ivs", region, time.Now()))
		if a := w.do(t, req); a.status != 200 {
			t.Errorf("header %s %q: %d %s", name, values, a.status, a.body)
		}
	}
}

// FuzzAuthorization looks for headers that make the check panic or let in.
func FuzzAuthorization(f *testing.F) {
	w := newWorld(f)
	good := signed(f, "POST", "http://host/ListChannels", `{}`, keyID, secret, "ivs", region, time.Now())
	f.Add(good.Header.Get("Authorization"), "20260501T120000Z", "")
	f.Add("AWS4-HMAC-SHA256 Credential="+keyID+"/20260501/r/ivs/aws4_request,SignedHeaders=host,Signature=x", "20260501T120000Z", "a=b&&=&%zz")
	f.Fuzz(func(t *testing.T, authorization, date, query string) {
		at, err := time.Parse("20060102T150405Z", date)
		if err != nil {
			at = time.Now()
		}
		server := &api.Server{Store: w.db, Root: root, Region: region,
			Log: w.Log, Now: func() time.Time { return at }}
		r := httptest.NewRequest("POST", "/ListChannels", strings.NewReader(`{}`))
		r.URL = &url.URL{Path: "/ListChannels", RawQuery: query}
		r.Header.Set("Authorization", authorization)
		r.Header.Set("X-Amz-Date", date)
		rec := httptest.NewRecorder()
		server.ServeHTTP(rec, r)
		if rec.Code != 403 {
			t.Errorf("%q = %d %s", authorization, rec.Code, rec.Body)
		}
	})
}
