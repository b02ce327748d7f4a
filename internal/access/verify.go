package access

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/audience"
	"github.com/millrace/millrace/internal/token"
)

const (
	// maxVerified bounds the cache of tokens whose signatures are valid: it holds
	// between this many and twice as many.
	maxVerified = 8192

	// An address may send a burst of failures tokens with wrong signatures, and then
	// one per failureEvery: each is checked against every key, which costs CPU time.
	failures     = 20
	failureEvery = time.Second

	// maxAddresses bounds the addresses whose failures are counted. When it is
	// reached, all are forgotten: the total cost of checks is bounded by how many
	// run concurrently.
	maxAddresses = 65_536
)

// A verifier checks signatures, each valid one once.
type verifier struct {
	once  sync.Once
	slots chan struct{} // one for each running check: half of the processors, and fewer than failures

	mu      sync.Mutex
	recent  map[[sha256.Size]byte]verified // guarded by mu, as is what follows; by the token's digest
	older   map[[sha256.Size]byte]verified
	last    string               // ARN of the key that the last of them was signed with
	failing map[uint64]time.Time // by address: when its failures expire
}

// verified is a token whose signature is valid.
type verified struct {
	claims token.Claims
	keyARN string
}

// known returns the claims of a token that has been verified with one of the keys.
func (v *verifier) known(raw string, keys []key) (token.Claims, bool) {
	sum := sha256.Sum256([]byte(raw))
	v.mu.Lock()
	defer v.mu.Unlock()
	t, ok := v.recent[sum]
	if !ok {
		if t, ok = v.older[sum]; !ok {
			return token.Claims{}, false
		}
	}
	for _, k := range keys {
		if k.arn == t.keyARN {
			return t.claims, true
		}
	}
	return token.Claims{}, false
}

// errExhausted is returned by signer for an address with too many failures.
var errExhausted = &Refusal{Status: http.StatusTooManyRequests, Code: codeBusy, Text: "too many tokens with wrong signatures came from this address; try again in a second"}

// verify checks the signature of the token of a request. The last key is that of this
// server. The error is a *Refusal.
func (v *verifier) verify(ctx context.Context, r Request, t *token.Token, keys []key) error {
	signer, err := v.signer(ctx, audience.NewClient(r.Address, "").Network(), t, keys)
	switch {
	case errors.Is(err, errExhausted):
		return err
	case err != nil:
		return unavailable("too many tokens are being verified")
	case signer == "" && len(keys) == 1:
		return refuse(codeToken, "token cannot be verified: the account has no playback key pair in the channel's region")
	case signer == "":
		return refuse(codeToken, "token's signature fits none of the playback key pairs of the account in the channel's region (%d)", len(keys)-1)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.rememberLocked(r.Token, verified{t.Claims, signer})
	return nil
}

func (v *verifier) rememberLocked(raw string, good verified) {
	if len(v.recent) >= maxVerified || v.recent == nil {
		v.older, v.recent = v.recent, make(map[[sha256.Size]byte]verified)
	}
	v.recent[sha256.Sum256([]byte(raw))] = good
	v.last = good.keyARN
}

// signer returns the ARN of the key that t is signed with, or "" if it is none of
// them. It fails if ctx ends while it waits for its turn, or if the address has sent
// too many wrong signatures by then. A check counts as a failure until it succeeds,
// so that concurrent requests are not checked more often than consecutive ones; valid
// tokens that arrive at once wait for each other.
func (v *verifier) signer(ctx context.Context, address uint64, t *token.Token, keys []key) (string, error) {
	v.once.Do(func() { v.slots = make(chan struct{}, min(max(runtime.GOMAXPROCS(0)/2, 1), failures/2)) })
	select {
	case v.slots <- struct{}{}:
		defer func() { <-v.slots }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	if !v.charge(address, time.Now()) {
		return "", errExhausted
	}
	for _, k := range v.likelyFirst(keys) {
		if t.SignedBy(k.public) {
			v.refund(address)
			return k.arn, nil
		}
	}
	return "", nil
}

// likelyFirst returns keys with that of the last valid token first: of several keys,
// usually one is in use.
func (v *verifier) likelyFirst(keys []key) []key {
	v.mu.Lock()
	last := v.last
	v.mu.Unlock()
	i := slices.IndexFunc(keys, func(k key) bool { return k.arn == last })
	if i <= 0 {
		return keys
	}
	keys = slices.Clone(keys)
	keys[0], keys[i] = keys[i], keys[0]
	return keys
}

// charge counts a failure of an address. It reports false, and does not count it, if
// the address has reached its limit.
func (v *verifier) charge(address uint64, now time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	until, known := v.failing[address]
	if until.Before(now) {
		until = now
	}
	if until.Sub(now) > (failures-1)*failureEvery {
		return false
	}
	if v.failing == nil || len(v.failing) >= maxAddresses && !known {
		v.failing = map[uint64]time.Time{}
	}
	v.failing[address] = until.Add(failureEvery)
	return true
}

// refund takes back a failure that charge has counted.
func (v *verifier) refund(address uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if until, ok := v.failing[address]; ok { // otherwise all have been forgotten since
		v.failing[address] = until.Add(-failureEvery)
	}
}
