package api

import (
	"context"
	"maps"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
)

// resourceInput is the request of operations on the tags of a resource, which
// the path names.
type resourceInput struct{ resourceARN string }

func (in *resourceInput) takeRoute(r request) { in.resourceARN = r.arn }

func (in *resourceInput) check(c *checker) { c.resource("resourceArn", in.resourceARN) }

type tagsOutput struct {
	Tags map[string]string `json:"tags"`
}

func (s *Server) listTagsForResource(ctx context.Context, _ store.Scope, in *resourceInput) (*tagsOutput, error) {
	tags, err := s.Store.Tags(ctx, in.resourceARN)
	return &tagsOutput{tags}, err
}

type tagResourceInput struct {
	resourceInput
	Tags map[string]string `json:"tags"`
}

func (in *tagResourceInput) check(c *checker) {
	in.resourceInput.check(c)
	if in.Tags == nil {
		c.missing("tags")
	}
	c.tags(in.Tags)
}

// tagResource adds tags, and replaces the values of keys that are there.
func (s *Server) tagResource(ctx context.Context, _ store.Scope, in *tagResourceInput) (struct{}, error) {
	return struct{}{}, s.Store.UpdateTags(ctx, in.resourceARN, func(tags map[string]string) error {
		maps.Copy(tags, in.Tags)
		if len(tags) > maxTags {
			return ivs.Errorf(ivs.Validation, "A resource can have at most %d tags", maxTags)
		}
		return nil
	})
}

type untagResourceInput struct {
	resourceInput
	tagKeys []string
}

func (in *untagResourceInput) takeRoute(r request) {
	in.resourceInput.takeRoute(r)
	in.tagKeys = queryValues(r.query, "tagKeys")
}

func (in *untagResourceInput) check(c *checker) {
	in.resourceInput.check(c)
	if n := len(in.tagKeys); n < 1 || n > maxTags { // the query of an empty list is that of none
		c.fail("tagKeys must have 1 to %d items, not %d", maxTags, n)
	}
	for _, k := range in.tagKeys {
		c.tagKey(k)
	}
}

// untagResource removes tags; keys that are not there are passed over.
func (s *Server) untagResource(ctx context.Context, _ store.Scope, in *untagResourceInput) (struct{}, error) {
	return struct{}{}, s.Store.UpdateTags(ctx, in.resourceARN, func(tags map[string]string) error {
		for _, k := range in.tagKeys {
			delete(tags, k)
		}
		return nil
	})
}
