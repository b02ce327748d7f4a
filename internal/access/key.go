package access

import (
	"context"
	"crypto/ecdsa"
	"fmt"

	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/token"
)

// A key is a public key that the API has imported.
type key struct {
	arn    string
	public *ecdsa.PublicKey
}

func readKeys(ctx context.Context, db *store.DB, scope store.Scope) (keys []key, err error) {
	for p := (store.Page{Max: 100}); ; {
		list, next, err := db.PlaybackKeyPairs().List(ctx, scope, p)
		if err != nil {
			return nil, err
		}
		for _, pair := range list {
			public, err := token.ParsePublicKey([]byte(pair.PublicKeyMaterial))
			if err != nil {
				return nil, fmt.Errorf("playback key pair %s: %w", pair.ARN, err)
			}
			keys = append(keys, key{pair.ARN, public})
		}
		if next == "" {
			return keys, nil
		}
		p.Token = next
	}
}
