package token

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha512"
	"math/big"

	"github.com/cloudflare/circl/ecc/p384"
)

// SignedBy reports whether the holder of key's private half signed the token.
func (t *Token) SignedBy(key *ecdsa.PublicKey) bool {
	digest := sha512.Sum384([]byte(t.signed))
	return verify(key, digest, t.signature)
}

const scalarSize = 48 // bytes of a number on P-384

// verify verifies an ECDSA signature on P-384 (FIPS 186-5, section 6.4.2), r and
// s in 48 bytes each (RFC 7518, section 3.4). crypto/ecdsa does the same in three
// times the time: it has no combined multiplication and takes as long for every
// number, which nothing here needs, for nothing here is secret.
func verify(key *ecdsa.PublicKey, digest [sha512.Size384]byte, signature []byte) bool {
	if len(signature) != 2*scalarSize {
		return false
	}
	n := elliptic.P384().Params().N
	r, s := new(big.Int).SetBytes(signature[:scalarSize]), new(big.Int).SetBytes(signature[scalarSize:])
	if r.Sign() == 0 || s.Sign() == 0 || r.Cmp(n) >= 0 || s.Cmp(n) >= 0 {
		return false
	}
	point, err := key.Bytes() // 4, x, y: on the curve, or it is an error
	if err != nil || len(point) != 1+2*scalarSize {
		return false
	}
	x, y := new(big.Int).SetBytes(point[1:1+scalarSize]), new(big.Int).SetBytes(point[1+scalarSize:])
	inverse := new(big.Int).ModInverse(s, n)
	u1 := new(big.Int).SetBytes(digest[:]) // as long as n: nothing is cut off
	u1.Mod(u1.Mul(u1, inverse), n)
	u2 := new(big.Int).Mul(r, inverse)
	u2.Mod(u2, n)
	x, y = p384.P384().CombinedMult(x, y, u1.Bytes(), u2.Bytes())
	if x.Sign() == 0 && y.Sign() == 0 { // the point at infinity
		return false
	}
	return x.Mod(x, n).Cmp(r) == 0
}
