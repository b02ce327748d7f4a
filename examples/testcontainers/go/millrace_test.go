// Package example has a test against Millrace in a container.
package example

import (
	"net"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ivs"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"
)

func TestChannel(t *testing.T) {
	ctx := t.Context()
	port := freePort(t) // playback URLs have it, so it is chosen before the container starts
	endpoint := "http://localhost:" + port
	millrace, err := testcontainers.GenericContainer(ctx, testcontainers.GenericContainerRequest{
		ContainerRequest: testcontainers.ContainerRequest{
			Image:        "ghcr.io/millrace/millrace:latest",
			Env:          map[string]string{"MILLRACE_AUTH": "off", "MILLRACE_PUBLIC_URL": endpoint},
			ExposedPorts: []string{port + ":8080/tcp", "1935/tcp"},
			WaitingFor:   wait.ForHTTP("/readyz").WithPort("8080/tcp"),
		},
		Started: true,
	})
	testcontainers.CleanupContainer(t, millrace)
	if err != nil {
		t.Fatal(err)
	}
	client := ivs.New(ivs.Options{
		Region: "us-west-2", BaseEndpoint: &endpoint,
		Credentials: credentials.NewStaticCredentialsProvider("000000000000", "any", ""), // with MILLRACE_AUTH off: the account
	})
	out, err := client.CreateChannel(ctx, &ivs.CreateChannelInput{Name: aws.String("test"), InsecureIngest: true})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(*out.Channel.PlaybackUrl, endpoint+"/") {
		t.Errorf("it is played at %s", *out.Channel.PlaybackUrl)
	}
	server, err := millrace.PortEndpoint(ctx, "1935/tcp", "rtmp")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("publish to %s/app/%s, play %s", server, *out.StreamKey.Value, *out.Channel.PlaybackUrl)
}

// freePort is a port of this machine that nothing listens on.
func freePort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}
