package api

import (
	"context"
	"time"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
)

// maxMetadata is the most text of one PutMetadata, in bytes of UTF-8.
const maxMetadata = 1024

type putMetadataInput struct {
	ChannelARN string `json:"channelArn"`
	Metadata   string `json:"metadata"`
}

func (in *putMetadataInput) check(c *checker) {
	c.arn("channelArn", in.ChannelARN, ivs.ChannelType)
	switch {
	case in.Metadata == "":
		c.missing("metadata")
	case len(in.Metadata) > maxMetadata:
		c.fail("Metadata size exceeds payload limit") // the words of AWS
	}
}

func (s *Server) putMetadata(ctx context.Context, _ store.Scope, in *putMetadataInput) (noContent, error) {
	if err := s.throttleMetadata(in.ChannelARN); err != nil {
		return noContent{}, err
	}
	if _, err := s.Store.Stream(ctx, in.ChannelARN); err != nil {
		return noContent{}, err
	}
	return noContent{}, s.Live.PutMetadata(ctx, in.ChannelARN, in.Metadata)
}

type insertAdBreakInput struct {
	ChannelARN      string `json:"channelArn"`
	DurationSeconds *int   `json:"durationSeconds"`
}

func (in *insertAdBreakInput) check(c *checker) {
	c.arn("channelArn", in.ChannelARN, ivs.ChannelType)
	if in.DurationSeconds == nil {
		c.missing("durationSeconds")
	}
	c.within("durationSeconds", in.DurationSeconds, 1, 300)
}

type insertAdBreakOutput struct {
	AdBreakID string `json:"adBreakId"`
}

// insertAdBreak is Conflict on a channel without an ad configuration: nothing
// would fill the break.
func (s *Server) insertAdBreak(ctx context.Context, _ store.Scope, in *insertAdBreakInput) (*insertAdBreakOutput, error) {
	if _, err := s.Store.Stream(ctx, in.ChannelARN); err != nil {
		return nil, err
	}
	ch, err := s.Store.Channel(ctx, in.ChannelARN)
	if err != nil {
		return nil, err
	}
	if ch.AdConfigurationARN == "" {
		return nil, ivs.Errorf(ivs.Conflict, "Channel %s has no ad configuration", in.ChannelARN)
	}
	id := ivs.NewID()
	return &insertAdBreakOutput{id}, s.Live.InsertAdBreak(ctx, in.ChannelARN, id, time.Duration(*in.DurationSeconds)*time.Second)
}
