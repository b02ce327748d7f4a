package api

import (
	"context"
	"maps"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
)

// channelMembers are the members that CreateChannel and UpdateChannel share. Absent means
// the default to the one and unchanged to the other.
type channelMembers struct {
	Name                         *string          `json:"name"`
	LatencyMode                  *string          `json:"latencyMode"`
	Type                         *string          `json:"type"`
	Authorized                   *bool            `json:"authorized"`
	RecordingConfigurationARN    *string          `json:"recordingConfigurationArn"` // "" detaches, as in the two below
	PlaybackRestrictionPolicyARN *string          `json:"playbackRestrictionPolicyArn"`
	AdConfigurationARN           *string          `json:"adConfigurationArn"`
	InsecureIngest               *bool            `json:"insecureIngest"`
	Preset                       *string          `json:"preset"` // "" means absent: it is what channels without a preset show
	Multitrack                   *multitrackInput `json:"multitrackInputConfiguration"`
	ContainerFormat              *string          `json:"containerFormat"`
}

// multitrackInput replaces the whole configuration. An absent enabled means
// false: that is how the Go SDK sends it.
type multitrackInput struct {
	Enabled           bool    `json:"enabled"`
	Policy            *string `json:"policy"`
	MaximumResolution *string `json:"maximumResolution"`
}

func (in *channelMembers) check(c *checker) {
	c.name("name", in.Name)
	c.oneOf("latencyMode", in.LatencyMode, ivs.LatencyLow, ivs.LatencyNormal)
	c.oneOf("type", in.Type, ivs.TypeBasic, ivs.TypeStandard, ivs.TypeAdvancedSD, ivs.TypeAdvancedHD)
	c.reference("recordingConfigurationArn", in.RecordingConfigurationARN, ivs.RecordingConfigurationType)
	c.reference("playbackRestrictionPolicyArn", in.PlaybackRestrictionPolicyARN, ivs.PlaybackRestrictionPolicyType)
	c.reference("adConfigurationArn", in.AdConfigurationARN, ivs.AdConfigurationType)
	if in.Preset != nil && *in.Preset != "" {
		c.oneOf("preset", in.Preset, ivs.PresetHigherBandwidth, ivs.PresetConstrainedBandwidth)
	}
	c.oneOf("containerFormat", in.ContainerFormat, ivs.ContainerTS, ivs.ContainerFMP4)
	if m := in.Multitrack; m != nil {
		c.oneOf("multitrackInputConfiguration.policy", m.Policy, ivs.MultitrackAllow, ivs.MultitrackRequire)
		c.oneOf("multitrackInputConfiguration.maximumResolution", m.MaximumResolution, ivs.ResolutionSD, ivs.ResolutionHD, ivs.ResolutionFullHD)
		if m.Enabled && (m.Policy == nil || m.MaximumResolution == nil) {
			c.fail("multitrackInputConfiguration.policy and multitrackInputConfiguration.maximumResolution are required when enabled is true")
		}
	}
}

// apply changes ch as in says, and checks what the members mean together.
func (in *channelMembers) apply(ch *ivs.Channel) error {
	set(&ch.Name, in.Name)
	set(&ch.LatencyMode, in.LatencyMode)
	set(&ch.Type, in.Type)
	set(&ch.Authorized, in.Authorized)
	set(&ch.RecordingConfigurationARN, in.RecordingConfigurationARN)
	set(&ch.PlaybackRestrictionPolicyARN, in.PlaybackRestrictionPolicyARN)
	set(&ch.AdConfigurationARN, in.AdConfigurationARN)
	set(&ch.InsecureIngest, in.InsecureIngest)
	set(&ch.ContainerFormat, in.ContainerFormat)
	if m := in.Multitrack; m != nil {
		ch.Multitrack = ivs.MultitrackInputConfiguration{Enabled: m.Enabled}
		set(&ch.Multitrack.Policy, m.Policy)
		set(&ch.Multitrack.MaximumResolution, m.MaximumResolution)
	}
	if err := in.applyPreset(ch); err != nil {
		return err
	}
	if ch.AdConfigurationARN != "" && ch.ContainerFormat == ivs.ContainerFMP4 {
		return ivs.Errorf(ivs.Validation, "adConfigurationArn requires the containerFormat TS")
	}
	return checkMultitrack(ch)
}

