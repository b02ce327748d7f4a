package access

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/internal/audience"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/store/storetest"
	"github.com/millrace/millrace/internal/token"
)

var here = store.Scope{Account: "123456789012", Region: "us-west-2"}

// A world is a Control with its database, and a key pair that is imported.
type world struct {
	*Control
	testing.TB
	key    *ecdsa.PrivateKey
	keyARN string
	log    *bytes.Buffer
	ended  []string
}

func TestMain(m *testing.M) { os.Exit(storetest.Main(m)) }

func newWorld(t testing.TB) *world { return newNode(t, storetest.SQLite(t)) }

// newNode is a world with a database that others may have too.
func newNode(t testing.TB, dsn string) *world {
	db, err := store.Open(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	w := &world{TB: t, log: &bytes.Buffer{}}
	w.Control = &Control{Store: db, Log: slog.New(slog.NewTextHandler(w.log, nil)), EndViewer: func(arn, viewer string, version int64) {
		w.ended = append(w.ended, fmt.Sprint(arn, " ", viewer, " ", version))
	}}
	if err := w.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.key, w.keyARN = w.newKey(here)
	return w
}

// newKey imports a new key pair.
func (w *world) newKey(s store.Scope) (*ecdsa.PrivateKey, string) {
	w.Helper()
	private, public, err := token.GenerateKey()
	if err != nil {
		w.Fatal(err)
	}
	key, err := token.ParsePrivateKey(private)
	if err != nil {
		w.Fatal(err)
	}
	pair := ivs.PlaybackKeyPair{ARN: ivs.ARN{Region: s.Region, Account: s.Account, Type: ivs.PlaybackKeyType, ID: ivs.NewID()}.String(),
		Fingerprint: ivs.NewID(), PublicKeyMaterial: string(public), Tags: map[string]string{}}
	if err := w.Store.PlaybackKeyPairs().Create(w.Context(), pair, 100, false); err != nil {
		w.Fatal(err)
	}
	return key, pair.ARN
}

func (w *world) channel() ivs.Channel {
	w.Helper()
	c := ivs.NewChannel(here.Account, here.Region)
	c.Authorized = true
	if err := w.Store.CreateChannel(w.Context(), c, ivs.NewStreamKey(here.Account, here.Region, c.ARN)); err != nil {
		w.Fatal(err)
	}
	return c
}

// sign signs claims for a channel, good for a minute unless they say otherwise.
func (w *world) sign(key *ecdsa.PrivateKey, c ivs.Channel, claims token.Claims) string {
	w.Helper()
	claims.ChannelARN = c.ARN
	if claims.Expires.IsZero() {
		claims.Expires = time.Now().Add(time.Minute)
	}
	raw, err := claims.Sign(key)
	if err != nil {
		w.Fatal(err)
	}
	return raw
}

// start is the start of playback, whole.
func (w *world) start(c ivs.Channel, raw string) error {
	g, err := w.Authorize(w.Context(), Request{Channel: c, Token: raw, Address: "203.0.113.7:5"})
	if err != nil {
		return err
	}
	return w.Start(w.Context(), g, false)
}

// refused requires a Refusal with that code and a text that contains want.
func (w *world) refused(what string, err error, code, want string) {
	w.Helper()
	refusal, ok := errors.AsType[*Refusal](err)
	if !ok || refusal.Code != code || !strings.Contains(refusal.Text, want) {
		w.Errorf("%s: %v, want %s: %s", what, err, code, want)
	}
}

func (w *world) allowed(what string, err error) {
	w.Helper()
	if err != nil {
		w.Errorf("%s: %v", what, err)
	}
}

// Keys of other accounts and regions open nothing, and one that is deleted opens
// nothing from then on, also not with a token that has been verified.
func TestKeys(t *testing.T) {
	w := newWorld(t)
	c := w.channel()
	second, secondARN := w.newKey(here)
	account, _ := w.newKey(store.Scope{Account: "999999999999", Region: here.Region})
	region, _ := w.newKey(store.Scope{Account: here.Account, Region: "eu-west-1"})
	w.allowed("the first key", w.start(c, w.sign(w.key, c, token.Claims{})))
	raw := w.sign(second, c, token.Claims{})
	w.allowed("the second key", w.start(c, raw))
	if keys := w.verifier.likelyFirst([]key{{arn: w.keyARN}, {arn: secondARN}, {arn: "own"}}); keys[0].arn != secondARN || keys[1].arn != w.keyARN || len(keys) != 3 {
		t.Errorf("the keys are tried in the order %v", keys)
	}
	w.refused("a key of another account", w.start(c, w.sign(account, c, token.Claims{})), codeToken, "fits none of the playback key pairs of the account in the channel's region (2)")
	w.refused("a key of another region", w.start(c, w.sign(region, c, token.Claims{})), codeToken, "fits none")
	if err := w.Store.PlaybackKeyPairs().Delete(t.Context(), secondARN); err != nil {
		t.Fatal(err)
	}
	w.refused("the second key, deleted", w.start(c, raw), codeToken, "fits none of the playback key pairs of the account in the channel's region (1)")
	w.allowed("the first key", w.start(c, w.sign(w.key, c, token.Claims{})))
	if err := w.Store.PlaybackKeyPairs().Delete(t.Context(), w.keyARN); err != nil {
		t.Fatal(err)
	}
	w.refused("no key", w.start(c, raw), codeToken, "no playback key pair")
	minted, err := w.Mint(t.Context(), c.ARN)
	if err != nil {
		t.Fatal(err)
	}
	w.allowed("a token of the server's own", w.start(c, minted))
	other := newWorld(t)
	other.refused("one of another server", other.start(c, minted), codeToken, "fits none")
}

// A token that was verified is held against the clock each time, what it has opened
// never.
func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.channel()
		raw := w.sign(w.key, c, token.Claims{})
		w.allowed("at once", w.start(c, raw))
		g, err := w.Authorize(t.Context(), Request{Channel: c, Token: raw})
		w.allowed("a grant", err)
		time.Sleep(time.Minute - time.Nanosecond)
		w.allowed("in its last moment", w.start(c, raw))
		time.Sleep(time.Nanosecond)
		w.refused("when it has expired", w.start(c, raw), codeToken, "token has expired at ")
		time.Sleep(time.Hour)
		w.refused("later", w.start(c, raw), codeToken, "1h0m0s ago")
		if g, err = DecodeGrant(g.Encode()); err != nil {
			t.Fatal(err)
		}
		w.allowed("a session that began with it", w.Allow(c.ARN, g, "", true))
	})
}

