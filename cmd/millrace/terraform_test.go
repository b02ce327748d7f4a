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
	p := &provider{server: startServer(t, "")}
	p.checkAccount()
	tags := map[string]string{"terraform": "yes"}
	p.apply(tags)
	p.plan("terraform", tags)
	tags = map[string]string{"terraform": "still"}
	p.change("changed", tags)
	p.plan("changed", tags)
	p.destroy()
}

// A provider makes the calls of Terraform's, with a channel that records.
type provider struct {
	*server
	created *awsivs.CreateChannelOutput
	rec     *string // ARN of the recording configuration
}

func (p *provider) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// gone reports whether an error says that there is no such resource.
func (p *provider) gone(err error) bool {
	_, ok := errors.AsType[*types.ResourceNotFoundException](err)
	if err != nil && !ok {
		p.t.Fatal(err)
	}
	return ok
}

func (p *provider) checkAccount() {
	identity, err := sts.New(sts.Options{Region: "us-west-2", BaseEndpoint: aws.String(p.api),
		Credentials: credentials.NewStaticCredentialsProvider(testKey, testSecret, "")}).GetCallerIdentity(p.t.Context(), &sts.GetCallerIdentityInput{})
	p.must(err)
	if *identity.Account != "000000000000" {
		p.t.Errorf("the account is %s", *identity.Account)
	}
}

func (p *provider) apply(tags map[string]string) {
	ctx := p.t.Context()
	made, err := p.ivs().CreateRecordingConfiguration(ctx, &awsivs.CreateRecordingConfigurationInput{Name: aws.String("terraform"), Tags: tags,
		DestinationConfiguration: &types.DestinationConfiguration{S3: &types.S3DestinationConfiguration{BucketName: aws.String("terraform-recordings")}}})
	p.must(err)
	p.rec = made.RecordingConfiguration.Arn
	wait(p.t, "the recording configuration to be ACTIVE", func() bool {
		got, err := p.ivs().GetRecordingConfiguration(ctx, &awsivs.GetRecordingConfigurationInput{Arn: p.rec})
		p.must(err)
		if state := got.RecordingConfiguration.State; state != types.RecordingConfigurationStateCreating && state != types.RecordingConfigurationStateActive {
			p.t.Fatalf("the recording configuration is %s", state)
		}
		return got.RecordingConfiguration.State == types.RecordingConfigurationStateActive
	})
	if _, err := os.Stat(filepath.Join(p.data, "buckets", "terraform-recordings")); err != nil {
		p.t.Error(err)
	}
	p.created, err = p.ivs().CreateChannel(ctx, &awsivs.CreateChannelInput{Name: aws.String("terraform"), RecordingConfigurationArn: p.rec, Tags: tags})
	p.must(err)
}

// plan reads what was written.
func (p *provider) plan(name string, tags map[string]string) {
	p.t.Helper()
	ctx, arn := p.t.Context(), p.created.Channel.Arn
	got, err := p.ivs().GetChannel(ctx, &awsivs.GetChannelInput{Arn: arn})
	p.must(err)
	if ch := got.Channel; *ch.Name != name || *ch.RecordingConfigurationArn != *p.rec || ch.Type != types.ChannelTypeStandardChannelType ||
		ch.LatencyMode != types.ChannelLatencyModeLowLatency || ch.Authorized || *ch.PlaybackUrl != *p.created.Channel.PlaybackUrl {
		p.t.Errorf("GetChannel = %+v", ch)
	}
	for _, resource := range []*string{p.rec, arn} {
		list, err := p.ivs().ListTagsForResource(ctx, &awsivs.ListTagsForResourceInput{ResourceArn: resource})
		p.must(err)
		if !maps.Equal(list.Tags, tags) {
			p.t.Errorf("%s has tags %v, want %v", *resource, list.Tags, tags)
		}
	}
	keys, err := p.ivs().ListStreamKeys(ctx, &awsivs.ListStreamKeysInput{ChannelArn: arn})
	p.must(err)
	key, err := p.ivs().GetStreamKey(ctx, &awsivs.GetStreamKeyInput{Arn: keys.StreamKeys[0].Arn})
	p.must(err)
	if *key.StreamKey.Value != *p.created.StreamKey.Value {
		p.t.Errorf("the key is %+v", key.StreamKey)
	}
}

func (p *provider) change(name string, tags map[string]string) {
	arn := p.created.Channel.Arn
	_, err := p.ivs().UpdateChannel(p.t.Context(), &awsivs.UpdateChannelInput{Arn: arn, Name: &name})
	p.must(err)
	for _, resource := range []*string{p.rec, arn} {
		_, err = p.ivs().TagResource(p.t.Context(), &awsivs.TagResourceInput{ResourceArn: resource, Tags: tags})
		p.must(err)
	}
}

func (p *provider) destroy() {
	ctx, c, arn := p.t.Context(), p.ivs(), p.created.Channel.Arn
	if _, err := c.DeleteRecordingConfiguration(ctx, &awsivs.DeleteRecordingConfigurationInput{Arn: p.rec}); err == nil {
		p.t.Error("a recording configuration that is in use is deleted")
	}
	_, err := c.DeleteChannel(ctx, &awsivs.DeleteChannelInput{Arn: arn})
	p.must(err)
	if _, err := c.GetChannel(ctx, &awsivs.GetChannelInput{Arn: arn}); !p.gone(err) {
		p.t.Error("the channel is still there")
	}
	_, err = c.DeleteRecordingConfiguration(ctx, &awsivs.DeleteRecordingConfigurationInput{Arn: p.rec})
	p.must(err)
	if _, err := c.GetRecordingConfiguration(ctx, &awsivs.GetRecordingConfigurationInput{Arn: p.rec}); !p.gone(err) {
		p.t.Error("the recording configuration is still there")
	}
	if _, err := c.DeleteChannel(ctx, &awsivs.DeleteChannelInput{Arn: arn}); !p.gone(err) {
		p.t.Error("a channel is deleted twice")
	}
}
