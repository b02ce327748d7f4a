package api

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/md5"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"strings"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
)

type importPlaybackKeyPairInput struct {
	PublicKeyMaterial string            `json:"publicKeyMaterial"`
	Name              *string           `json:"name"`
	Tags              map[string]string `json:"tags"`

	fingerprint string // of PublicKeyMaterial, once it is checked
}

func (in *importPlaybackKeyPairInput) check(c *checker) {
	c.name("name", in.Name)
	c.tags(in.Tags)
	if in.PublicKeyMaterial == "" {
		c.missing("publicKeyMaterial")
		return
	}
	if in.fingerprint = fingerprint(in.PublicKeyMaterial); in.fingerprint == "" {
		c.fail("publicKeyMaterial must be the public key of an ECDSA pair on the curve P-384 (secp384r1), in PEM: -----BEGIN PUBLIC KEY-----")
	}
}

// fingerprint is the MD5 of the key as its PEM block holds it, as IVS shows it;
// "" if that is no P-384 key.
func fingerprint(material string) string {
	const begin = "-----BEGIN PUBLIC KEY-----"
	material = strings.TrimSpace(material)
	block, rest := pem.Decode([]byte(material))
	if block == nil || !strings.HasPrefix(material, begin) || len(block.Headers) > 0 || len(rest) > 0 {
		return ""
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return ""
	}
	if ec, ok := key.(*ecdsa.PublicKey); !ok || ec.Curve != elliptic.P384() {
		return ""
	}
	sum := md5.Sum(block.Bytes)
	pairs := make([]string, len(sum))
	for i := range sum {
		pairs[i] = hex.EncodeToString(sum[i : i+1])
	}
	return strings.Join(pairs, ":")
}

type keyPairOutput struct {
	KeyPair ivs.PlaybackKeyPair `json:"keyPair"`
}

func (s *Server) importPlaybackKeyPair(ctx context.Context, scope store.Scope, in *importPlaybackKeyPairInput) (*keyPairOutput, error) {
	k := ivs.PlaybackKeyPair{ARN: newARN(scope, ivs.PlaybackKeyType), Fingerprint: in.fingerprint, PublicKeyMaterial: in.PublicKeyMaterial, Tags: cloneTags(in.Tags)}
	set(&k.Name, in.Name)
	return &keyPairOutput{k.Shown()}, s.Store.PlaybackKeyPairs().Create(ctx, k, s.Quotas.playbackKeyPairs(), false)
}

// playbackKeyInput is the request of operations on one key pair.
type playbackKeyInput struct {
	ARN string `json:"arn"`
}

func (in *playbackKeyInput) check(c *checker) { c.arn("arn", in.ARN, ivs.PlaybackKeyType) }

func (s *Server) getPlaybackKeyPair(ctx context.Context, _ store.Scope, in *playbackKeyInput) (*keyPairOutput, error) {
	k, err := s.Store.PlaybackKeyPairs().Get(ctx, in.ARN)
	return &keyPairOutput{k.Shown()}, err
}

func (s *Server) deletePlaybackKeyPair(ctx context.Context, _ store.Scope, in *playbackKeyInput) (struct{}, error) {
	return struct{}{}, s.Store.PlaybackKeyPairs().Delete(ctx, in.ARN)
}

type listPlaybackKeyPairsOutput struct {
	KeyPairs  []ivs.PlaybackKeyPairSummary `json:"keyPairs"`
	NextToken string                       `json:"nextToken,omitempty"`
}

func (s *Server) listPlaybackKeyPairs(ctx context.Context, scope store.Scope, in *listInput) (*listPlaybackKeyPairsOutput, error) {
	list, next, err := s.Store.PlaybackKeyPairs().List(ctx, scope, in.page(min(s.Quotas.playbackKeyPairs(), 100)))
	return &listPlaybackKeyPairsOutput{summaries(list, ivs.PlaybackKeyPair.Summary), next}, err
}
