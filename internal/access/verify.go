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
	// maxVerified bounds the tokens whose signatures are remembered as good:
	// between this many and twice as many.
	maxVerified = 8192

	// An address may send failures tokens with wrong signatures in a row, and
	// then one in failureEvery: each costs a check against every key.
	failures     = 20
	failureEvery = time.Second

	// maxAddresses bounds the addresses whose failures are counted. When it is
	// reached all are forgotten: what checks can cost altogether is bounded by
	// how many run at a time.
	maxAddresses = 65_536
)

// A verifier checks signatures, each good one once.
type verifier struct {
	once  sync.Once
	slots chan struct{} // holds one for each check that runs: half of the processors, and fewer than failures

	mu      sync.Mutex
	recent  map[[sha256.Size]byte]verified // guarded by mu, as is what follows; by the token's digest
	older   map[[sha256.Size]byte]verified
	last    string               // ARN of the key that the last of them was signed with
	failing map[uint64]time.Time // by address: when its failures will be forgotten
}

// verified is a token whose signature is good.
type verified struct {
	claims token.Claims
	keyARN string
}

// known returns the claims of a token that was verified before, with one of the
// keys.
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

// errExhausted is returned by signer where an address may have nothing checked.
var errExhausted = &Refusal{Status: http.StatusTooManyRequests, Code: codeBusy, Text: "too many tokens with wrong signatures came from this address; try again in a second"}

// verify checks the signature of the token of a request. The last of the keys is
// this server's own. The error is a *Refusal.
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

// signer is the ARN of the key that t is signed with, "" if it is none. It fails
// if ctx ends while it waits for its turn, and if the address has sent too many
// wrong signatures when its turn comes. A check counts as a failure until it has
// succeeded, so that many at once pass no more than one after another would;
// good tokens that come at once wait for each other before that.
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

// likelyFirst is keys with the one first that the last good token was signed with:
// who has several signs with one of them, as a rule.
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

// charge counts a failure of an address. It reports false, and counts none, if
// the address has used up what it may have.
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

// refund takes a failure that charge has counted back.
func (v *verifier) refund(address uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if until, ok := v.failing[address]; ok { // else all were forgotten meanwhile
		v.failing[address] = until.Add(-failureEvery)
	}
}
