package main

import (
	"context"
	"path/filepath"
	"time"

	"github.com/millrace/millrace/internal/api"
	"github.com/millrace/millrace/internal/event"
	"github.com/millrace/millrace/internal/monitor"
)

// eventFlags are where events go.
type eventFlags struct {
	EventTarget         []string      `name:"event-target" sep:" " placeholder:"NAME=PLACE" help:"Deliver every event to PLACE: a webhook http(s)://…, eventbridge:BUS?region=…&endpoint=…&source=…, file:PATH, or stdout. May be repeated (in the environment: separated by spaces)."`
	EventWebhookSecret  string        `name:"event-webhook-secret" secret:"" placeholder:"SECRET" help:"Signs webhooks (HMAC-SHA256, Standard Webhooks). Default: made when first needed and kept in the database, with a copy in the data folder."`
	EventWebhookPrivate bool          `name:"event-webhook-private" help:"Let webhooks go to loopback, private and link-local addresses."`
	EventMaxAge         time.Duration `name:"event-max-age" default:"24h" help:"Age at which an event that cannot be delivered becomes a dead letter, which can be sent again (${default})."`
}

// targets are the places of --event-target.
func (b base) targets(ctx context.Context) (targets []event.Target, err error) {
	c := b.cfg
	o := event.Options{Region: c.Region, AllowPrivate: c.EventWebhookPrivate}
	if len(c.EventTarget) > 0 {
		if o.WebhookSecrets, err = b.webhookSecrets(ctx); err != nil {
			return nil, err
		}
	}
	for _, text := range c.EventTarget {
		t, err := event.ParseTarget(ctx, text, o)
		if err != nil {
			return nil, err
		}
		targets = append(targets, t)
	}
	return targets, event.CheckNames(targets)
}

// webhookFile is the file of the data folder with the webhook secret.
const webhookFile = "webhook-secret"

// webhookSecrets returns the secrets that sign webhooks: that of the flag or, by default,
// those in the database, which all nodes share. The first node that needs one creates it,
// or takes it from its data folder.
func (b base) webhookSecrets(ctx context.Context) (func() []string, error) {
	if given := b.cfg.EventWebhookSecret; given != "" {
		return func() []string { return []string{given} }, nil
	}
	own, err := b.folder.keep(webhookFile, func() ([]byte, error) { return []byte(event.NewWebhookSecret()), nil }, func(content []byte) error {
		return event.CheckWebhookSecret(string(content))
	})
	if err != nil {
		return nil, err
	}
	shared, err := b.node.Secrets.Open(ctx, "webhook", func() string { return string(own) })
	if err != nil {
		return nil, err
	}
	if now := shared.Signing(); now != string(own) {
		b.log.Warn("the webhook secret in the data folder differed from that in the database, which is used and has replaced it", "file", webhookFile)
		if err := writeFile(filepath.Join(b.folder.path, webhookFile), []byte(now)); err != nil {
			return nil, err
		}
	}
	return func() []string { _, accepted := shared.Values(); return accepted }, nil
}

// eventCalls are the calls below /_millrace/events.
func (b base) eventCalls(done <-chan struct{}, watch *monitor.Handler) map[string]api.Extension {
	h := &event.Handler{Store: b.db, Done: done, Log: b.log, Channel: watch.Channel}
	return map[string]api.Extension{
		"GET /_millrace/events":                           h.Stream,
		"POST /_millrace/events/{id}/redeliver":           h.Redeliver,
		"GET /_millrace/events/targets":                   h.ListTargets,
		"POST /_millrace/events/targets/{name}/redeliver": h.RedeliverDead,
	}
}