// Each address may send some wrong signatures; good tokens that are known pass
// all the same, and other addresses are not concerned.
func TestFloodOfWrongSignatures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.channel()
		wrong, _ := w.newKey(store.Scope{Account: "999999999999", Region: here.Region})
		ask := func(raw, address string) error {
			_, err := w.Authorize(t.Context(), Request{Channel: c, Token: raw, Address: address})
			return err
		}
		known := w.sign(w.key, c, token.Claims{})
		w.allowed("a good token", ask(known, "203.0.113.7:5"))
		bad := w.sign(wrong, c, token.Claims{Expires: time.Now().Add(time.Hour)})
		for range failures {
			w.refused("a wrong one", ask(bad, "203.0.113.7:5"), codeToken, "fits none")
		}
		w.refused("one too many", ask(bad, "203.0.113.7:6"), codeBusy, "too many tokens")
		w.refused("a new good token", ask(w.sign(w.key, c, token.Claims{}), "203.0.113.7:7"), codeBusy, "too many tokens")
		w.allowed("a known token", ask(known, "203.0.113.7:5"))
		w.allowed("another address", ask(w.sign(w.key, c, token.Claims{}), "203.0.113.8:5"))
		time.Sleep(failureEvery)
		w.refused("one a second", ask(bad, "203.0.113.7:5"), codeToken, "fits none")
		w.refused("and no more", ask(bad, "203.0.113.7:5"), codeBusy, "too many tokens")
		for i := range 3 * maxAddresses {
			w.verifier.charge(uint64(i), time.Now())
		}
		if n := len(w.verifier.failing); n > maxAddresses {
			t.Errorf("%d addresses are remembered", n)
		}
	})
}

