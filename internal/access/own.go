package access

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/sha512"
	"fmt"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/token"
)

// ownTokenLife is how long a token is valid that this server signs: it is used at
// once.
const ownTokenLife = time.Minute

// An ownKey signs tokens for callers of the API, such as the console. It is the same
// on every node.
type ownKey struct {
	once sync.Once
	key  *ecdsa.PrivateKey
	err  error
}

// get derives the key from the secret in the database.
func (o *ownKey) get(db *store.DB) (*ecdsa.PrivateKey, error) {
	o.once.Do(func() {
		secret := db.Key("playback tokens of this server")
		for i := 0; i == 0 || o.err != nil && i < 8; i++ { // all but one of 2^190 numbers are keys
			var scalar []byte
			if scalar, o.err = hkdf.Key(sha512.New384, secret, nil, fmt.Sprint("P-384 ", i), 48); o.err == nil {
				o.key, o.err = ecdsa.ParseRawPrivateKey(elliptic.P384(), scalar)
			}
		}
	})
	return o.key, o.err
}

// Mint signs a token for a private channel, for a caller that has been authorized in
// another way. It is valid for a minute.
func (c *Control) Mint(_ context.Context, channelARN string) (string, error) {
	key, err := c.own.get(c.Store)
	if err != nil {
		return "", err
	}
	return token.Claims{ChannelARN: channelARN, Expires: time.Now().Add(ownTokenLife)}.Sign(key)
}
