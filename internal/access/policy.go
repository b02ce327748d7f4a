package access

import (
	"context"
	"slices"

	"github.com/millrace/millrace/internal/ivs"
)

// AllowPublic checks a request for a public channel against the policy of the
// channel. media is false for the multivariant playlist. The error is a *Refusal.
func (c *Control) AllowPublic(ctx context.Context, r Request, media bool) error {
	arn := r.Channel.PlaybackRestrictionPolicyARN
	if arn == "" {
		return nil
	}
	p, err := c.policies.get(ctx, c.Store, arn, false, func(ctx context.Context) (ivs.PlaybackRestrictionPolicy, error) {
		return c.Store.PlaybackRestrictionPolicies().Get(ctx, arn)
	})
	if err != nil {
		c.Log.Error("reading a playback restriction policy failed", "policy", arn, "error", err)
		return unavailable("the channel's playback restriction policy cannot be read now")
	}
	if media && !p.EnableStrictOriginEnforcement {
		return nil
	}
	if len(p.AllowedOrigins) > 0 {
		if err := checkOrigin(r.origin(p.EnableStrictOriginEnforcement), p.AllowedOrigins, p.EnableStrictOriginEnforcement, codeRestricted, "the channel's playback restriction policy"); err != nil {
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