// What comes at once gets no more wrong signatures checked than what comes one by
// one, and does not shut the address out for longer; good tokens all pass.
func TestFloodAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.channel()
		wrong, _ := w.newKey(store.Scope{Account: "999999999999", Region: here.Region})
		checked := func(tokens []string) (n int) {
			var all sync.WaitGroup
			var count atomic.Int32
			for _, raw := range tokens {
				all.Go(func() {
					_, err := w.Authorize(t.Context(), Request{Channel: c, Token: raw, Address: "203.0.113.7:5"})
					if refusal, ok := errors.AsType[*Refusal](err); !ok || refusal.Code != codeBusy {
						count.Add(1)
					}
				})
			}
			all.Wait()
			return int(count.Load())
		}
		var good []string
		for i := range 10 * failures {
			good = append(good, w.sign(w.key, c, token.Claims{ViewerID: "v", ViewerVersion: int64(i)}))
		}
		if n := checked(good); n != len(good) {
			t.Errorf("%d of %d good tokens at once were checked", n, len(good))
		}
		bad := slices.Repeat([]string{w.sign(wrong, c, token.Claims{Expires: time.Now().Add(time.Hour)})}, 1000)
		if n := checked(bad); n != failures {
			t.Errorf("%d wrong ones of 1000 at once were checked, want %d", n, failures)
		}
		time.Sleep(failures * failureEvery)
		if n := checked(bad); n != failures {
			t.Errorf("%d wrong ones were checked when those of before were forgotten, want %d", n, failures)
		}
	})
}

// Verified tokens are remembered, and not more of them than is bounded.
func TestVerifiedAreBounded(t *testing.T) {
	var v verifier
	k := key{arn: "k"}
	for i := range 3 * maxVerified {
		v.mu.Lock()
		v.rememberLocked(fmt.Sprint(i), verified{keyARN: "k"})
		v.mu.Unlock()
	}
	if n := len(v.recent) + len(v.older); n > 2*maxVerified {
		t.Errorf("%d are remembered", n)
	}
	if _, ok := v.known(fmt.Sprint(3*maxVerified-1), []key{k}); !ok {
		t.Error("the last is forgotten")
	}
	if _, ok := v.known(fmt.Sprint(2*maxVerified), []key{k}); !ok {
		t.Error("one of the last half is forgotten")
	}
}

// A revocation is followed, also one that another node makes, and refuses what
// is not newer.
func TestRevocation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c, other := w.channel(), w.channel()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.Run(ctx) }()
		claims := token.Claims{ViewerID: "v", ViewerVersion: 5}
		w.allowed("before", w.start(c, w.sign(w.key, c, claims)))
		if err := w.Store.RevokeViewer(t.Context(), ivs.ViewerSession{ChannelARN: c.ARN, ViewerID: "v", Version: 5}, time.Now()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond) // far less than lookEvery
		synctest.Wait()
		if want := fmt.Sprint(c.ARN, " v 5"); len(w.ended) != 1 || w.ended[0] != want {
			t.Errorf("ended %q, want %q", w.ended, want)
		}
		err := w.start(c, w.sign(w.key, c, claims))
		w.refused("the same version", err, CodeAuth, "revoked")
		if refusal, ok := errors.AsType[*Refusal](err); !ok || refusal.ViewerID != "v" || refusal.Status != http.StatusForbidden {
			t.Errorf("%+v", refusal)
		}
		w.refused("an older one", w.start(c, w.sign(w.key, c, token.Claims{ViewerID: "v"})), CodeAuth, "revoked")
		w.allowed("a newer one", w.start(c, w.sign(w.key, c, token.Claims{ViewerID: "v", ViewerVersion: 6})))
		w.allowed("another viewer", w.start(c, w.sign(w.key, c, token.Claims{ViewerID: "v2"})))
		w.allowed("nobody in particular", w.start(c, w.sign(w.key, c, token.Claims{})))
		w.allowed("on another channel", w.start(other, w.sign(w.key, other, claims)))

		cancel()
		<-done
		// After seven days nothing is left of it.
		time.Sleep(leastKept + 2*time.Hour)
		w.forget(t.Context(), time.Now())
		w.allowed("after a week", w.start(c, w.sign(w.key, c, claims)))
		if n := len(w.revoked.byHash); n != 0 {
			t.Errorf("%d are remembered", n)
		}
	})
}

