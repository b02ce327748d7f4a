package api

import (
	"context"
	"maps"

	"github.com/millrace/millrace/internal/ivs"
)

// checkResource requires r.arn to name something of the caller's that can have
// tags. What type that is, the store decides.
func checkResource(c *checker, r request) {
	a, ok := ivs.ParseARN(r.arn)
	if !ok {
		c.fail("resourceArn must be an ARN of the form arn:aws:ivs:<region>:<account>:<type>/<id>")
		return
	}
	c.scope = r.scope
	c.arn("resourceArn", r.arn, a.Type)
}

type tagsOutput struct {
	Tags map[string]string `json:"tags"`
}

func (s *Server) listTagsForResource(ctx context.Context, r request) (any, error) {
	var c checker
	checkResource(&c, r)
	if err := c.err(); err != nil {
		return nil, err
	}
	tags, err := s.Store.Tags(ctx, r.arn)
	return &tagsOutput{tags}, err
}

// tagResource adds tags, and replaces the values of keys that are there.
func (s *Server) tagResource(ctx context.Context, r request) (any, error) {
	var in struct {
		Tags map[string]string `json:"tags"`
	}
	if err := decode(r.body, &in); err != nil {
		return nil, err
	}
	var c checker
	checkResource(&c, r)
	if in.Tags == nil {
		c.fail("tags is required")
	}
	c.tags(in.Tags)
	if err := c.err(); err != nil {
		return nil, err
	}
	return struct{}{}, s.Store.UpdateTags(ctx, r.arn, func(tags map[string]string) error {
		maps.Copy(tags, in.Tags)
		if len(tags) > maxTags {
			return ivs.Errorf(ivs.Validation, "A resource can have at most %d tags", maxTags)
		}
		return nil
	})
}

// untagResource removes tags; keys that are not there are passed over.
func (s *Server) untagResource(ctx context.Context, r request) (any, error) {
	keys := r.query["tagKeys"]
	var c checker
	checkResource(&c, r)
	if len(keys) < 1 || len(keys) > maxTags {
		c.fail("tagKeys must have 1 to %d items, not %d", maxTags, len(keys))
	}
	for _, k := range keys {
		c.tagKey(k)
	}
	if err := c.err(); err != nil {
		return nil, err
	}
	return struct{}{}, s.Store.UpdateTags(ctx, r.arn, func(tags map[string]string) error {
		for _, k := range keys {
			delete(tags, k)
		}
		return nil
	})
}
