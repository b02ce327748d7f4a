package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"

	"github.com/millrace/millrace/internal/token"
)

// A key is made once, and signs tokens for a channel that its ARN or its name
// names.
func TestKeygenAndToken(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	keyFile := filepath.Join(t.TempDir(), "key.pem")
	run := func(args ...string) (out, said string, err error) {
		p := millrace(args...)
		var stdout, stderr bytes.Buffer
		p.Stdout, p.Stderr = &stdout, &stderr
		err = p.Run()
		return stdout.String(), stderr.String(), err
	}
	public, said, err := run("keygen", "--key", keyFile)
	if err != nil {
		t.Fatalf("keygen: %v: %s", err, said)
	}
	if info, err := os.Stat(keyFile); err != nil || info.Mode() != fs.FileMode(0o600) {
		t.Errorf("the private key's file: %v, %v", info, err)
	}
	key, err := token.ParsePublicKey([]byte(public))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.ivs().ImportPlaybackKeyPair(t.Context(), &awsivs.ImportPlaybackKeyPairInput{PublicKeyMaterial: &public}); err != nil {
		t.Fatal(err)
	}
	if out, said, err := run("keygen", "--key", keyFile); err == nil || out != "" || !strings.Contains(said, "exists already") {
		t.Errorf("a second keygen: %v: %s", err, said)
	}

	channel, _ := s.channel(awsivs.CreateChannelInput{Name: aws.String("private"), Authorized: true})
	for _, name := range []string{"private", *channel.Arn} {
		raw, said, err := run("token", name, "--data", s.data, "--key", keyFile, "--ttl", "90s", "--viewer-id", "v", "--viewer-session-version", "7",
			"--origin", "https://a.example", "--origin", "https://*.b.example", "--strict-origin", "--single-use", "--maximum-resolution", "SD")
		if err != nil {
			t.Fatalf("token %s: %v: %s", name, err, said)
		}
		tok, err := token.Parse(strings.TrimSuffix(raw, "\n"))
		if err != nil {
			t.Fatal(err)
		}
		left := time.Until(tok.Expires)
		if !tok.SignedBy(key) || tok.ChannelARN != *channel.Arn || left < 0 || left > 90*time.Second || tok.ViewerID != "v" ||
			tok.ViewerVersion != 7 || strings.Join(tok.Origins, " ") != "https://a.example https://*.b.example" || !tok.StrictOrigin ||
			tok.SingleUse == "" || tok.MaximumResolution != "SD" {
			t.Errorf("token %s: %+v", name, tok.Claims)
		}
	}
	url, _, err := run("token", *channel.Arn, "--key", keyFile, "--url", "--public-url", s.api+"/")
	if want := *channel.PlaybackUrl + "?token="; err != nil || !strings.HasPrefix(url, want) {
		t.Errorf("token --url: %q, %v, want %s…", url, err, want)
	}
	for _, tt := range []struct{ args, want string }{
		{"nobody --data " + s.data, "no channel is named"},
		{"nobody --data " + t.TempDir(), "give the channel's ARN"},
		{"arn:aws:ivs:us-west-2:000000000000:stream-key/x", "not the ARN of a channel"},
		{"private --data " + s.data + " --ttl 0s", "--ttl 0s"},
		{"private --data " + s.data + " --ttl 1h --single-use", "must expire within 10m0s"},
		{"private --data " + s.data + " --viewer-session-version 1", "needs --viewer-id"},
		{"private --data " + s.data + " --viewer-id " + strings.Repeat("v", 41), "41 characters"},
		{"private --data " + s.data + " --key " + s.data, "is a directory"},
		{"private --data " + s.data + " --key " + filepath.Join(s.data, "node"), "no private key in PEM"},
		{"private --data " + s.data + " --key nowhere.pem", "millrace keygen"},
	} {
		if out, said, err := run(append([]string{"token", "--key", keyFile}, strings.Fields(tt.args)...)...); err == nil || out != "" || !strings.Contains(said, tt.want) {
			t.Errorf("token %s: %v: %q, want %q", tt.args, err, said, tt.want)
		}
	}
}