// Where streams may last for longer than a week, revocations are kept for longer
// than they last.
func TestRevocationOutlivesStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.MaxStream = 30 * 24 * time.Hour
		c := w.channel()
		if err := w.Store.RevokeViewer(t.Context(), ivs.ViewerSession{ChannelARN: c.ARN, ViewerID: "v", Version: 5}, time.Now()); err != nil {
			t.Fatal(err)
		}
		if err := w.follow(t.Context()); err != nil {
			t.Fatal(err)
		}
		session := &Grant{Identity: audience.Identity{ViewerID: "v", Version: 5}}
		time.Sleep(w.MaxStream)
		w.forget(t.Context(), time.Now())
		w.refused("a session of the longest stream", w.Allow(c.ARN, session, "", true), CodeAuth, "revoked")
		again := &Control{Store: w.Store, Log: w.Control.Log}
		if err := again.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.refused("the session after a restart", again.Allow(c.ARN, session, "", true), CodeAuth, "revoked")
		time.Sleep(keptBeyond + 2*time.Hour)
		w.forget(t.Context(), time.Now())
		w.allowed("what was revoked before any stream began", w.Allow(c.ARN, session, "", true))
	})
}

// A single-use id is good for one start on its channel until it is forgotten.
func TestSingleUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c, other := w.channel(), w.channel()
		raw := w.sign(w.key, c, token.Claims{SingleUse: "u"})
		w.allowed("first", w.start(c, raw))
		w.refused("second", w.start(c, raw), CodeAuth, "has been used")
		w.refused("another token with the same id", w.start(c, w.sign(w.key, c, token.Claims{SingleUse: "u", Expires: time.Now().Add(2 * time.Minute)})), CodeAuth, "has been used")
		w.allowed("on another channel", w.start(other, w.sign(w.key, other, token.Claims{SingleUse: "u"})))
		time.Sleep(2 * time.Minute)
		w.forget(t.Context(), time.Now())
		w.refused("when it has expired", w.start(c, raw), codeToken, "expired")
		if used, err := w.Store.TokenUsed(t.Context(), "x"); used || err != nil {
			t.Error(used, err)
		}
	})
}

func TestOrigins(t *testing.T) {
	for _, tt := range []struct {
		pattern, origin string
		want            bool
	}{
		{"https://example.com", "https://example.com", true},
		{"https://example.com/", "https://example.com", true},
		{"https://Example.com:443", "https://example.com", true},
		{"http://example.com", "http://example.com:80", true},
		{"https://example.com", "http://example.com", false},
		{"https://example.com", "https://example.com:8443", false},
		{"https://example.com:8443", "https://example.com:8443", true},
		{"https://example.com", "https://www.example.com", false},
		{"https://example.com", "https://example.com.evil.example", false},
		{"https://*.example.com", "https://www.example.com", true},
		{"https://*.example.com", "https://a.b.example.com", true},
		{"https://*.example.com", "https://example.com", false},
		{"https://*.example.com", "https://.example.com", false},
		{"https://*.example.com", "https://evilexample.com", false},
		{"https://*.example.com", "https://www.example.com.evil.example", false},
		{"https://*.example.com", "https://evil.example/.example.com", false},
		{"https://*.example.com", "https://evil.example:1.example.com", false},
		{"https://*.example.com", "http://www.example.com", false},
		{"https://*.example.com", "https://evil.example#.example.com", false},
		{"https://*.example.com:8443", "https://www.example.com:8443", true},
		{"*", "https://anything.example", true},
		{"*", "null", true},
		{"https://*", "https://example.com", false},
		{"example.com", "https://example.com", false},
		{"null", "null", true},
		{"", "https://example.com", false},
	} {
		if got := matches(tt.pattern, tt.origin); got != tt.want {
			t.Errorf("%q and %q: %v", tt.pattern, tt.origin, got)
		}
	}
}

