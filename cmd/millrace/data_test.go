package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
)

// A file of the data folder that a loss of power or a person has emptied or
// damaged is named, with what to do.
func TestDamagedDataFolder(t *testing.T) {
	t.Parallel()
	for name, says := range map[string]string{
		"node":             `"" is not the name of a node`,
		"credentials.json": "holds no credentials",
		"tls.pem":          "failed to find any PEM data",
	} {
		data := t.TempDir()
		path := filepath.Join(data, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := millrace("serve", "--data", data, "--http", "127.0.0.1:0", "--rtmp", "127.0.0.1:0", "--rtmps", "127.0.0.1:0").CombinedOutput()
		if err == nil || !strings.Contains(string(out), path) || !strings.Contains(string(out), says) || !strings.Contains(string(out), "delete it to have a new one made") {
			t.Errorf("with an empty file %s: %v, and it says\n%s", name, err, out)
		}
	}
}

// A server on a copy of another one's data folder, on the same database, is
// refused while the first is running, whose stream continues.
func TestCopiedDataFolder(t *testing.T) {
	t.Parallel()
	database := filepath.Join(t.TempDir(), "shared.db")
	s := startServer(t, "", "--database", database)
	channel, key := s.channel(awsivs.CreateChannelInput{Name: aws.String("untouched"), InsecureIngest: true})
	publish(t, rtmpURL(s.rtmp, key), append(append([]string{}, testInputs...), testCodecs...)...)
	stream := s.live(channel.Arn)

	copied := t.TempDir()
	content, err := os.ReadFile(filepath.Join(s.data, "node"))
	if err == nil {
		err = os.WriteFile(filepath.Join(copied, "node"), content, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	second := millrace("serve", "--data", copied, "--database", database, "--http", "127.0.0.1:0", "--rtmp", "127.0.0.1:0", "--rtmps", "127.0.0.1:0",
		"--access-key-id", testKey, "--secret-access-key", testSecret)
	second.Stdout, second.Stderr = &out, &out
	if err := second.Run(); err == nil || !strings.Contains(out.String(), "this folder is a copy") {
		t.Errorf("the second server: %v\n%s", err, out.String())
	}
	if now := s.live(channel.Arn); *now.StreamId != *stream.StreamId {
		t.Error("the first server's stream was cut")
	}
}
