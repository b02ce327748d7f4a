package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/internal/access"
	"github.com/millrace/millrace/internal/geoip"
	"github.com/millrace/millrace/internal/live"
	"github.com/millrace/millrace/internal/proxies"
	"github.com/millrace/millrace/internal/store"
)

// accessFlags control who may watch, and from where.
type accessFlags struct {
	GeoIP   string   `name:"geoip" type:"existingfile" placeholder:"FILE" help:"Database of countries in MaxMind's format, for the allowedCountries of playback restriction policies. It is read again when it changes. Default: every location is unknown, and allowed."`
	Proxies []string `name:"trusted-proxies" sep:"," placeholder:"CIDR" help:"Proxies whose X-Forwarded-For, Forwarded (HTTP) and PROXY protocol (HTTP, RTMP, RTMPS) headers are trusted, such as 10.0.0.0/8. Default: none."`
}

// trusted are the trusted proxies.
func (f accessFlags) trusted() (proxies.Trusted, error) {
	t, err := proxies.Parse(f.Proxies)
	if err != nil {
		return nil, fmt.Errorf("--trusted-proxies: %w", err)
	}
	return t, nil
}

// open returns the access control, for streams of at most longest, and what keeps it up
// to date.
func (f accessFlags) open(ctx context.Context, db *store.DB, hub *live.Hub, longest time.Duration, log *slog.Logger) (*access.Control, func(context.Context) error, error) {
	c := &access.Control{Store: db, Log: log, MaxStream: longest, EndViewer: hub.EndViewer}
	if err := c.Load(ctx); err != nil {
		return nil, nil, fmt.Errorf("reading the revocations of viewer sessions: %w", err)
	}
	if f.GeoIP == "" {
		return c, c.Run, nil
	}
	countries, err := geoip.Open(f.GeoIP, log)
	if err != nil {
		return nil, nil, fmt.Errorf("--geoip: %w", err)
	}
	c.Country = countries.Country
	run := func(ctx context.Context) error {
		g, ctx := errgroup.WithContext(ctx)
		g.Go(func() error { return c.Run(ctx) })
		g.Go(func() error { return countries.Run(ctx) })
		return g.Wait()
	}
	return c, run, nil
}