// A pattern with "*." lets in nothing but hosts below it, as a browser's reading of
// the origin has them.
func FuzzOrigin(f *testing.F) {
	f.Add("https://*.example.com", "https://www.example.com")
	f.Add("https://*.example.com:8443", "https://evil.example:1.example.com")
	f.Add("http://example.com", "null")
	f.Fuzz(func(t *testing.T, pattern, origin string) {
		host, wild := strings.CutPrefix(pattern, "https://*.")
		got := matches(pattern, origin)
		if matches(pattern, origin+"/") != got && !strings.HasSuffix(origin, "/") {
			t.Errorf("%q and %q: a trailing slash changes the answer", pattern, origin)
		}
		if !got || !wild || strings.ContainsAny(host, "*/:@?#%[]\\") {
			return
		}
		u, err := url.Parse(strings.ToLower(origin))
		if err != nil {
			return // no browser sends it
		}
		if u.Scheme != "https" || u.User != nil || !strings.HasSuffix(u.Hostname(), "."+strings.TrimSuffix(strings.ToLower(host), "/")) {
			t.Errorf("%q lets in %q", pattern, origin)
		}
	})
}

// Strict enforcement goes by the Origin header, and by the server's own origin for
// requests that a browser says come from it.
func TestStrictOrigin(t *testing.T) {
	for _, tt := range []struct {
		host, origin, site string
		secure             bool
		want               string
	}{
		{"live.example.com", "", "", true, ""},
		{"live.example.com", "", "cross-site", true, ""},
		{"live.example.com", "", "same-site", true, ""},
		{"live.example.com", "", "none", true, ""},
		{"live.example.com", "https://a.example", "same-origin", true, "https://a.example"},
		{"live.example.com", "", "same-origin", true, "https://live.example.com"},
		{"live.example.com:8443", "", "same-origin", true, "https://live.example.com:8443"},
		{"live.example.com", "", "same-origin", false, "https://live.example.com"}, // a proxy ends TLS
		{"127.0.0.1:8080", "", "same-origin", false, "http://127.0.0.1:8080"},
		{"[::1]:8080", "", "same-origin", false, "http://[::1]:8080"},
		{"localhost:8080", "", "same-origin", false, "http://localhost:8080"},
		{"live.localhost", "", "same-origin", false, "http://live.localhost"},
		{"localhost:8443", "", "same-origin", true, "https://localhost:8443"},
	} {
		r := &http.Request{Host: tt.host, Header: http.Header{"Origin": {tt.origin}, "Sec-Fetch-Site": {tt.site}}}
		if tt.secure {
			r.TLS = &tls.ConnectionState{}
		}
		if got := NewRequest(ivs.Channel{}, r, "").Strict; got != tt.want {
			t.Errorf("%+v: %q", tt, got)
		}
	}
}

