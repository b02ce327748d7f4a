package cluster

import (
	"context"
	"crypto/rand"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/store"
)

const (
	// rereadEvery is how often nodes look whether a secret was rotated.
	rereadEvery = 5 * time.Second

	// overlap is how long after a rotation the previous value still signs: by then all
	// nodes have read the new one.
	overlap = 4 * rereadEvery

	// previousTime is for how long after a rotation the previous value is accepted:
	// longer than most streams last.
	previousTime = 72 * time.Hour
)

// Secrets are the secrets that all nodes share, kept in the database.
type Secrets struct {
	store *store.DB
	log   *slog.Logger

	mu   sync.Mutex
	open map[string]*Secret // guarded by mu
}

// A Secret may be read by any goroutine; a rotation on any node takes effect here within
// seconds.
type Secret struct {
	name   string
	create func() string
	taken  func(accepted []string) // called with each new value; may be nil
	value  atomic.Pointer[value]
}

// A value lists the accepted values of a secret; the first one signs.
type value []string

func newValue(kept store.Secret) value {
	switch {
	case kept.Previous == "" || kept.Age >= previousTime:
		return value{kept.Value}
	case kept.Age < overlap:
		return value{kept.Previous, kept.Value}
	}
	return value{kept.Value, kept.Previous}
}

// NewSecret returns a random value that cannot be guessed.
func NewSecret() string { return rand.Text() + rand.Text() }

// Open returns the secret of that name. The first call on any node sets its value to the
// result of create.
func (s *Secrets) Open(ctx context.Context, name string, create func() string) (*Secret, error) {
	return s.Follow(ctx, name, create, nil)
}

// Follow is Open for the first who opens the secret: taken is called with what is accepted,
// that to use first, now and whenever it changes.
func (s *Secrets) Follow(ctx context.Context, name string, create func() string, taken func(accepted []string)) (*Secret, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.open[name]; known != nil {
		return known, nil
	}
	secret := &Secret{name: name, create: create, taken: taken}
	if err := s.read(ctx, secret); err != nil {
		return nil, err
	}
	if s.open == nil {
		s.open = map[string]*Secret{}
	}
	s.open[name] = secret
	return secret, nil
}

func (s *Secrets) read(ctx context.Context, secret *Secret) error {
	kept, err := s.store.Secret(ctx, secret.name, secret.create)
	if err != nil {
		return err
	}
	now := newValue(kept)
	if before := secret.value.Load(); before != nil && slices.Equal(*before, now) {
		return nil
	}
	secret.value.Store(&now)
	if secret.taken != nil {
		secret.taken(now)
	}
	return nil
}

// Rotate replaces a secret by a new value. The error is ivs.NotFound if no node has
// opened it, and ivs.Conflict while the value from before the last rotation is still
// accepted.
func (s *Secrets) Rotate(ctx context.Context, name, value string) error {
	if err := s.store.RotateSecret(ctx, name, value, previousTime); err != nil {
		return err
	}
	s.log.Warn("a secret was rotated", "name", name, "previous_accepted_for", previousTime)
	s.reread(ctx)
	return nil
}

// Run rereads the secrets until ctx is done.
func (s *Secrets) Run(ctx context.Context) error {
	tick := time.NewTicker(rereadEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			s.reread(ctx)
		}
	}
}

func (s *Secrets) reread(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, secret := range s.open {
		if err := s.read(ctx, secret); err != nil && ctx.Err() == nil {
			s.log.Warn("reading a secret failed: the value read before stays in use", "name", secret.name, "error", err)
			return // it is the database: reading the other secrets would fail as well
		}
	}
}

// Values returns the current value, to sign and seal with, and all values by which
// signatures and seals are accepted. The caller must not change them.
func (s *Secret) Values() (signing string, accepted []string) {
	v := *s.value.Load()
	return v[0], v
}

// Signing returns the current value, to sign and seal with.
func (s *Secret) Signing() string { return (*s.value.Load())[0] }
