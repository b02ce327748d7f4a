// Package access authorizes playback: on private channels by playback tokens, single-use
// ids and revocations, on public channels by playback restriction policies. Of HTTP it
// knows only the Origin headers and how to abort a response.
package access

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/audience"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/token"
)

// Codes of refusals: error_code in the response.
const (
	codeToken      = "invalid_playback_auth_token" // the token is not valid
	CodeAuth       = "playback_auth_error"         // the token is valid, but not for this request
	codeRestricted = "playback_restricted"         // the policy of the channel does not allow it
	codeBusy       = "too_many_invalid_tokens"
	codeDatabase   = "service_unavailable"
)

// A Refusal is the reason why a request is not authorized.
type Refusal struct {
	Status int    // HTTP status
	Code   string // error_code, for programs
	Text   string // message, for people

	ViewerID string // the viewer id in the token, "" without one; not verified
}

// ErrNoOrigin is the Refusal of a request that must have an Origin header and
// has none.
var ErrNoOrigin = &Refusal{http.StatusForbidden, CodeAuth, "origin required: the request has no Origin header, and strict origin enforcement is on", ""}

func (r *Refusal) Error() string { return r.Text }

// Is reports whether two Refusals have the same reason, whoever the viewer is.
func (r *Refusal) Is(target error) bool {
	t, ok := target.(*Refusal)
	return ok && t.Status == r.Status && t.Code == r.Code && t.Text == r.Text
}

// named adds the viewer id of the token to err, a *Refusal.
func named(err error, viewerID string) error {
	refusal, ok := errors.AsType[*Refusal](err)
	if !ok || viewerID == "" {
		return err
	}
	of := *refusal
	of.ViewerID = viewerID
	return &of
}

func refuse(code, format string, args ...any) *Refusal {
	return &Refusal{Status: http.StatusForbidden, Code: code, Text: fmt.Sprintf(format, args...)}
}

// unavailable is the Refusal while a decision is not possible.
func unavailable(text string) *Refusal {
	return &Refusal{Status: http.StatusServiceUnavailable, Code: codeDatabase, Text: text + "; try again"}
}

// A Control authorizes playback. Its methods may be called concurrently.
type Control struct {
	Store *store.DB
	Log   *slog.Logger

	// MaxStream is the longest that a stream may last, on any node. Revocations are kept
	// for longer.
	MaxStream time.Duration

	// EndViewer ends the viewer sessions of a viewer of a channel, up to a version.
	EndViewer func(channelARN, viewerID string, version int64)

	// Country returns the country of an address, as ISO 3166-1 alpha-2, or "" if it
	// is unknown. If Country is nil, all are unknown.
	Country func(address string) string

	own      ownKey
	keys     cache[store.Scope, []key] // playback keys of accounts with a live private channel
	verifier verifier
	revoked  revocations
	policies cache[string, ivs.PlaybackRestrictionPolicy] // by ARN; of public channels with viewers
	answers  answers

	noCountries sync.Once // logs that Country is nil
}

// A Request is a request to start playback.
type Request struct {
	Channel ivs.Channel
	Token   string
	Origin  string // the Origin header; "" without one
	Strict  string // the origin for strict enforcement: Origin, or the server's own for its own pages
	Address string // of the client, with or without a port
}

// NewRequest returns the Request that r makes for a channel, with a token or "".
func NewRequest(c ivs.Channel, r *http.Request, token string) Request {
	return Request{Channel: c, Token: token, Origin: r.Header.Get("Origin"), Strict: strictOrigin(r), Address: r.RemoteAddr}
}

func (r *Request) origin(strict bool) string {
	if strict {
		return r.Strict
	}
	return r.Origin
}

// A Grant holds what a valid token allows. The name of the viewer session contains it.
type Grant struct {
	audience.Identity        // ViewerID is "" if the token has none
	MaxResolution     string // SD, HD or FULL_HD; "" for any
	StrictOrigin      bool
	Origins           []string // for StrictOrigin; empty means any

	singleUse string    // the digest of the single-use id, "" without one
	expires   time.Time // when the token does
}

