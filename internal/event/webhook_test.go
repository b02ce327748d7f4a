package event_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/event"
	"github.com/millrace/millrace/internal/ivs"
)

var oneEvent = []ivs.Event{{ID: ivs.NewUUID(), Type: ivs.EventStreamState, Name: ivs.StreamStart, Account: "123456789012", Region: "eu-west-1",
	ChannelARN: "arn:aws:ivs:eu-west-1:123456789012:channel/AbCdEfGhIjK1", StreamID: "st-1aaaaaaaaaaaaaaaaaaaaaa", Time: time.Unix(1777626185, 0)}}

func TestWebhookVerdicts(t *testing.T) {
	for _, tt := range []struct {
		status int
		want   string // the error; "" is none
	}{
		{200, ""}, {202, ""}, {204, ""},
		{301, "refused: 301 Moved Permanently, and redirects are not followed"},
		{307, "refused: 307 Temporary Redirect, and redirects are not followed"},
		{304, "refused: 304 Not Modified, and redirects are not followed"},
		{400, "refused: 400 Bad Request"}, {404, "refused: 404 Not Found"}, {410, "refused: 410 Gone"},
		{408, "408 Request Timeout"}, {425, "425 Too Early"},
		{429, "no answer: 429 Too Many Requests"},
		{500, "500 Internal Server Error"}, {501, "501 Not Implemented"},
		{502, "no answer: 502 Bad Gateway"}, {503, "no answer: 503 Service Unavailable"}, {504, "no answer: 504 Gateway Timeout"},
	} {
		var followed atomic.Bool
		elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed.Store(true) }))
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", elsewhere.URL)
			w.WriteHeader(tt.status)
		}))
		sent, err := target(t, "hook="+s.URL).Sender.Send(t.Context(), oneEvent)
		if got := fmt.Sprint(err); got != tt.want && (err != nil || tt.want != "") {
			t.Errorf("%d: %v, want %q", tt.status, err, tt.want)
		}
		if (sent == 1) != (tt.want == "") {
			t.Errorf("%d: %d events sent", tt.status, sent)
		}
		if followed.Load() {
			t.Errorf("%d: the redirect was followed", tt.status)
		}
		s.Close()
		elsewhere.Close()
	}
}

// After a rotation of the secret there is a signature by each value: receivers may go on
// with the previous one for a while.
func TestWebhookRotation(t *testing.T) {
	got := make(chan string, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { got <- r.Header.Get("webhook-signature") }))
	defer s.Close()
	next := event.NewWebhookSecret()
	var now atomic.Pointer[[]string]
	signatures := func(secrets ...string) []string {
		now.Store(&secrets)
		hook, err := event.ParseTarget(t.Context(), "hook="+s.URL, event.Options{WebhookSecrets: func() []string { return *now.Load() }, AllowPrivate: true})
		must(t, err)
		_, err = hook.Sender.Send(t.Context(), oneEvent)
		must(t, err)
		return strings.Split(<-got, " ")
	}
	for range 3 { // the timestamp is part of what is signed
		before, both, after := signatures(secret), signatures(next, secret), signatures(next)
		if len(before) == 1 && len(after) == 1 && slices.Equal(both, []string{after[0], before[0]}) {
			return
		}
		t.Logf("%q, both %q, %q", before, both, after)
	}
	t.Error("two secrets do not sign as each does")
}

// An answer without an end is not read to it.
func TestWebhookEndlessAnswer(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(bytes.Repeat([]byte("x"), 32<<10)); err != nil {
				return
			}
		}
	}))
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	if sent, err := target(t, "hook="+s.URL).Sender.Send(ctx, oneEvent); sent != 1 || err != nil {
		t.Errorf("Send = %d, %v", sent, err)
	}
}

// A receiver that says nothing is given up when the time for a call is over.
func TestWebhookSilence(t *testing.T) {
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		<-release
	}))
	defer s.Close()
	defer close(release)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if sent, err := target(t, "hook="+s.URL).Sender.Send(ctx, oneEvent); sent != 0 || err == nil || !strings.HasPrefix(err.Error(), "no answer: ") {
		t.Errorf("Send = %d, %v", sent, err)
	}
}

