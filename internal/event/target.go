package event

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"

	"github.com/millrace/millrace/internal/ivs"
)

// A Target is a destination of events.
type Target struct {
	Name     string
	Kind     string // shown to operators
	Sender   Sender
	Parallel int // concurrent calls
	Batch    int // events of one stream per call

	sent, failed *atomic.Int64
}

// A Sender sends events. Its methods may be called concurrently.
type Sender interface {
	// Send delivers events in order. It returns how many were delivered, and, unless that
	// is all, why the next one was not: errRefused or errUnreachable if that is known.
	Send(ctx context.Context, events []ivs.Event) (sent int, err error)

	// Flush makes the events of earlier calls of Send durable. Only then do they count
	// as delivered.
	Flush() error
}

var (
	// errRefused means that the target rejects the event.
	errRefused = errors.New("refused")

	// errUnreachable means that the target would not accept any other event either.
	errUnreachable = errors.New("no answer")
)

// Options are common to all targets.
type Options struct {
	Region         string          // the region of event buses that specify none
	WebhookSecrets func() []string // as made by NewWebhookSecret; each signs every call
	AllowPrivate   bool            // allows webhooks to addresses of this machine and of private networks
}

var targetName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)

// ParseTarget parses NAME=PLACE. PLACE is http[s]://… for a webhook,
// eventbridge:BUS?region=…&endpoint=…&source=… for an event bus, file:PATH, or
// stdout.
func ParseTarget(ctx context.Context, text string, o Options) (Target, error) {
	name, place, ok := strings.Cut(text, "=")
	if !ok || !targetName.MatchString(name) {
		return Target{}, fmt.Errorf("event target %q: NAME=PLACE is wanted, with a name of 1 to 32 characters a-z, 0-9 and -", name)
	}
	t, err := parsePlace(ctx, place, o)
	if err != nil {
		return t, fmt.Errorf("event target %s: %w", name, err)
	}
	t.Name, t.sent, t.failed = name, new(atomic.Int64), new(atomic.Int64)
	return t, nil
}

func parsePlace(ctx context.Context, place string, o Options) (Target, error) {
	if place == "stdout" {
		s, err := newStdout()
		return Target{Kind: "stdout", Sender: s, Parallel: 1, Batch: 20}, err
	}
	u, err := url.Parse(place)
	if err != nil {
		return Target{}, errors.New("the place is not a valid URL") // the text of err may show a secret
	}
	switch u.Scheme {
	case "http", "https":
		w, err := newWebhook(u, o)
		return Target{Kind: "webhook", Sender: w, Parallel: 8, Batch: 1}, err
	case "eventbridge":
		b, err := newBus(ctx, u, o.Region)
		return Target{Kind: "eventbridge", Sender: b, Parallel: 16, Batch: 10}, err
	case "file":
		path := u.Opaque + u.Path
		if path == "" || u.Host != "" {
			return Target{}, errors.New("a file is file:PATH")
		}
		f, err := newFile(path)
		return Target{Kind: "file", Sender: f, Parallel: 1, Batch: 20}, err
	}
	return Target{}, errors.New("the place must be http://…, https://…, eventbridge:BUS, file:PATH or stdout")
}

// CheckNames returns an error if two targets have the same name: pending events are
// kept by name.
func CheckNames(targets []Target) error {
	seen := map[string]bool{}
	for _, t := range targets {
		if seen[t.Name] {
			return fmt.Errorf("two event targets have the name %s", t.Name)
		}
		seen[t.Name] = true
	}
	return nil
}

// Counts returns how many events have been delivered to t, and how many calls have
// failed, since the start.
func (t Target) Counts() (sent, failed int64) { return t.sent.Load(), t.failed.Load() }
