package live

import (
	"sync"
	"time"

	"github.com/millrace/millrace/internal/audience"
	"github.com/millrace/millrace/internal/store"
)

// breachEvery is how often the breach of one account's quota is reported, however
// often it is tried.
const breachEvery = time.Minute

// A quotaName is a limit of an account and region.
type quotaName struct {
	scope store.Scope
	limit string
}

// accounts tracks how much of their quotas accounts and regions use. It forgets none: there
// are as many as have channels, and callers of the API create those. The zero accounts is
// ready.
type accounts struct {
	mu       sync.Mutex
	views    map[store.Scope]int              // guarded by mu; on all nodes, a second ago
	shares   map[store.Scope]*audience.Shares // guarded by mu; of client addresses in the views
	breached map[quotaName]time.Time          // guarded by mu; when its breach was last reported
}

func (a *accounts) setViews(views map[store.Scope]int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.views = views
}

func (a *accounts) viewsOf(scope store.Scope) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.views[scope]
}

// sharesOf returns the shares that all streams of an account and region have in
// common.
func (a *accounts) sharesOf(scope store.Scope, perAddress int) *audience.Shares {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.shares == nil {
		a.shares = map[store.Scope]*audience.Shares{}
	}
	if a.shares[scope] == nil {
		a.shares[scope] = &audience.Shares{PerAddress: perAddress}
	}
	return a.shares[scope]
}

// allowReport reports whether a breach at that time is to be reported, and counts it
// as reported if so.
func (a *accounts) allowReport(quota quotaName, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now.Sub(a.breached[quota]) < breachEvery {
		return false
	}
	if a.breached == nil {
		a.breached = map[quotaName]time.Time{}
	}
	a.breached[quota] = now
	return true
}