// Authorize checks the token of a request for a private channel. The error is a
// *Refusal. The caller must call Start before it serves anything.
func (c *Control) Authorize(ctx context.Context, r Request) (*Grant, error) {
	claims, err := c.verify(ctx, r)
	if err != nil {
		return nil, named(err, claims.ViewerID)
	}
	if len(claims.Origins) > 0 || claims.StrictOrigin {
		if err := checkOrigin(r.origin(claims.StrictOrigin), claims.Origins, claims.StrictOrigin, CodeAuth, "the token"); err != nil {
			return nil, named(err, claims.ViewerID)
		}
	}
	g := &Grant{Identity: audience.Identity{ViewerID: claims.ViewerID, Version: claims.ViewerVersion},
		MaxResolution: claims.MaximumResolution, StrictOrigin: claims.StrictOrigin, expires: claims.Expires}
	if g.StrictOrigin {
		g.Origins = claims.Origins
	}
	if claims.SingleUse != "" {
		sum := sha256.Sum256([]byte(r.Channel.ARN + " " + claims.SingleUse))
		g.singleUse = base64.RawURLEncoding.EncodeToString(sum[:16])
	}
	return g, c.Allow(r.Channel.ARN, g, r.Strict, false)
}

// Allow checks a request of a viewer session with the grant. media is false for the
// multivariant playlist. The error is a *Refusal.
func (c *Control) Allow(channelARN string, g *Grant, origin string, media bool) error {
	if media && g.StrictOrigin {
		if err := checkOrigin(origin, g.Origins, true, CodeAuth, "the token"); err != nil {
			return named(err, g.ViewerID)
		}
	}
	if g.ViewerID != "" && c.revoked.has(channelARN, g.Identity) {
		return named(refuse(CodeAuth, "the viewer's sessions up to version %d have been revoked", g.Version), g.ViewerID)
	}
	return nil
}

// Start consumes the token of a grant if it is for a single use; with onlyLook it only
// checks that the token is unused. The error is a *Refusal.
func (c *Control) Start(ctx context.Context, g *Grant, onlyLook bool) error {
	if g.singleUse == "" {
		return nil
	}
	used, err := false, error(nil)
	if onlyLook {
		used, err = c.Store.TokenUsed(ctx, g.singleUse)
	} else {
		var first bool
		first, err = c.Store.UseToken(ctx, g.singleUse, g.expires)
		used = !first
	}
	if err != nil {
		c.Log.Error("recording the use of a token failed", "error", err)
		return unavailable("the server cannot check at present whether the token has been used")
	}
	if used {
		return named(refuse(CodeAuth, "the token was for a single use (aws:single-use-uuid) and has been used"), g.ViewerID)
	}
	return nil
}

// verify returns the claims of a token that is valid for a request.
func (c *Control) verify(ctx context.Context, r Request) (token.Claims, error) {
	now, scope := time.Now(), store.ScopeOf(r.Channel.ARN)
	keys, err := c.keys.get(ctx, c.Store, scope, true, func(ctx context.Context) ([]key, error) { return readKeys(ctx, c.Store, scope) })
	if err != nil {
		c.Log.Error("reading playback keys failed", "channel", r.Channel.ARN, "error", err)
		return token.Claims{}, unavailable("the keys of playback tokens cannot be read now")
	}
	own, err := c.own.get(c.Store)
	if err != nil {
		return token.Claims{}, err
	}
	keys = append(slices.Clip(keys), key{"this server's", &own.PublicKey})
	if claims, ok := c.verifier.known(r.Token, keys); ok {
		if err := claims.Check(r.Channel.ARN, now); err != nil {
			return claims, refuse(codeToken, "%v", err)
		}
		return claims, nil
	}
	t, err := token.Parse(r.Token)
	if err != nil {
		return token.Claims{}, refuse(codeToken, "%v", err)
	}
	if err := t.Check(r.Channel.ARN, now); err != nil {
		return t.Claims, refuse(codeToken, "%v", err)
	}
	return t.Claims, c.verifier.verify(ctx, r, t, keys)
}
