package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"

	"github.com/millrace/millrace/internal/httplimit"
)

// Signed calls work where an endpoint URL ends in a slash, so that paths begin
// with two, and with the longest query that there can be. Headers of that size
// are refused elsewhere.
func TestAddressesOfCalls(t *testing.T) {
	s := startServer(t, "")
	keys := make([]string, 50) // of 128 characters, which take 9 bytes each on the wire
	tags := map[string]string{}
	for i := range keys {
		keys[i] = strings.Repeat("語", 126) + fmt.Sprintf("%02d", i)
		tags[keys[i]] = "x"
	}
	channel, _ := s.channel(awsivs.CreateChannelInput{Tags: tags})
	arn := aws.ToString(channel.Arn)
	slashed := func(o *awsivs.Options) { o.BaseEndpoint = aws.String(s.api + "//") }
	list := func(options ...func(*awsivs.Options)) int {
		t.Helper()
		out, err := s.ivs().ListTagsForResource(t.Context(), &awsivs.ListTagsForResourceInput{ResourceArn: &arn}, options...)
		if err != nil {
			t.Fatal(err)
		}
		return len(out.Tags)
	}
	if n := list(slashed); n != len(keys) {
		t.Errorf("%d tags, want %d", n, len(keys))
	}
	if out, err := s.ivs().GetChannel(t.Context(), &awsivs.GetChannelInput{Arn: &arn}, slashed); err != nil || *out.Channel.Arn != arn {
		t.Errorf("GetChannel: %v", err)
	}
	if _, err := s.ivs().UntagResource(t.Context(), &awsivs.UntagResourceInput{ResourceArn: &arn, TagKeys: keys}); err != nil {
		t.Errorf("UntagResource: %v", err)
	}
	if n := list(); n != 0 {
		t.Errorf("%d tags are left", n)
	}
	for name, length := range map[string]int{"/healthz": httplimit.MaxHeader2, "/tags/" + arn: httplimit.MaxHeader2, "/ListChannels": httplimit.MaxHeader1} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.api+name, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Long", strings.Repeat("x", length))
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("%s with %d bytes of headers = %d", name, length, answer.StatusCode)
		}
	}
}
