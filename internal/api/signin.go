package api

import (
	"crypto/rand"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/reqbody"
	"github.com/millrace/millrace/internal/store"
)

// signInPath is where a sign-in token is exchanged: the one call that is not
// signed.
const signInPath = extensionRoot + "sign-in"

const (
	// SignInLifetime is how long a sign-in token can be used, once.
	SignInLifetime = 10 * time.Minute

	maxSignIns = 100 // tokens at a time; beyond, the oldest is dropped
)

// signIns are the tokens that have not been used. The zero value is ready.
type signIns struct {
	mu      sync.Mutex
	expires map[string]time.Time // guarded by mu

	bodies reqbody.Receiver
}

// NewSignInToken makes a token that the console exchanges for the root
// credentials, once and within SignInLifetime. It stands in for them in links,
// which browsers keep in their history.
func (s *Server) NewSignInToken() string {
	token, now := rand.Text(), s.now()
	t := &s.signIns
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.expires, func(_ string, at time.Time) bool { return !now.Before(at) })
	if len(t.expires) >= maxSignIns {
		oldest := slices.MinFunc(slices.Collect(maps.Keys(t.expires)), func(a, b string) int { return t.expires[a].Compare(t.expires[b]) })
		delete(t.expires, oldest)
	}
	if t.expires == nil {
		t.expires = map[string]time.Time{}
	}
	t.expires[token] = now.Add(SignInLifetime)
	return token
}

// use reports whether token is valid, which it is no more then.
func (t *signIns) use(token string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	at, ok := t.expires[token]
	delete(t.expires, token)
	return ok && now.Before(at)
}

// CreateSignInToken is an Extension that answers with a new sign-in token.
func (s *Server) CreateSignInToken(w http.ResponseWriter, r *http.Request, _ store.Scope) error {
	Reply(w, struct {
		Token     string   `json:"token"`
		ExpiresAt ivs.Time `json:"expiresAt"`
	}{s.NewSignInToken(), ivs.Time{Time: s.now().Add(SignInLifetime)}})
	return nil
}

// signIn exchanges a token for the root credentials.
func (s *Server) signIn(w http.ResponseWriter, r *http.Request) error {
	body, err := receive(&s.signIns.bodies, w, r, signInBodies)
	if err != nil {
		return err
	}
	var in struct {
		Token string `json:"token"`
	}
	if err := decode(body, &in); err != nil {
		return err
	}
	if !s.signIns.use(in.Token, s.now()) {
		return ivs.Errorf(ivs.UnrecognizedClient, "This sign-in link has been used or is older than %d minutes: `millrace env` prints a new one", SignInLifetime/time.Minute)
	}
	Reply(w, struct {
		AccessKeyID     string `json:"accessKeyId"`
		SecretAccessKey string `json:"secretAccessKey"`
		Region          string `json:"region"`
	}{s.Root.AccessKeyID, s.Root.SecretAccessKey, s.Region})
	return nil
}
