package access

import (
	"context"
	"crypto/sha256"
	"net/http"
	"runtime"
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
	slots chan struct{} // holds one for each check that runs; half of the processors

	mu      sync.Mutex
	recent  map[[sha256.Size]byte]verified // guarded by mu, as is what follows; by the token's digest
	older   map[[sha256.Size]byte]verified
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

// verify checks the signature of the token of a request. The last of the keys is
// this server's own. The error is a *Refusal.
func (v *verifier) verify(ctx context.Context, r Request, t *token.Token, keys []key, now time.Time) error {
	address := audience.NewClient(r.Address, "").Network()
	if v.exhausted(address, now) {
		return &Refusal{Status: http.StatusTooManyRequests, Code: codeBusy, Text: "too many tokens with wrong signatures came from this address; try again in a second"}
	}
	signer, err := v.signer(ctx, t, keys)
	if err != nil {
		return unavailable("too many tokens are being verified")
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if signer == "" {
		v.failedLocked(address, now)
		if len(keys) == 1 {
			return refuse(codeToken, "token cannot be verified: the account has no playback key pair in the channel's region")
		}
		return refuse(codeToken, "token's signature fits none of the playback key pairs of the account in the channel's region (%d)", len(keys)-1)
	}
	v.rememberLocked(r.Token, verified{t.Claims, signer})
	return nil
}

func (v *verifier) rememberLocked(raw string, good verified) {
	if len(v.recent) >= maxVerified || v.recent == nil {
		v.older, v.recent = v.recent, make(map[[sha256.Size]byte]verified)
	}
	v.recent[sha256.Sum256([]byte(raw))] = good
}

// signer is the ARN of the key that t is signed with, "" if it is none. It fails
// only if ctx ends while it waits for its turn.
func (v *verifier) signer(ctx context.Context, t *token.Token, keys []key) (string, error) {
	v.once.Do(func() { v.slots = make(chan struct{}, max(runtime.GOMAXPROCS(0)/2, 1)) })
	select {
	case v.slots <- struct{}{}:
		defer func() { <-v.slots }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	for _, k := range keys {
		if t.SignedBy(k.public) {
			return k.arn, nil
		}
	}
	return "", nil
}

// exhausted reports whether an address has sent too many wrong signatures.
func (v *verifier) exhausted(address uint64, now time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.failing[address].Sub(now) > (failures-1)*failureEvery
}

func (v *verifier) failedLocked(address uint64, now time.Time) {
	if v.failing == nil || len(v.failing) >= maxAddresses {
		v.failing = map[uint64]time.Time{}
	}
	until := v.failing[address]
	if until.Before(now) {
		until = now
	}
	v.failing[address] = until.Add(failureEvery)
}
