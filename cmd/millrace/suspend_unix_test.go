//go:build unix

package main

import (
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"

	"github.com/millrace/millrace/internal/store"
)

// A server that was suspended for longer than a lease continues its streams:
// no other node has taken them.
func TestSuspendedServerKeepsItsStreams(t *testing.T) {
	const away = 17 * time.Second // a lease is 15 s
	t.Parallel()                  // it mostly waits
	s := startServer(t, "")
	channel, key := s.channel(awsivs.CreateChannelInput{Name: aws.String("suspended"), InsecureIngest: true})
	publish(t, rtmpURL(s.rtmp, key), slices.Concat(testInputs, testCodecs)...)
	stream := s.live(channel.Arn)

	renewals := s.renewals(*stream.StreamId)

	pid := s.process.Process.Pid
	suspend(pid)
	t.Cleanup(func() { syscall.Kill(pid, syscall.SIGCONT) }) // so that it can be stopped
	time.Sleep(away)
	syscall.Kill(pid, syscall.SIGCONT)
	const judged = 5 // a lease that is not renewed is watched for 15 s, and leases are renewed and looked at every 5 s
	before := renewals()
	wait(t, "the lease to be renewed for longer than it lasts", func() bool { return renewals() >= before+judged })

	if again := s.live(channel.Arn); *again.StreamId != *stream.StreamId {
		t.Errorf("stream %s is live, want %s", *again.StreamId, *stream.StreamId)
	}
	out, err := s.ivs().GetStreamSession(t.Context(), &awsivs.GetStreamSessionInput{ChannelArn: channel.Arn, StreamId: stream.StreamId})
	if err != nil {
		t.Fatal(err)
	}
	if events := stateChanges(*out.StreamSession); !slices.Equal(events, []string{"Stream Start", "Session Created"}) || out.StreamSession.EndTime != nil {
		t.Errorf("events %q, ended %v: want the session to continue", events, out.StreamSession.EndTime)
	}
}

// renewals counts how often the lease of a session has been renewed. The session
// must not have ended.
func (s *server) renewals(streamID string) (count func() int64) {
	s.t.Helper()
	db, err := store.Open(s.t.Context(), filepath.Join(s.data, "millrace.db"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { db.Close() })
	return func() int64 {
		open, err := db.OpenSessions(s.t.Context())
		i := slices.IndexFunc(open, func(o store.OpenSession) bool { return o.StreamID == streamID })
		if err != nil || i < 0 {
			s.t.Fatalf("open sessions %v, %v, want %s", open, err, streamID)
		}
		return open[i].Renewals
	}
}
