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

// Serve has serve answer a request for what a Grant has opened, if Allow lets it;
// else nothing is answered, and the error is a *Refusal. If the grant's viewer is
// revoked meanwhile the answer is cut off: its context ends, what is being
// written fails, and the connection is closed, so that no half an answer passes
// for a whole one.
func (c *Control) Serve(w http.ResponseWriter, r *http.Request, channelARN string, g *Grant, serve func(*http.Request)) error {
	if g.ViewerID != "" {
		ctx, cancel := context.WithCancelCause(r.Context())
		defer cancel(nil)
		a := &answer{channelARN: channelARN, to: g.Identity, cut: func() {
			cancel(errRevoked)
			http.NewResponseController(w).SetWriteDeadline(time.Now()) // where there is none, nothing is cut
		}}
		c.answers.begin(a)
		defer func() {
			if c.answers.end(a) {
				panic(http.ErrAbortHandler)
			}
		}()
		r = r.WithContext(ctx)
	}
	// Whoever is revoked from here on is found among the answers.
	if err := c.Allow(channelARN, g, r.Header.Get("Origin"), true); err != nil {
		return err
	}
	serve(r)
	return nil
}

// answers are those that are being given to viewers with a name.
type answers struct {
	mu      sync.Mutex
	running map[*answer]struct{} // guarded by mu
}

type answer struct {
	channelARN string
	to         audience.Identity
	cut        func() // ends it; called with the lock, so never after end
}

func (s *answers) begin(a *answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == nil {
		s.running = map[*answer]struct{}{}
	}
	s.running[a] = struct{}{}
}

// end reports whether a was cut off.
func (s *answers) end(a *answer) (wasCut bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, running := s.running[a]
	delete(s.running, a)
	return !running
}

// cut cuts off the answers to whom a revocation concerns. It looks at all that
// are running: there are far more requests than revocations.
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
