package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
)

// protocols notes the version of HTTP of each answer.
type protocols struct {
	http.RoundTripper
	seen []string
}

func (p *protocols) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := p.RoundTripper.RoundTrip(r)
	if err == nil {
		p.seen = append(p.seen, res.Proto)
	}
	return res, err
}

// The API answers the SDK over HTTP/2 as over HTTP/1.1.
func TestHTTP2(t *testing.T) {
	s := startServer(t, "")
	only2 := &http.Protocols{}
	only2.SetUnencryptedHTTP2(true)
	p := &protocols{RoundTripper: &http.Transport{Protocols: only2}}
	options := s.ivs().Options()
	options.HTTPClient = &http.Client{Transport: p}
	c := awsivs.New(options)
	created, err := c.CreateChannel(t.Context(), &awsivs.CreateChannelInput{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.GetChannel(t.Context(), &awsivs.GetChannelInput{Arn: created.Channel.Arn}); err != nil {
		t.Error(err)
	}
	if len(p.seen) != 2 || p.seen[0] != "HTTP/2.0" || p.seen[1] != "HTTP/2.0" {
		t.Errorf("answers came by %v", p.seen)
	}
}

// The root is the console's for people, and the API's for those who sign.
func TestRoot(t *testing.T) {
	s := startServer(t, "")
	for header, want := range map[string]string{
		"": "<!doctype html>",
		"AWS4-HMAC-SHA256 Credential=a/20260501/us-west-2/s3/aws4_request, SignedHeaders=host, Signature=00": "<Message>The request is signed for s3",
	} {
		r, err := http.NewRequest("GET", s.api+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", header)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || !strings.Contains(strings.ToLower(string(body)), strings.ToLower(want)) {
			t.Errorf("GET / with Authorization %q = %d %.300s, %v", header, res.StatusCode, body, err)
		}
	}
}

// What browsers may do with a response is decided by its path: to show it in a frame, to let
// other sites read it, to load and to run things for it.
func TestBrowserHeaders(t *testing.T) {
	s := startServer(t, "", "--https", "127.0.0.1:0", "--redirect-http", "--public-url", "https://live.example.com")
	secure := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	const (
		name     = "us-west-2.000000000000.channel.abcdEFGH1234"
		inert    = "default-src 'none'; img-src 'self'; media-src 'self'"
		apiAlone = "default-src 'none'; frame-ancestors 'none'"
	)
	for _, tt := range []struct {
		path, policy, frames string // of the policy: all or how it begins, and a part of it
		readers, opener      string
	}{
		{"/console/", "default-src 'none'; script-src 'self'", "frame-ancestors 'none'", "", "same-origin"},
		{"/console/config.json", "default-src 'none'; script-src 'self'", "frame-ancestors 'none'", "", "same-origin"},
		{"/watch/" + name, "default-src 'none'; script-src 'self'", "frame-ancestors *", "", "same-origin"},
		{"/watch/none", "default-src 'none'; script-src 'self'", "frame-ancestors *", "", "same-origin"},
		{"/ListChannels", apiAlone, "frame-ancestors 'none'", "*", ""},
		{"/_millrace/server", apiAlone, "frame-ancestors 'none'", "*", ""},
		{"//none", apiAlone, "frame-ancestors 'none'", "*", ""},
		{"/api/video/v1/" + name + ".m3u8", "", "", "*", ""},
		{"/api/video/v1/none", "", "", "*", ""},
		{"/recordings/none", inert, "", "*", ""},
		{"/api/v2/FindIngest", inert, "", "", ""},
		{"/metrics", inert, "", "", ""},
		{"/healthz", inert, "", "", ""},
		{"/readyz/playback", inert, "", "", ""},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.api+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = "live.example.com"
		answer, err := secure.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		h := answer.Header
		policy := h.Get("Content-Security-Policy")
		exact := tt.policy == "" || tt.policy == inert || tt.policy == apiAlone
		if !strings.HasPrefix(policy, tt.policy) || exact && policy != tt.policy || !strings.Contains(policy, tt.frames) || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: Content-Security-Policy %q, want %q and %q", tt.path, policy, tt.policy, tt.frames)
		}
		if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Strict-Transport-Security") == "" ||
			h.Get("Access-Control-Allow-Origin") != tt.readers || h.Get("Cross-Origin-Opener-Policy") != tt.opener {
			t.Errorf("%s: %s %v", tt.path, answer.Status, h)
		}
	}
}

// Who sends many fields is refused, before a handler that waits keeps them.
func TestManyFields(t *testing.T) {
	for fields, want := range map[int]bool{maxFields: false, maxFields + 1: true} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		for n := range fields {
			r.Header.Set(fmt.Sprintf("X%d", n), "")
		}
		if got := hasLargeHeader(r); got != want {
			t.Errorf("%d fields are too many: %t", fields, got)
		}
	}
}
