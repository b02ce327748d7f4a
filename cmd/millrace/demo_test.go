package main

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
)

// The first minute of a new user: `millrace demo` prints where to look, there
// is something to see, and the broadcast comes back after StopStream.
func TestDemo(t *testing.T) {
	s := startCommand(t, "", "demo")
	line := s.waitLog("Playback")
	playback := line[strings.Index(line, "http://"):]
	waitPlayable(t, playback)
	for _, want := range []string{"Watch", "/console/#", `eval "$(`, "env --http", "aws ivs get-stream --channel-arn arn:aws:ivs:"} {
		if !strings.Contains(s.log.String(), want) {
			t.Errorf("the demo does not print %q:\n%s", want, s.log)
		}
	}
	channels, err := s.ivs().ListChannels(t.Context(), &awsivs.ListChannelsInput{FilterByName: aws.String("demo")})
	if err != nil || len(channels.Channels) != 1 {
		t.Fatalf("the channel demo: %v, %v", channels, err)
	}
	arn := channels.Channels[0].Arn
	first := s.live(arn)
	if _, err := s.ivs().StopStream(t.Context(), &awsivs.StopStreamInput{ChannelArn: arn}); err != nil {
		t.Fatal(err)
	}
	if second := s.live(arn); *second.StreamId == *first.StreamId {
		t.Error("the broadcast did not stop")
	}
}
