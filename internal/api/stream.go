package api

import (
	"context"
	"errors"
	"slices"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
)

// streamInput is the request of operations on what a channel broadcasts now.
type streamInput struct {
	ChannelARN string `json:"channelArn"`
}

func (in *streamInput) check(c *checker) { c.arn("channelArn", in.ChannelARN, ivs.ChannelType) }

type getStreamOutput struct {
	Stream ivs.Stream `json:"stream"`
}

func (s *Server) getStream(ctx context.Context, _ store.Scope, in *streamInput) (*getStreamOutput, error) {
	st, err := s.Store.Stream(ctx, in.ChannelARN)
	st.PlaybackURL = s.Endpoints.PlaybackURL(in.ChannelARN)
	return &getStreamOutput{st}, err
}

// stopStream disconnects the encoder. One that reconnects by itself comes back as
// a new stream.
func (s *Server) stopStream(ctx context.Context, _ store.Scope, in *streamInput) (struct{}, error) {
	if _, err := s.Store.Stream(ctx, in.ChannelARN); err != nil {
		return struct{}{}, err
	}
	err := s.Live.StopStream(ctx, in.ChannelARN)
	if errors.Is(err, context.DeadlineExceeded) {
		err = ivs.Errorf(ivs.StreamUnavailable, "The stream of channel %s did not stop in time; try again", in.ChannelARN)
	}
	return struct{}{}, err
}

type listStreamsInput struct {
	FilterBy struct {
		Health *string `json:"health"`
	} `json:"filterBy"`
	pageMembers
}

func (in *listStreamsInput) check(c *checker) {
	c.oneOf("filterBy.health", in.FilterBy.Health, ivs.HealthHealthy, ivs.HealthStarving, ivs.HealthUnknown)
	c.page(in.pageMembers, 100)
}

type listStreamsOutput struct {
	Streams   []ivs.StreamSummary `json:"streams"`
	NextToken string              `json:"nextToken,omitempty"`
}

func (s *Server) listStreams(ctx context.Context, scope store.Scope, in *listStreamsInput) (*listStreamsOutput, error) {
	var health string
	set(&health, in.FilterBy.Health)
	list, next, err := s.Store.ListStreams(ctx, scope, health, in.page(100))
	return &listStreamsOutput{list, next}, err
}

type listStreamSessionsInput struct {
	ChannelARN string `json:"channelArn"`
	pageMembers
}

func (in *listStreamSessionsInput) check(c *checker) {
	c.arn("channelArn", in.ChannelARN, ivs.ChannelType)
	c.page(in.pageMembers, 100)
}

type listStreamSessionsOutput struct {
	StreamSessions []ivs.StreamSessionSummary `json:"streamSessions"`
	NextToken      string                     `json:"nextToken,omitempty"`
}

func (s *Server) listStreamSessions(ctx context.Context, _ store.Scope, in *listStreamSessionsInput) (*listStreamSessionsOutput, error) {
	list, next, err := s.Store.ListStreamSessions(ctx, in.ChannelARN, in.page(100))
	return &listStreamSessionsOutput{list, next}, err
}

type getStreamSessionInput struct {
	ChannelARN string  `json:"channelArn"`
	StreamID   *string `json:"streamId"` // absent means the latest
}

func (in *getStreamSessionInput) check(c *checker) {
	c.arn("channelArn", in.ChannelARN, ivs.ChannelType)
	c.streamID("streamId", in.StreamID)
}

type getStreamSessionOutput struct {
	StreamSession ivs.StreamSession `json:"streamSession"`
}

func (s *Server) getStreamSession(ctx context.Context, _ store.Scope, in *getStreamSessionInput) (*getStreamSessionOutput, error) {
	var id string
	set(&id, in.StreamID)
	session, err := s.Store.StreamSession(ctx, in.ChannelARN, id)
	s.Endpoints.Fill(&session.Channel)
	endedFirst(session.TruncatedEvents)
	return &getStreamSessionOutput{session}, err
}

// endedFirst puts Session Ended before a Stream End of the same second, as
// Amazon IVS does in its lists, which are newest first otherwise.
func endedFirst(events []ivs.StreamEvent) {
	named := func(name string) int {
		return slices.IndexFunc(events, func(e ivs.StreamEvent) bool { return e.Name == name })
	}
	end, ended := named(ivs.StreamEnd), named(ivs.SessionEnded)
	if end < 0 || ended < end || events[end].EventTime.Unix() != events[ended].EventTime.Unix() {
		return
	}
	e := events[ended]
	copy(events[end+1:ended+1], events[end:ended])
	events[end] = e
}
