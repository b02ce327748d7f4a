package access

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
)

const (
	// policyAge is how long a policy is cached. A change made on this node takes
	// effect at once.
	policyAge = time.Second

	// maxPolicies bounds the cached policies.
	maxPolicies = 1000
)

// policies are the playback restriction policies of public channels with viewers.
type policies struct {
	reads singleflight.Group // concurrent requests share a read

	mu    sync.Mutex
	byARN map[string]policy // guarded by mu
}

type policy struct {
	ivs.PlaybackRestrictionPolicy
	read    time.Time
	changes uint64 // store.DB.ResourceChanges before it was read
}

// AllowPublic checks a request for a public channel against the policy of the
// channel. media is false for the multivariant playlist. The error is a *Refusal.
func (c *Control) AllowPublic(ctx context.Context, r Request, media bool) error {
	arn := r.Channel.PlaybackRestrictionPolicyARN
	if arn == "" {
		return nil
	}
	p, err := c.policies.get(ctx, c.Store, arn, time.Now())
	if err != nil {
		c.Log.Error("reading a playback restriction policy failed", "policy", arn, "error", err)
		return unavailable("the channel's playback restriction policy cannot be read now")
	}
	if media && !p.EnableStrictOriginEnforcement {
		return nil
	}
	if len(p.AllowedOrigins) > 0 {
		if err := checkOrigin(r.Origin, p.AllowedOrigins, p.EnableStrictOriginEnforcement, codeRestricted, "the channel's playback restriction policy"); err != nil {
			return err
		}
	}
	if media || len(p.AllowedCountries) == 0 {
		return nil
	}
	if c.Country == nil {
		c.noCountries.Do(func() {
			c.Log.Warn("allowedCountries has no effect: without a country database (--geoip) every location is unknown", "policy", arn)
		})
	}
	if country := c.CountryOf(r.Address); country != "" && !slices.Contains(p.AllowedCountries, country) {
		return refuse(codeRestricted, "the channel cannot be watched in %s: its playback restriction policy does not allow it", country)
	}
	return nil
}

// CountryOf returns the country of an address, or "" if it is unknown.
func (c *Control) CountryOf(address string) string {
	if c.Country == nil {
		return ""
	}
	return c.Country(address)
}

// get returns the policy. While the database does not answer, it returns the last
// known one.
func (p *policies) get(ctx context.Context, db *store.DB, arn string, now time.Time) (ivs.PlaybackRestrictionPolicy, error) {
	changes := db.ResourceChanges()
	p.mu.Lock()
	known, ok := p.byARN[arn]
	p.mu.Unlock()
	if ok && known.changes == changes && now.Sub(known.read) < policyAge && !now.Before(known.read) {
		return known.PlaybackRestrictionPolicy, nil
	}
	shared, err, _ := p.reads.Do(fmt.Sprint(arn, changes), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTime)
		defer cancel()
		return db.PlaybackRestrictionPolicies().Get(ctx, arn)
	})
	read, _ := shared.(ivs.PlaybackRestrictionPolicy)
	if err != nil {
		if ok && !ivs.Is(err, ivs.NotFound) {
			return known.PlaybackRestrictionPolicy, nil
		}
		return read, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byARN == nil || len(p.byARN) >= maxPolicies {
		p.byARN = map[string]policy{}
	}
	p.byARN[arn] = policy{read, now, changes}
	return read, nil
}
