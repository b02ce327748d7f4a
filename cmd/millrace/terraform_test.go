package main

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
	"github.com/aws/aws-sdk-go-v2/service/ivs/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// The calls of Terraform's AWS provider in its order, for a channel that
// records: apply, plan, apply a change, destroy. It waits for states, reads
// what it has made with its tags, and takes a resource for gone when it is not
// found.
func TestTerraformSequence(t *testing.T) {
	s := startServer(t, "")
	ctx, c := t.Context(), s.ivs()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	gone := func(err error) bool {
		_, ok := errors.AsType[*types.ResourceNotFoundException](err)
		if err != nil && !ok {
			t.Fatal(err)
		}
		return ok
	}
	identity, err := sts.New(sts.Options{Region: "us-west-2", BaseEndpoint: aws.String(s.api),
		Credentials: credentials.NewStaticCredentialsProvider(testKey, testSecret, "")}).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	must(err)
	if *identity.Account != "000000000000" {
		t.Errorf("the account is %s", *identity.Account)
	}

	// apply
	tags := map[string]string{"terraform": "yes"}
	made, err := c.CreateRecordingConfiguration(ctx, &awsivs.CreateRecordingConfigurationInput{Name: aws.String("terraform"), Tags: tags,
		DestinationConfiguration: &types.DestinationConfiguration{S3: &types.S3DestinationConfiguration{BucketName: aws.String("terraform-recordings")}}})
	must(err)
	rec := made.RecordingConfiguration.Arn
	wait(t, "the recording configuration to be ACTIVE", func() bool {
		got, err := c.GetRecordingConfiguration(ctx, &awsivs.GetRecordingConfigurationInput{Arn: rec})
		must(err)
		if state := got.RecordingConfiguration.State; state != types.RecordingConfigurationStateCreating && state != types.RecordingConfigurationStateActive {
			t.Fatalf("the recording configuration is %s", state)
		}
		return got.RecordingConfiguration.State == types.RecordingConfigurationStateActive
	})
	if _, err := os.Stat(filepath.Join(s.data, "buckets", "terraform-recordings")); err != nil {
		t.Error(err)
	}
	created, err := c.CreateChannel(ctx, &awsivs.CreateChannelInput{Name: aws.String("terraform"), RecordingConfigurationArn: rec, Tags: tags})
	must(err)
	arn := created.Channel.Arn

	// plan: what is read is what was written
	read := func(name string) {
		t.Helper()
		got, err := c.GetChannel(ctx, &awsivs.GetChannelInput{Arn: arn})
		must(err)
		if ch := got.Channel; *ch.Name != name || *ch.RecordingConfigurationArn != *rec || ch.Type != types.ChannelTypeStandardChannelType ||
			ch.LatencyMode != types.ChannelLatencyModeLowLatency || ch.Authorized || *ch.PlaybackUrl != *created.Channel.PlaybackUrl {
			t.Errorf("GetChannel = %+v", ch)
		}
		for _, resource := range []*string{rec, arn} {
			list, err := c.ListTagsForResource(ctx, &awsivs.ListTagsForResourceInput{ResourceArn: resource})
			must(err)
			if !maps.Equal(list.Tags, tags) {
				t.Errorf("%s has tags %v, want %v", *resource, list.Tags, tags)
			}
		}
	}
	read("terraform")
	keys, err := c.ListStreamKeys(ctx, &awsivs.ListStreamKeysInput{ChannelArn: arn})
	must(err)
	key, err := c.GetStreamKey(ctx, &awsivs.GetStreamKeyInput{Arn: keys.StreamKeys[0].Arn})
	must(err)
	if *key.StreamKey.Value != *created.StreamKey.Value {
		t.Errorf("the key is %+v", key.StreamKey)
	}

	// apply a change
	_, err = c.UpdateChannel(ctx, &awsivs.UpdateChannelInput{Arn: arn, Name: aws.String("changed")})
	must(err)
	tags = map[string]string{"terraform": "still"}
	for _, resource := range []*string{rec, arn} {
		_, err = c.TagResource(ctx, &awsivs.TagResourceInput{ResourceArn: resource, Tags: tags})
		must(err)
	}
	read("changed")

	// destroy
	if _, err := c.DeleteRecordingConfiguration(ctx, &awsivs.DeleteRecordingConfigurationInput{Arn: rec}); err == nil {
		t.Error("a recording configuration that is in use is deleted")
	}
	_, err = c.DeleteChannel(ctx, &awsivs.DeleteChannelInput{Arn: arn})
	must(err)
	if _, err := c.GetChannel(ctx, &awsivs.GetChannelInput{Arn: arn}); !gone(err) {
		t.Error("the channel is still there")
	}
	_, err = c.DeleteRecordingConfiguration(ctx, &awsivs.DeleteRecordingConfigurationInput{Arn: rec})
	must(err)
	if _, err := c.GetRecordingConfiguration(ctx, &awsivs.GetRecordingConfigurationInput{Arn: rec}); !gone(err) {
		t.Error("the recording configuration is still there")
	}
	if _, err := c.DeleteChannel(ctx, &awsivs.DeleteChannelInput{Arn: arn}); !gone(err) {
		t.Error("a channel is deleted twice")
	}
}
