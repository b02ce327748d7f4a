package api

import (
	"context"
	"unicode/utf8"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
)

// A viewerSession is the request to revoke one viewer's sessions.
type viewerSession struct{ ivs.ViewerSession }

func (in *viewerSession) check(c *checker) {
	c.arn("channelArn", in.ChannelARN, ivs.ChannelType)
	in.checkViewer(c)
}

func (in *viewerSession) checkViewer(c *checker) {
	if n := utf8.RuneCountInString(in.ViewerID); n < 1 || n > 40 {
		c.fail("viewerId must have 1 to 40 characters, not %d", n)
	}
	c.within("viewerSessionVersionsLessThanOrEqualTo", &in.Version, 0, 1<<31-1) // the model's integer has 32 bits
}

// startViewerSessionRevocation ends the viewer's sessions up to a version, and
// refuses new ones with such tokens.
func (s *Server) startViewerSessionRevocation(ctx context.Context, _ store.Scope, in *viewerSession) (struct{}, error) {
	return struct{}{}, s.Store.RevokeViewer(ctx, in.ViewerSession, s.now())
}

type batchRevocationInput struct {
	ViewerSessions []viewerSession `json:"viewerSessions"`
}

func (in *batchRevocationInput) check(c *checker) {
	if n := len(in.ViewerSessions); n < 1 || n > 20 {
		c.fail("viewerSessions must have 1 to 20 items, not %d", n)
		return
	}
	for _, v := range in.ViewerSessions {
		if a, ok := ivs.ParseARN(v.ChannelARN); !ok || a.Type != ivs.ChannelType {
			c.fail("each channelArn of viewerSessions must be an ARN of the form arn:aws:ivs:<region>:<account>:%s/<id>", ivs.ChannelType)
		}
		v.checkViewer(c)
	}
}

type batchRevocationOutput struct {
	Errors []ivs.RevocationError `json:"errors"`
}

func (s *Server) batchStartViewerSessionRevocation(ctx context.Context, scope store.Scope, in *batchRevocationInput) (*batchRevocationOutput, error) {
	out := &batchRevocationOutput{Errors: []ivs.RevocationError{}}
	for _, v := range in.ViewerSessions {
		a, _ := ivs.ParseARN(v.ChannelARN)
		err := ivs.NoSuch(v.ChannelARN)
		if inScope(scope, a) {
			err = s.Store.RevokeViewer(ctx, v.ViewerSession, s.now())
		}
		switch {
		case ivs.Is(err, ivs.NotFound):
			out.Errors = append(out.Errors, ivs.RevocationError{ChannelARN: v.ChannelARN, ViewerID: v.ViewerID, Code: "404", Message: "resource not found"})
		case err != nil:
			return nil, err
		}
	}
	return out, nil
}
