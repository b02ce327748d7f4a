package access

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/audience"
	"github.com/millrace/millrace/internal/store"
)

var errRevoked = errors.New("the viewer has been revoked")

// Serve calls serve for a request of a viewer session with a Grant, if Allow permits
// it; otherwise nothing is written, and the error is a *Refusal. If the viewer is
// revoked during the call, the response is aborted: its context ends, writes fail,
// and the connection is closed, so that the client does not take it for complete.
func (c *Control) Serve(w http.ResponseWriter, r *http.Request, channelARN string, g *Grant, serve func(*http.Request)) error {
	if g.ViewerID != "" {
		ctx, cancel := context.WithCancelCause(r.Context())
		defer cancel(nil)
		a := &answer{channelARN: channelARN, to: g.Identity, cut: func() {
			cancel(errRevoked)
			http.NewResponseController(w).SetWriteDeadline(time.Now()) // without support for it, the response ends by itself
		}}
		c.answers.begin(a)
		defer func() {
			if c.answers.end(a) {
				panic(http.ErrAbortHandler)
			}
		}()
		r = r.WithContext(ctx)
	}
	// From here on, a revocation finds this response among the answers.
	if err := c.Allow(channelARN, g, strictOrigin(r), true); err != nil {
		return err
	}
	serve(r)
	return nil
}

// answers are the responses in progress to viewers with an id.
type answers struct {
	mu      sync.Mutex
	running map[*answer]struct{} // guarded by mu
}

type answer struct {
	channelARN string
	to         audience.Identity
	cut        func() // aborts it; called with the lock, so never after end
}

func (s *answers) begin(a *answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == nil {
		s.running = map[*answer]struct{}{}
	}
	s.running[a] = struct{}{}
}

// end reports whether a was aborted.
func (s *answers) end(a *answer) (wasCut bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, running := s.running[a]
	delete(s.running, a)
	return !running
}

// cut aborts the responses that a revocation concerns. It checks all of them, because
// requests are far more frequent than revocations.
func (s *answers) cut(r store.Revocation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for a := range s.running {
		if a.to.ViewerID == r.ViewerID && a.channelARN == r.ChannelARN && a.to.Version <= int64(r.Version) {
			a.cut()
			delete(s.running, a)
		}
	}
}
