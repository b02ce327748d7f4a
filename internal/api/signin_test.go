package api_test

import (
	"encoding/json"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/api"
)

func (w *world) exchange(t testing.TB, token string) answer {
	t.Helper()
	return w.send(t, "POST", "/_millrace/sign-in", `{"token":`+quote(token)+`}`)
}

// A token stands for the credentials once, and for ten minutes.
func TestSignIn(t *testing.T) {
	w := newWorld(t)
	now := t0
	w.Now = func() time.Time { return now }
	w.Extensions = map[string]api.Extension{"POST /_millrace/sign-in-tokens": w.CreateSignInToken}
	created := w.do(t, signed(t, "POST", w.url+"/_millrace/sign-in-tokens", "", keyID, secret, "ivs", region, now))
	var token struct{ Token, ExpiresAt string }
	if err := json.Unmarshal(created.body, &token); err != nil || token.ExpiresAt != "2026-05-01T09:13:11Z" || len(token.Token) < 26 {
		t.Fatalf("= %d %s", created.status, created.body)
	}
	if a := w.send(t, "POST", "/_millrace/sign-in-tokens", ``); a.code(t) != "MissingAuthenticationTokenException" {
		t.Errorf("a token for a stranger = %d %s", a.status, a.body)
	}
	if a := w.exchange(t, token.Token); a.status != 200 || string(a.body) != `{"accessKeyId":"`+keyID+`","secretAccessKey":"`+secret+`","region":"`+region+`"}` || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("exchange = %d %s %v", a.status, a.body, a.header)
	}
	late := w.NewSignInToken()
	now = now.Add(api.SignInLifetime)
	for name, body := range map[string]string{"used": token.Token, "late": late, "unknown": "x", "empty": ""} {
		if a := w.exchange(t, body); a.code(t) != "UnrecognizedClientException" {
			t.Errorf("%s = %d %s", name, a.status, a.body)
		}
	}
	if a := w.send(t, "POST", "/_millrace/sign-in", `{`); a.code(t) != "ValidationException" {
		t.Errorf("= %d %s", a.status, a.body)
	}
	if a := w.send(t, "GET", "/_millrace/sign-in?token="+w.NewSignInToken(), ``); a.status != 404 {
		t.Errorf("GET = %d %s", a.status, a.body)
	}
}

// However often it is tried at a time, and on whichever node, a token works once.
func TestSignInAnywhere(t *testing.T) {
	w := newWorld(t)
	nodes := []*world{w, newWorldOn(t, w.db)}
	token := w.NewSignInToken()
	var tries sync.WaitGroup
	var worked atomic.Int32
	for i := range 10 {
		tries.Go(func() {
			if nodes[i%2].exchange(t, token).status == 200 {
				worked.Add(1)
			}
		})
	}
	tries.Wait()
	if n := worked.Load(); n != 1 {
		t.Errorf("the token worked %d times", n)
	}
	if a := nodes[1].exchange(t, w.NewSignInToken()); a.status != 200 {
		t.Errorf("on another node = %d %s", a.status, a.body)
	}
	other := newWorldOn(t, w.db)
	other.Root = rootOf(api.AccessKey{AccessKeyID: "NEW", SecretAccessKey: "another"})
	if a := other.exchange(t, w.NewSignInToken()); a.status != 403 {
		t.Errorf("on a server with other credentials = %d %s", a.status, a.body)
	}
	other.Root = rootOf(api.AccessKey{AccessKeyID: "NEW", SecretAccessKey: "another"}, w.Root.Keys()[0])
	if a := other.exchange(t, w.NewSignInToken()); a.status != 200 || !strings.Contains(string(a.body), `"accessKeyId":"NEW"`) {
		t.Errorf("on a server that accepts both = %d %s", a.status, a.body)
	}
	token = w.NewSignInToken()
	for i := range token {
		changed := []byte(token)
		changed[i] ^= 1
		if a := w.exchange(t, string(changed)); a.status != 403 {
			t.Fatalf("character %d can be changed: %d", i, a.status)
		}
	}
}
