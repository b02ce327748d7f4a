package api

import (
	"context"
	"maps"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
)

type createStreamKeyInput struct {
	ChannelARN string            `json:"channelArn"`
	Tags       map[string]string `json:"tags"`
}

func (in *createStreamKeyInput) check(c *checker) {
	c.arn("channelArn", in.ChannelARN, ivs.ChannelType)
	c.tags(in.Tags)
}

type streamKeyOutput struct {
	StreamKey ivs.StreamKey `json:"streamKey"`
}

func (s *Server) createStreamKey(ctx context.Context, scope store.Scope, in *createStreamKeyInput) (*streamKeyOutput, error) {
	k := ivs.NewStreamKey(scope.Account, scope.Region, in.ChannelARN)
	maps.Copy(k.Tags, in.Tags)
	if err := s.Store.CreateStreamKey(ctx, k); err != nil {
		return nil, err
	}
	return &streamKeyOutput{k}, nil
}

// keyARNInput is the request of operations on one stream key.
type keyARNInput struct {
	ARN string `json:"arn"`
}

func (in *keyARNInput) check(c *checker) { c.arn("arn", in.ARN, ivs.StreamKeyType) }

func (s *Server) getStreamKey(ctx context.Context, _ store.Scope, in *keyARNInput) (*streamKeyOutput, error) {
	k, err := s.Store.StreamKey(ctx, in.ARN)
	return &streamKeyOutput{k}, err
}

func (s *Server) deleteStreamKey(ctx context.Context, _ store.Scope, in *keyARNInput) (noContent, error) {
	return noContent{}, s.Store.DeleteStreamKey(ctx, in.ARN)
}

type batchGetStreamKeyInput struct {
	ARNs []string `json:"arns"`
}

func (in *batchGetStreamKeyInput) check(c *checker) { c.arns("arns", in.ARNs, ivs.StreamKeyType) }

type batchGetStreamKeyOutput struct {
	StreamKeys []ivs.StreamKey  `json:"streamKeys"`
	Errors     []ivs.BatchError `json:"errors,omitempty"`
}

func (s *Server) batchGetStreamKey(ctx context.Context, scope store.Scope, in *batchGetStreamKeyInput) (*batchGetStreamKeyOutput, error) {
	list, err := s.Store.StreamKeys(ctx, owned(scope, in.ARNs))
	if err != nil {
		return nil, err
	}
	found := make(map[string]bool, len(list))
	for _, k := range list {
		found[k.ARN] = true
	}
	return &batchGetStreamKeyOutput{append([]ivs.StreamKey{}, list...), missing(in.ARNs, found)}, nil
}

type listStreamKeysInput struct {
	ChannelARN string `json:"channelArn"`
	pageMembers
}

func (in *listStreamKeysInput) check(c *checker) {
	c.arn("channelArn", in.ChannelARN, ivs.ChannelType)
	c.page(in.pageMembers, 50)
}

type listStreamKeysOutput struct {
	StreamKeys []ivs.StreamKeySummary `json:"streamKeys"`
	NextToken  string                 `json:"nextToken,omitempty"`
}

func (s *Server) listStreamKeys(ctx context.Context, _ store.Scope, in *listStreamKeysInput) (*listStreamKeysOutput, error) {
	list, next, err := s.Store.ListStreamKeys(ctx, in.ChannelARN, in.page(1)) // the model's default is 1
	return &listStreamKeysOutput{list, next}, err
}
