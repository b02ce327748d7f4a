package main

import (
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"

	"github.com/millrace/millrace/internal/store/storetest"
)

// A server that is killed in the middle of a broadcast loses nothing that it
// acknowledged: after the restart the session is ended with its events and the
// channel can go live again.
func TestKillAndRestart(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"SQLite", "PostgreSQL"} {
		t.Run(engine, func(t *testing.T) {
			var flags []string
			if engine == "PostgreSQL" {
				flags = []string{"--database", storetest.Postgres(t)}
			}
			s := startServer(t, "", flags...)
			channel, key := s.channel(awsivs.CreateChannelInput{Name: aws.String("survivor"), InsecureIngest: true})
			publish(t, rtmpURL(s.rtmp, key), slices.Concat(testInputs, testCodecs)...)
			stream := s.live(channel.Arn)
			s.kill()

			s = startServer(t, s.data, flags...)
			t.Logf("start to ready with an existing database: %v", s.ready)
			out, err := s.ivs().GetChannel(t.Context(), &awsivs.GetChannelInput{Arn: channel.Arn})
			if err != nil || *out.Channel.Name != "survivor" {
				t.Fatalf("GetChannel after the restart: %v", err)
			}
			session := s.ended(channel.Arn, stream.StreamId)
			events := stateChanges(session)
			if want := []string{"Stream End", "Session Ended", "Stream Start", "Session Created"}; !slices.Equal(events, want) {
				t.Errorf("events %q, want %q", events, want)
			}
			publish(t, rtmpURL(s.rtmp, key), slices.Concat(testInputs, testCodecs)...)
			if again := s.live(channel.Arn); *again.StreamId == *stream.StreamId {
				t.Error("the new broadcast has the old stream id")
			}
		})
	}
}
