package live

import (
	"errors"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/ingest"
)

// maxRefusals bounds the channels whose last refusal is kept.
const maxRefusals = 1000

// A Refused stream never went live, since its encoder sent what could not be.
type Refused struct {
	StreamID string
	At       time.Time
	Text     string // that the encoder was told
}

// refusals keep the last one of each channel, until a stream of it goes live or
// the node ends.
type refusals struct {
	mu   sync.Mutex
	last map[string]Refused // guarded by mu; by channel ARN
}

// note keeps why a session ended before it was live. Where too many are kept, one
// of them is given up.
func (r *refusals) note(s *Session, cause error) {
	var refusal *ingest.Refusal
	if s.visible() || !errors.As(cause, &refusal) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last == nil {
		r.last = map[string]Refused{}
	}
	for arn := range r.last {
		if len(r.last) < maxRefusals {
			break
		}
		delete(r.last, arn)
	}
	r.last[s.Channel.ARN] = Refused{s.StreamID, time.Now(), refusal.Text}
}

func (r *refusals) forget(arn string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.last, arn)
}

// Refused is why the last stream of a channel never went live; ok is false where it
// did, or where that is not known on this node.
func (h *Hub) Refused(arn string) (last Refused, ok bool) {
	h.refusals.mu.Lock()
	defer h.refusals.mu.Unlock()
	last, ok = h.refusals.last[arn]
	return last, ok
}
