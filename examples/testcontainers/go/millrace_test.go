// Package example has a test against Millrace in a container. It needs the
// modules testcontainers-go and aws-sdk-go-v2/service/ivs.
package example

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ivs"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"
)

func TestChannel(t *testing.T) {
	ctx := t.Context()
	millrace, err := testcontainers.GenericContainer(ctx, testcontainers.GenericContainerRequest{
		ContainerRequest: testcontainers.ContainerRequest{
			Image:        "ghcr.io/millrace/millrace:latest",
			Env:          map[string]string{"MILLRACE_AUTH": "off"},
			ExposedPorts: []string{"8080/tcp", "1935/tcp"},
			WaitingFor:   wait.ForHTTP("/readyz").WithPort("8080/tcp"),
		},
		Started: true,
	})
	testcontainers.CleanupContainer(t, millrace)
	if err != nil {
		t.Fatal(err)
	}
	endpoint, err := millrace.PortEndpoint(ctx, "8080/tcp", "http")
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
	t.Log("publish to it with the stream key", *out.StreamKey.Value)
}
