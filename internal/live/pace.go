package live

import (
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/ingest"
)

const (
	// freeSessions may begin with one stream key at once, and then one every
	// sessionEvery: each is a row with events that is kept for store.Retention,
	// and an encoder that fails and reconnects at once makes dozens a second.
	freeSessions = 10
	sessionEvery = 10 * time.Second

	// maxPaced bounds the stream keys that are remembered.
	maxPaced = 100_000
)

// A pacer bounds how often sessions begin with one stream key. The zero pacer is
// ready.
type pacer struct {
	mu   sync.Mutex
	paid map[string]time.Time // guarded by mu; by stream key: when the key may begin freeSessions at once again
}

// check returns a refusal with the time to wait if no session may begin now.
func (p *pacer) check(key string, now time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	wait := p.paid[key].Sub(now.Add((freeSessions - 1) * sessionEvery))
	if wait <= 0 {
		return nil
	}
	return ingest.Refuse(ingest.LimitExceeded, fmt.Sprintf("Too many streams have begun with this stream key, one after the other: wait %.0f seconds before the next, and find out why they end.", math.Ceil(wait.Seconds())))
}

// began counts a session.
func (p *pacer) began(key string, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paid == nil {
		p.paid = map[string]time.Time{}
	}
	from := p.paid[key]
	if from.Before(now) {
		p.tidy(now)
		from = now
	}
	p.paid[key] = from.Add(sessionEvery)
}

// tidy makes room for one more key. It forgets a few keys whose time in paid has passed,
// so that the number of keys stays near that of the keys in use. If there are still too
// many, it forgets others.
func (p *pacer) tidy(now time.Time) {
	looked := 0
	for key, paid := range p.paid {
		if looked++; looked > 8 && len(p.paid) < maxPaced {
			return
		}
		if paid.Before(now) || len(p.paid) >= maxPaced {
			delete(p.paid, key)
		}
	}
}
