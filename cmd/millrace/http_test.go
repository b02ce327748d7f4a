package main

import (
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