func set[T any](dst *T, v *T) {
	if v != nil {
		*dst = *v
	}
}

// applyPreset keeps to the rule that the ADVANCED types, and no others, have a
// preset: a change of type sets the default or clears it.
func (in *channelMembers) applyPreset(ch *ivs.Channel) error {
	given := in.Preset != nil && *in.Preset != ""
	switch {
	case !ivs.Advanced(ch.Type) && given:
		return ivs.Errorf(ivs.Validation, "preset applies only to the channel types ADVANCED_SD and ADVANCED_HD, not to %s", ch.Type)
	case !ivs.Advanced(ch.Type):
		ch.Preset = ""
	case given:
		ch.Preset = *in.Preset
	case ch.Preset == "":
		ch.Preset = ivs.PresetHigherBandwidth
	}
	return nil
}

func checkMultitrack(ch *ivs.Channel) error {
	switch {
	case !ch.Multitrack.Enabled:
		return nil
	case ch.Type != ivs.TypeStandard:
		return ivs.Errorf(ivs.Validation, "multitrackInputConfiguration.enabled requires the channel type STANDARD, not %s", ch.Type)
	case ch.ContainerFormat != ivs.ContainerFMP4:
		return ivs.Errorf(ivs.Validation, "multitrackInputConfiguration.enabled requires the containerFormat FRAGMENTED_MP4")
	}
	return nil
}

type createChannelInput struct {
	channelMembers
	Tags map[string]string `json:"tags"`
}

func (in *createChannelInput) check(c *checker) {
	in.channelMembers.check(c)
	c.tags(in.Tags)
}

type createChannelOutput struct {
	Channel   ivs.Channel   `json:"channel"`
	StreamKey ivs.StreamKey `json:"streamKey"`
}

// createChannel makes a channel and its key. The key gets the channel's tags.
func (s *Server) createChannel(ctx context.Context, scope store.Scope, in *createChannelInput) (*createChannelOutput, error) {
	ch := ivs.NewChannel(scope.Account, scope.Region)
	maps.Copy(ch.Tags, in.Tags)
	if err := in.apply(&ch); err != nil {
		return nil, err
	}
	key := ivs.NewStreamKey(scope.Account, scope.Region, ch.ARN)
	maps.Copy(key.Tags, in.Tags)
	if err := s.Store.CreateChannelWithin(ctx, ch, key, s.Quotas.channels()); err != nil {
		return nil, err
	}
	s.Endpoints.Fill(&ch)
	return &createChannelOutput{ch, key}, nil
}

// channelARNInput is the request of operations on one channel.
type channelARNInput struct {
	ARN string `json:"arn"`
}

func (in *channelARNInput) check(c *checker) { c.arn("arn", in.ARN, ivs.ChannelType) }

type channelOutput struct {
	Channel ivs.Channel `json:"channel"`
}

func (s *Server) getChannel(ctx context.Context, _ store.Scope, in *channelARNInput) (*channelOutput, error) {
	ch, err := s.Store.Channel(ctx, in.ARN)
	if err != nil {
		return nil, err
	}
	s.Endpoints.Fill(&ch)
	return &channelOutput{ch}, nil
}

type updateChannelInput struct {
	ARN string `json:"arn"`
	channelMembers
}

func (in *updateChannelInput) check(c *checker) {
	c.arn("arn", in.ARN, ivs.ChannelType)
	in.channelMembers.check(c)
}

