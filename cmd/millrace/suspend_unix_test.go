//go:build unix

package main

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
)

// A server that was suspended for longer than a lease goes on with its streams:
// nobody else has taken them.
func TestSuspendedServerKeepsItsStreams(t *testing.T) {
	const (
		away   = 17 * time.Second // a lease is 15 s
		judged = 7 * time.Second  // leases are looked at every 5 s
	)
	t.Parallel() // it mostly waits
	s := startServer(t, "")
	channel, key := s.channel(awsivs.CreateChannelInput{Name: aws.String("suspended"), InsecureIngest: true})
	publish(t, rtmpURL(s.rtmp, key), slices.Concat(testInputs, testCodecs)...)
	stream := s.live(channel.Arn)

	pid := s.process.Process.Pid
	suspend(pid)
	t.Cleanup(func() { syscall.Kill(pid, syscall.SIGCONT) }) // so that it can be stopped
	time.Sleep(away)
	syscall.Kill(pid, syscall.SIGCONT)
	time.Sleep(judged)

	if again := s.live(channel.Arn); *again.StreamId != *stream.StreamId {
		t.Errorf("stream %s is live, want %s", *again.StreamId, *stream.StreamId)
	}
	out, err := s.ivs().GetStreamSession(t.Context(), &awsivs.GetStreamSessionInput{ChannelArn: channel.Arn, StreamId: stream.StreamId})
	if err != nil {
		t.Fatal(err)
	}
	if events := stateChanges(*out.StreamSession); !slices.Equal(events, []string{"Stream Start", "Session Created"}) || out.StreamSession.EndTime != nil {
		t.Errorf("events %q, ended %v: want the session to go on", events, out.StreamSession.EndTime)
	}
}
