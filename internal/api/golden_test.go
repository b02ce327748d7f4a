package api

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// The worked example of the AWS documentation of Signature Version 4: its
// request, its secret and its signature.
func TestDocumentedSignature(t *testing.T) {
	const want = "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
	r := httptest.NewRequest("GET", "/?Version=2010-05-08&Action=ListUsers", strings.NewReader(""))
	r.Host = "iam.amazonaws.com"
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	r.Header.Set("X-Amz-Date", "20150830T123600Z")
	s := &Server{
		Root: Root{Keys: func() []AccessKey { return []AccessKey{{"AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}} }},
		Now:  func() time.Time { return time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC) },
	}
	sig, err := parseAuthorization("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, " +
		"SignedHeaders=content-type;host;x-amz-date, Signature=" + want)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.verify(sig, r, nil, "iam"); err != nil {
		t.Error(err)
	}
}

// net/http takes Transfer-Encoding out of the headers that it received; it may
// be signed all the same.
func TestSignedTransferEncoding(t *testing.T) {
	var got string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var err error
		if got, err = canonicalHeaders(r, "host;transfer-encoding"); err != nil {
			t.Error(err)
		}
	}))
	defer srv.Close()
	res, err := http.Post(srv.URL, "application/json", io.MultiReader(strings.NewReader(`{}`))) // of unknown length: chunked
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if want := "host:" + strings.TrimPrefix(srv.URL, "http://") + "\ntransfer-encoding:chunked\n"; got != want {
		t.Errorf("canonical headers %q, want %q", got, want)
	}
}