// Private addresses are refused where they are dialled, whatever name led
// there; and the URL, which may hold a secret, is in no error.
func TestWebhookPrivateAddress(t *testing.T) {
	var called atomic.Bool
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called.Store(true) }))
	defer s.Close()
	_, port, _ := strings.Cut(strings.TrimPrefix(s.URL, "http://"), ":")
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "[::127.0.0.1]", "0.0.0.0", "127.1.2.3"} {
		hook, err := event.ParseTarget(t.Context(), "hook=http://"+host+":"+port+"/?token=hidden", event.Options{WebhookSecrets: secrets(secret)})
		must(t, err)
		sent, err := hook.Sender.Send(t.Context(), oneEvent)
		if sent != 0 || err == nil || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: Send = %d, %v", host, sent, err)
		}
	}
	if called.Load() {
		t.Error("a private address was called")
	}
}

func TestPublicAddresses(t *testing.T) {
	for address, want := range map[string]bool{
		"8.8.8.8": true, "1.1.1.1": true, "192.0.3.1": true, "172.32.0.1": true, "100.128.0.1": true, "2606:4700::1111": true,
		"127.0.0.1": false, "127.255.0.1": false, "10.0.0.1": false, "172.16.0.1": false, "172.31.255.255": false, "192.168.1.1": false,
		"169.254.169.254": false, "100.64.0.1": false, "0.0.0.0": false, "0.1.2.3": false, "192.0.0.1": false, "198.18.0.1": false,
		"224.0.0.1": false, "239.1.1.1": false, "240.0.0.1": false, "255.255.255.255": false,
		"::1": false, "::": false, "fe80::1": false, "fe80::1%eth0": false, "fc00::1": false, "fd12::1": false, "fec0::1": false, "ff02::1": false,
		"::ffff:10.0.0.1": false, "::ffff:8.8.8.8": true, "64:ff9b::a00:1": false, "64:ff9b:1::a00:1": false,
		"::127.0.0.1": false, "::10.0.0.1": false, "::8.8.8.8": false, "::ffff:0:127.0.0.1": false, "::7f00:1": false,
		"2001:4860:4860::5efe:7f00:1": false, "2001:4860:4860::200:5efe:7f00:1": false, "2001:4860:4860::8888": true,
		"100::1": false, "5f00::1": false, "4000::1": false, "2001:db8::1": false, "3fff::1": false, "2001:2::1": false, "2001:20::1": false,
		"192.0.2.1": false, "198.51.100.1": false, "203.0.113.1": false, "192.88.99.1": false, "2002:a00:1::": false, "2001:0:1::": false,
	} {
		if got := event.IsPublic(netip.MustParseAddr(address)); got != want {
			t.Errorf("isPublic(%s) = %v", address, got)
		}
	}
}

func TestParseTarget(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct{ text, kind string }{
		{"a=http://hooks.example.com/x", "webhook"},
		{"b-2=https://user:pw@hooks.example.com/x?y=z", "webhook"},
		{"c=eventbridge:default", "eventbridge"},
		{"c=eventbridge:my-bus?region=us-east-1&endpoint=http://127.0.0.1:4566&source=aws.ivs", "eventbridge"},
		{"d=file:" + dir + "/events.jsonl", "file"},
		{"d=file://" + dir + "/events.jsonl", "file"},
		{"e=stdout", "stdout"},
	} {
		got, err := event.ParseTarget(t.Context(), tt.text, event.Options{Region: "eu-west-1", WebhookSecrets: secrets(secret)})
		if err != nil || got.Kind != tt.kind {
			t.Errorf("ParseTarget(%q) = %q, %v", tt.text, got.Kind, err)
		}
	}
	for _, text := range []string{"", "x", "=stdout", "A=stdout", "a b=stdout", strings.Repeat("x", 33) + "=stdout", "a=", "a=ftp://x", "a=http:///x",
		"a=eventbridge:", "a=file:", "a=file:" + dir + "/no/such/folder", "a=file://host/x", "a=http://%zz/?token=hidden"} {
		got, err := event.ParseTarget(t.Context(), text, event.Options{Region: "eu-west-1", WebhookSecrets: secrets(secret)})
		if err == nil || strings.Contains(err.Error(), "hidden") {
			t.Errorf("ParseTarget(%q) = %+v, %v; want an error", text, got, err)
		}
	}
	if _, err := event.ParseTarget(t.Context(), "a=http://x", event.Options{WebhookSecrets: secrets("whsec_!")}); err == nil {
		t.Error("a secret that is not base64 is taken")
	}
	if _, err := event.ParseTarget(t.Context(), "a=http://x", event.Options{}); err == nil {
		t.Error("a webhook without a secret is taken")
	}
	same := []event.Target{target(t, "a=stdout"), target(t, "a=stdout")}
	if event.CheckNames(same) == nil || event.CheckNames(same[:1]) != nil {
		t.Error("CheckNames does not tell names apart")
	}
}
