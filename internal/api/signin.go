package api

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"net/http"
	"slices"
	"time"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
)

// signInPath is where a sign-in token is exchanged: the one call that is not
// signed.
const signInPath = extensionRoot + "sign-in"

// SignInLifetime is how long a sign-in token can be used, once.
const SignInLifetime = 10 * time.Minute

// A sign-in token is the time at which it expires, in Unix milliseconds, a random
// number, and a MAC of both, whose key comes from the secret of root credentials that the
// server accepts: every node takes it, and only its use is written down.
const (
	signInExpiry = 8 // bytes
	signInRandom = 16
	signInBody   = signInExpiry + signInRandom
)

// NewSignInToken makes a token that the console exchanges for the root credentials, once
// and within SignInLifetime. Links contain it instead of the credentials, since browsers
// keep links in their history.
func (s *Server) NewSignInToken() string {
	b := binary.BigEndian.AppendUint64(nil, uint64(s.now().Add(SignInLifetime).UnixMilli()))
	b = append(b, make([]byte, signInRandom)...)
	rand.Read(b[signInExpiry:]) // never fails
	return base64.RawURLEncoding.EncodeToString(append(b, signInMAC(s.Root.first(), b)...))
}

func signInMAC(k AccessKey, body []byte) []byte {
	key := hmac.New(sha256.New, []byte(k.SecretAccessKey))
	key.Write([]byte("sign-in tokens"))
	m := hmac.New(sha256.New, key.Sum(nil))
	m.Write(body)
	return m.Sum(nil)
}

// useSignIn reports whether token is valid, which it is no more then, on any node.
func (s *Server) useSignIn(ctx context.Context, token string) (bool, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(b) != signInBody+sha256.Size {
		return false, nil
	}
	if !slices.ContainsFunc(s.Root.keys(), func(k AccessKey) bool { return hmac.Equal(b[signInBody:], signInMAC(k, b[:signInBody])) }) {
		return false, nil
	}
	expires := time.UnixMilli(int64(binary.BigEndian.Uint64(b)))
	if !s.now().Before(expires) {
		return false, nil
	}
	return s.Store.UseToken(ctx, "sign-in "+hex.EncodeToString(b[signInExpiry:signInBody]), expires)
}

// A SignInTokenOutput holds a sign-in token.
type SignInTokenOutput struct {
	Token     string   `json:"token"`
	ExpiresAt ivs.Time `json:"expiresAt"`
}

// CreateSignInToken serves POST /_millrace/sign-in-tokens: a token that signs in to the
// console once, within ten minutes.
func (s *Server) CreateSignInToken(w http.ResponseWriter, r *http.Request, _ store.Scope) error {
	Reply(w, SignInTokenOutput{s.NewSignInToken(), ivs.Time{Time: s.now().Add(SignInLifetime)}})
	return nil
}

// A SignInInput holds the token that CreateSignInToken returned.
type SignInInput struct {
	Token string `json:"token"`
}

// A CredentialsOutput holds the root credentials.
type CredentialsOutput struct {
	AccessKeyID     string `json:"accessKeyId"`
	SecretAccessKey string `json:"secretAccessKey"`
	Region          string `json:"region"`
}

// signIn serves POST /_millrace/sign-in: exchanges a sign-in token for the root credentials.
func (s *Server) signIn(w http.ResponseWriter, r *http.Request) error {
	body, err := receive(&s.signIns, w, r, signInBodies)
	if err != nil {
		return err
	}
	var in SignInInput
	if err := decode(body, &in); err != nil {
		return err
	}
	valid, err := s.useSignIn(r.Context(), in.Token)
	if err != nil {
		return err
	}
	if !valid {
		return ivs.Errorf(ivs.UnrecognizedClient, "This sign-in link has been used or is older than %d minutes: `millrace env` prints a new one", SignInLifetime/time.Minute)
	}
	key := s.Root.first()
	Reply(w, CredentialsOutput{key.AccessKeyID, key.SecretAccessKey, s.Region})
	return nil
}