// A policy restricts public channels by country and origin; a change counts at
// once, and what is unknown is allowed.
func TestPolicies(t *testing.T) {
	w := newWorld(t)
	p := ivs.PlaybackRestrictionPolicy{ARN: ivs.ARN{Region: here.Region, Account: here.Account, Type: ivs.PlaybackRestrictionPolicyType, ID: ivs.NewID()}.String(),
		AllowedCountries: []string{"DE", "JP"}, AllowedOrigins: []string{"https://a.example", "https://*.b.example"}, Tags: map[string]string{}}
	if err := w.Store.PlaybackRestrictionPolicies().Create(t.Context(), p, 3, false); err != nil {
		t.Fatal(err)
	}
	c := ivs.NewChannel(here.Account, here.Region)
	allow := func(address, origin string, media bool) error {
		return w.AllowPublic(t.Context(), Request{Channel: c, Address: address, Origin: origin, Strict: origin}, media)
	}
	w.allowed("no policy", allow("us", "https://evil.example", false))
	c.PlaybackRestrictionPolicyARN = p.ARN
	w.allowed("no database of countries", allow("us", "", false))
	if !strings.Contains(w.log.String(), "--geoip") {
		t.Error("the log does not say that there is no database of countries")
	}
	w.Country = func(address string) string { return strings.ToUpper(address) }
	w.allowed("an allowed country", allow("de", "", false))
	w.allowed("an unknown country", allow("", "", false))
	w.refused("another country", allow("us", "", false), codeRestricted, "cannot be watched in US")
	w.allowed("another country, media", allow("us", "", true))
	w.allowed("an allowed origin", allow("de", "https://x.b.example", false))
	w.refused("another origin", allow("de", "https://evil.example", false), codeRestricted, `origin "https://evil.example" is not among those that the channel's`)
	w.allowed("another origin, media", allow("de", "https://evil.example", true))
	change := func(f func(p *ivs.PlaybackRestrictionPolicy) error) {
		t.Helper()
		if _, err := w.Store.PlaybackRestrictionPolicies().Update(t.Context(), p.ARN, f); err != nil {
			t.Fatal(err)
		}
	}
	change(func(p *ivs.PlaybackRestrictionPolicy) error { p.EnableStrictOriginEnforcement = true; return nil })
	w.refused("strict: another origin, media", allow("de", "https://evil.example", true), codeRestricted, "is not among those")
	if err := allow("de", "", true); !errors.Is(err, ErrNoOrigin) {
		t.Errorf("strict: no origin, media: %v", err)
	}
	if err := allow("de", "", false); !errors.Is(err, ErrNoOrigin) {
		t.Errorf("strict: no origin: %v", err)
	}
	w.allowed("strict: an allowed origin", allow("de", "https://a.example", true))
	change(func(p *ivs.PlaybackRestrictionPolicy) error {
		p.AllowedOrigins, p.AllowedCountries = nil, nil
		return nil
	})
	w.allowed("nothing restricted", allow("us", "", true))
	w.allowed("nothing restricted", allow("us", "", false))
}

// The database may be unreachable: known sessions continue, and no others start.
func TestUnreachableDatabase(t *testing.T) {
	w := newWorld(t)
	c := w.channel()
	raw := w.sign(w.key, c, token.Claims{})
	once := w.sign(w.key, c, token.Claims{SingleUse: "u"})
	w.allowed("before", w.start(c, raw))
	w.Store.Close()
	w.allowed("keys that are known", w.start(c, w.sign(w.key, c, token.Claims{ViewerID: "v"})))
	w.refused("a single use", w.start(c, once), codeDatabase, "try again")
	fresh := &Control{Store: w.Store, Log: w.Control.Log}
	_, err := fresh.Authorize(t.Context(), Request{Channel: c, Token: raw})
	w.refused("keys that are not", err, codeDatabase, "try again")
}

func BenchmarkStart(b *testing.B) {
	w := newWorld(b)
	c := w.channel()
	tokens := make([]string, 2000)
	for i := range tokens {
		tokens[i] = w.sign(w.key, c, token.Claims{ViewerID: "v", ViewerVersion: int64(i)})
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%len(tokens) == 0 {
			w.verifier.recent, w.verifier.older = nil, nil
		}
		if err := w.start(c, tokens[i%len(tokens)]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStartAgain(b *testing.B) {
	w := newWorld(b)
	c := w.channel()
	raw := w.sign(w.key, c, token.Claims{ViewerID: "v"})
	b.ReportAllocs()
	for b.Loop() {
		if err := w.start(c, raw); err != nil {
			b.Fatal(err)
		}
	}
}
