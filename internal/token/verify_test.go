package token

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha512"
	"math/big"
	"testing"
)

// FuzzVerify looks for signatures that verify takes and should not, or does not take. The
// input is a private key and the two numbers by which verify multiplies the base point and
// the public key: the signature is made to fit them, so that small and related numbers,
// where formulas of addition have their exceptions, are as likely as others. Where bit is
// odd, one bit of it is changed. The standard library, which takes three times as long, is
// asked only where the result is not the one that is expected.
func FuzzVerify(f *testing.F) {
	n := elliptic.P384().Params().N
	minus := func(i int64) []byte { return new(big.Int).Sub(n, big.NewInt(i)).Bytes() }
	for _, d := range [][]byte{{1}, {2}, {3}, {31}, {64}, {127}, minus(1), minus(2), bytes.Repeat([]byte{0x5a}, 48)} {
		for _, u := range [][2][]byte{{{0}, {1}}, {{1}, {1}}, {{2}, {1}}, {{1}, {2}}, {{63}, {21}}, {{127}, {31}}, {{1}, minus(1)}, {minus(1), {3}},
			{minus(2), minus(2)}, {bytes.Repeat([]byte{0xff}, 47), {1}}, {bytes.Repeat([]byte{0xa5}, 48), bytes.Repeat([]byte{0x3c}, 48)}} {
			f.Add(d, u[0], u[1], uint16(0))
			f.Add(d, u[0], u[1], uint16(len(d)*14+1))
		}
	}
	f.Fuzz(func(t *testing.T, private, base, public []byte, bit uint16) {
		number := func(b []byte) *big.Int {
			i := new(big.Int).SetBytes(b[:min(len(b), 2*scalarSize)])
			return i.Mod(i, n)
		}
		d, u1, u2 := number(private), number(base), number(public)
		if d.Sign() == 0 || u2.Sign() == 0 {
			return
		}
		key := keyOf(t, d)
		sum := new(big.Int).Mul(u2, d)
		sum.Mod(sum.Add(sum, u1), n)
		r := big.NewInt(1) // where the sum is the point at infinity, no signature fits: see that none is found
		if sum.Sign() != 0 {
			point, err := keyOf(t, sum).PublicKey.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			r = number(point[1 : 1+scalarSize])
		}
		s := new(big.Int).ModInverse(u2, n)
		s.Mod(s.Mul(s, r), n)
		e := new(big.Int).Mul(u1, s)
		var digest [sha512.Size384]byte
		e.Mod(e, n).FillBytes(digest[:])
		signature := append(r.FillBytes(make([]byte, scalarSize)), s.FillBytes(make([]byte, scalarSize))...)
		want := sum.Sign() != 0
		if bit%2 == 1 {
			signature[int(bit/16)%len(signature)] ^= 1 << (bit / 2 % 8)
			want = false
		}
		got := verify(&key.PublicKey, digest, signature)
		if got == want {
			return
		}
		r, s = new(big.Int).SetBytes(signature[:scalarSize]), new(big.Int).SetBytes(signature[scalarSize:])
		if std := ecdsa.Verify(&key.PublicKey, digest[:], r, s); got != std || want {
			t.Errorf("key %x, digest %x, signature %x: %v, crypto/ecdsa says %v", d, digest, signature, got, std)
		}
	})
}

func keyOf(t *testing.T, d *big.Int) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P384(), d.FillBytes(make([]byte, scalarSize)))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Numbers that are no signature are refused before anything is computed.
func TestVerifyBounds(t *testing.T) {
	key := keyOf(t, big.NewInt(7))
	n := elliptic.P384().Params().N
	number := func(i *big.Int) []byte { return i.FillBytes(make([]byte, scalarSize)) }
	zero, one, all := new(big.Int), big.NewInt(1), new(big.Int).SetBytes(bytes.Repeat([]byte{0xff}, scalarSize))
	for name, signature := range map[string][]byte{
		"nothing": nil, "r is 0": append(number(zero), number(one)...), "s is 0": append(number(one), number(zero)...),
		"r is n": append(number(n), number(one)...), "s is n": append(number(one), number(n)...), "both are too large": append(number(all), number(all)...),
		"short": number(one), "long": append(append(number(one), number(one)...), 0),
	} {
		if verify(&key.PublicKey, [sha512.Size384]byte{1}, signature) {
			t.Errorf("%s: is taken", name)
		}
	}
	if verify(&ecdsa.PublicKey{}, [sha512.Size384]byte{1}, append(number(one), number(one)...)) {
		t.Error("a key that is none has signed")
	}
}
