package api

import (
	"context"
	"strings"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
)

// adMembers are the members that the requests to create and to update an ad configuration
// share.
type adMembers struct {
	Name        *string                                 `json:"name"`
	MediaTailor *[]ivs.MediaTailorPlaybackConfiguration `json:"mediaTailorPlaybackConfigurations"`
	PostRoll    *struct {
		Enabled         *bool `json:"enabled"`
		DurationSeconds *int  `json:"durationSeconds"`
	} `json:"postRollConfiguration"`
}

func (in *adMembers) check(c *checker) {
	c.name("name", in.Name)
	if list := in.MediaTailor; list != nil {
		if len(*list) < 1 || len(*list) > 3 {
			c.fail("mediaTailorPlaybackConfigurations must have 1 to 3 items, not %d", len(*list))
		}
		for _, m := range *list {
			if !isMediaTailorARN(m.ARN) {
				c.fail("each playbackConfigurationArn of mediaTailorPlaybackConfigurations must be an ARN of the form arn:aws:mediatailor:<region>:<account>:playbackConfiguration/<id>")
			}
		}
	}
	if p := in.PostRoll; p != nil {
		if p.Enabled == nil || p.DurationSeconds == nil {
			c.fail("postRollConfiguration.enabled and postRollConfiguration.durationSeconds are both required")
		}
		c.within("postRollConfiguration.durationSeconds", p.DurationSeconds, 1, 300)
	}
}

// isMediaTailorARN keeps to the model's pattern. Nothing is asked of
// MediaTailor itself.
func isMediaTailorARN(s string) bool {
	rest, ok := strings.CutPrefix(s, "arn:aws:mediatailor:")
	if !ok || !strings.Contains(rest, ":playbackConfiguration/") {
		return false
	}
	_, ok = ivs.ParseARN("arn:aws:ivs:" + strings.Replace(rest, ":playbackConfiguration/", ":playback-configuration/", 1))
	return ok && len(s) <= ivs.MaxARNLen
}

func (in *adMembers) apply(a *ivs.AdConfiguration) error {
	set(&a.Name, in.Name)
	set(&a.MediaTailor, in.MediaTailor)
	if p := in.PostRoll; p != nil {
		a.PostRoll = ivs.PostRollConfiguration{Enabled: *p.Enabled, DurationSeconds: *p.DurationSeconds}
	}
	return nil
}

type createAdConfigurationInput struct {
	adMembers
	Tags map[string]string `json:"tags"`
}

func (in *createAdConfigurationInput) check(c *checker) {
	if in.MediaTailor == nil {
		c.missing("mediaTailorPlaybackConfigurations")
	}
	in.adMembers.check(c)
	c.tags(in.Tags)
}

type adConfigurationOutput struct {
	AdConfiguration ivs.AdConfiguration `json:"adConfiguration"`
}

func (s *Server) createAdConfiguration(ctx context.Context, scope store.Scope, in *createAdConfigurationInput) (*adConfigurationOutput, error) {
	a := ivs.AdConfiguration{ARN: newARN(scope, ivs.AdConfigurationType), PostRoll: ivs.DefaultPostRoll, Tags: cloneTags(in.Tags)}
	if err := in.apply(&a); err != nil {
		return nil, err
	}
	return &adConfigurationOutput{a}, s.Store.AdConfigurations().Create(ctx, a, s.Quotas.adConfigurations(), false)
}

// adConfigurationInput is the request of operations on one ad configuration.
type adConfigurationInput struct {
	ARN string `json:"arn"`
}

func (in *adConfigurationInput) check(c *checker) { c.arn("arn", in.ARN, ivs.AdConfigurationType) }

func (s *Server) getAdConfiguration(ctx context.Context, _ store.Scope, in *adConfigurationInput) (*adConfigurationOutput, error) {
	a, err := s.Store.AdConfigurations().Get(ctx, in.ARN)
	return &adConfigurationOutput{a}, err
}

type updateAdConfigurationInput struct {
	ARN string `json:"arn"`
	adMembers
}

func (in *updateAdConfigurationInput) check(c *checker) {
	c.arn("arn", in.ARN, ivs.AdConfigurationType)
	in.adMembers.check(c)
}

func (s *Server) updateAdConfiguration(ctx context.Context, _ store.Scope, in *updateAdConfigurationInput) (*adConfigurationOutput, error) {
	a, err := s.Store.AdConfigurations().Update(ctx, in.ARN, in.apply)
	return &adConfigurationOutput{a}, err
}

func (s *Server) deleteAdConfiguration(ctx context.Context, _ store.Scope, in *adConfigurationInput) (noContent, error) {
	return noContent{}, s.Store.AdConfigurations().Delete(ctx, in.ARN)
}

type listAdConfigurationsOutput struct {
	AdConfigurations []ivs.AdConfiguration `json:"adConfigurations"`
	NextToken        string                `json:"nextToken,omitempty"`
}

func (s *Server) listAdConfigurations(ctx context.Context, scope store.Scope, in *listInput) (*listAdConfigurationsOutput, error) {
	list, next, err := s.Store.AdConfigurations().List(ctx, scope, in.page(min(s.Quotas.adConfigurations(), 100)))
	return &listAdConfigurationsOutput{list, next}, err
}