func (s *Server) updateChannel(ctx context.Context, _ store.Scope, in *updateChannelInput) (*channelOutput, error) {
	ch, err := s.Store.UpdateChannel(ctx, in.ARN, in.apply)
	if err != nil {
		return nil, err
	}
	s.Endpoints.Fill(&ch)
	return &channelOutput{ch}, nil
}

func (s *Server) deleteChannel(ctx context.Context, _ store.Scope, in *channelARNInput) (noContent, error) {
	return noContent{}, s.Store.DeleteChannel(ctx, in.ARN)
}

type batchGetChannelInput struct {
	ARNs []string `json:"arns"`
}

func (in *batchGetChannelInput) check(c *checker) { c.arns("arns", in.ARNs, ivs.ChannelType) }

type batchGetChannelOutput struct {
	Channels []ivs.Channel    `json:"channels"`
	Errors   []ivs.BatchError `json:"errors,omitempty"`
}

func (s *Server) batchGetChannel(ctx context.Context, scope store.Scope, in *batchGetChannelInput) (*batchGetChannelOutput, error) {
	list, err := s.Store.Channels(ctx, owned(scope, in.ARNs))
	if err != nil {
		return nil, err
	}
	found := make(map[string]bool, len(list))
	for i := range list {
		s.Endpoints.Fill(&list[i])
		found[list[i].ARN] = true
	}
	return &batchGetChannelOutput{append([]ivs.Channel{}, list...), missing(in.ARNs, found)}, nil
}

// owned are those of arns, which are valid, that can be the caller's.
func owned(s store.Scope, arns []string) (own []string) {
	for _, arn := range arns {
		if a, _ := ivs.ParseARN(arn); inScope(s, a) {
			own = append(own, arn)
		}
	}
	return own
}

// missing reports each of arns that was not found, once.
func missing(arns []string, found map[string]bool) (errs []ivs.BatchError) {
	for _, arn := range arns {
		if !found[arn] {
			found[arn] = true
			errs = append(errs, ivs.BatchError{ARN: arn, Code: "404", Message: "resource not found"})
		}
	}
	return errs
}

type listChannelsInput struct {
	pageMembers
	ByName              string `json:"filterByName"` // "" is no filter, in all four
	ByRecording         string `json:"filterByRecordingConfigurationArn"`
	ByRestrictionPolicy string `json:"filterByPlaybackRestrictionPolicyArn"`
	ByAdConfiguration   string `json:"filterByAdConfigurationArn"`
}

func (in *listChannelsInput) check(c *checker) {
	c.page(in.pageMembers, 100)
	c.name("filterByName", &in.ByName)
	c.reference("filterByRecordingConfigurationArn", &in.ByRecording, ivs.RecordingConfigurationType)
	c.reference("filterByPlaybackRestrictionPolicyArn", &in.ByRestrictionPolicy, ivs.PlaybackRestrictionPolicyType)
	c.reference("filterByAdConfigurationArn", &in.ByAdConfiguration, ivs.AdConfigurationType)
	if in.filters() > 1 {
		c.clash = ivs.Errorf(ivs.Conflict, "At most one filter may be used")
	}
}

// filters is how many of the filters are used.
func (in *listChannelsInput) filters() (n int) {
	for _, f := range []string{in.ByName, in.ByRecording, in.ByRestrictionPolicy, in.ByAdConfiguration} {
		if f != "" {
			n++
		}
	}
	return n
}

type listChannelsOutput struct {
	Channels  []ivs.ChannelSummary `json:"channels"`
	NextToken string               `json:"nextToken,omitempty"`
}

func (s *Server) listChannels(ctx context.Context, scope store.Scope, in *listChannelsInput) (*listChannelsOutput, error) {
	list, next, err := s.Store.ListChannels(ctx, scope, store.ChannelFilter{
		Name:                         in.ByName,
		RecordingConfigurationARN:    in.ByRecording,
		PlaybackRestrictionPolicyARN: in.ByRestrictionPolicy,
		AdConfigurationARN:           in.ByAdConfiguration,
	}, in.page(100))
	return &listChannelsOutput{list, next}, err
}
