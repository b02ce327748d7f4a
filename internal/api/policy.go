package api

import (
	"context"
	"strings"
	"unicode/utf8"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
)

// policyMembers are the members that the requests to create and to update a playback
// restriction policy share. Absent means the default to the one and unchanged to the
// other.
type policyMembers struct {
	AllowedCountries              *[]string `json:"allowedCountries"` // [] allows all, as in the next
	AllowedOrigins                *[]string `json:"allowedOrigins"`
	EnableStrictOriginEnforcement *bool     `json:"enableStrictOriginEnforcement"`
	Name                          *string   `json:"name"`
}

const (
	maxCountries = 200
	maxOrigins   = 5
	maxOriginLen = 256 // as the quota page has it; the model says 128
)

func (in *policyMembers) check(c *checker) {
	c.name("name", in.Name)
	if list := in.AllowedCountries; list != nil {
		if len(*list) > maxCountries {
			c.fail("allowedCountries must have at most %d items, not %d", maxCountries, len(*list))
		}
		for _, v := range *list {
			if len(v) != 2 || strings.Trim(v, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
				c.fail("each item of allowedCountries must be two capital letters, as in ISO 3166-1 alpha-2")
			}
		}
	}
	if list := in.AllowedOrigins; list != nil {
		if len(*list) > maxOrigins {
			c.fail("allowedOrigins must have at most %d items, not %d", maxOrigins, len(*list))
		}
		for _, v := range *list {
			if utf8.RuneCountInString(v) > maxOriginLen {
				c.fail("each item of allowedOrigins must be at most %d characters", maxOriginLen)
			}
		}
	}
}

func (in *policyMembers) apply(p *ivs.PlaybackRestrictionPolicy) error {
	set(&p.Name, in.Name)
	set(&p.AllowedCountries, in.AllowedCountries)
	set(&p.AllowedOrigins, in.AllowedOrigins)
	set(&p.EnableStrictOriginEnforcement, in.EnableStrictOriginEnforcement)
	return nil
}

type createPolicyInput struct {
	policyMembers
	Tags map[string]string `json:"tags"`
}

func (in *createPolicyInput) check(c *checker) {
	in.policyMembers.check(c)
	c.tags(in.Tags)
}

type policyOutput struct {
	PlaybackRestrictionPolicy ivs.PlaybackRestrictionPolicy `json:"playbackRestrictionPolicy"`
}

func (s *Server) createPlaybackRestrictionPolicy(ctx context.Context, scope store.Scope, in *createPolicyInput) (*policyOutput, error) {
	p := ivs.PlaybackRestrictionPolicy{ARN: newARN(scope, ivs.PlaybackRestrictionPolicyType),
		AllowedCountries: []string{}, AllowedOrigins: []string{}, Tags: cloneTags(in.Tags)}
	if err := in.apply(&p); err != nil {
		return nil, err
	}
	return &policyOutput{p}, s.Store.PlaybackRestrictionPolicies().Create(ctx, p, s.Quotas.playbackRestrictionPolicies(), false)
}

// policyInput is the request of operations on one policy.
type policyInput struct {
	ARN string `json:"arn"`
}

func (in *policyInput) check(c *checker) { c.arn("arn", in.ARN, ivs.PlaybackRestrictionPolicyType) }

func (s *Server) getPlaybackRestrictionPolicy(ctx context.Context, _ store.Scope, in *policyInput) (*policyOutput, error) {
	p, err := s.Store.PlaybackRestrictionPolicies().Get(ctx, in.ARN)
	return &policyOutput{p}, err
}

type updatePolicyInput struct {
	ARN string `json:"arn"`
	policyMembers
}

func (in *updatePolicyInput) check(c *checker) {
	c.arn("arn", in.ARN, ivs.PlaybackRestrictionPolicyType)
	in.policyMembers.check(c)
}

func (s *Server) updatePlaybackRestrictionPolicy(ctx context.Context, _ store.Scope, in *updatePolicyInput) (*policyOutput, error) {
	p, err := s.Store.PlaybackRestrictionPolicies().Update(ctx, in.ARN, in.apply)
	return &policyOutput{p}, err
}

func (s *Server) deletePlaybackRestrictionPolicy(ctx context.Context, _ store.Scope, in *policyInput) (noContent, error) {
	return noContent{}, s.Store.PlaybackRestrictionPolicies().Delete(ctx, in.ARN)
}

type listPoliciesOutput struct {
	PlaybackRestrictionPolicies []ivs.PlaybackRestrictionPolicy `json:"playbackRestrictionPolicies"`
	NextToken                   string                          `json:"nextToken,omitempty"`
}

func (s *Server) listPlaybackRestrictionPolicies(ctx context.Context, scope store.Scope, in *listInput) (*listPoliciesOutput, error) {
	list, next, err := s.Store.PlaybackRestrictionPolicies().List(ctx, scope, in.page(1)) // the model's default is 1
	return &listPoliciesOutput{list, next}, err
}
