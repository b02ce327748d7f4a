package token

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// GenerateKey makes a key pair on P-384: the private half as PKCS #8 and the
// public half as SubjectPublicKeyInfo, both in PEM.
func GenerateKey() (private, public []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("making a P-384 key: %w", err)
	}
	privateDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("encoding a private key: %w", err)
	}
	publicDER, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return nil, nil, fmt.Errorf("encoding a public key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: privateDER}),
		pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: publicDER}), nil
}

// ParsePrivateKey reads a P-384 key in PEM, as PKCS #8 ("PRIVATE KEY") or as
// SEC 1 ("EC PRIVATE KEY", which openssl may precede with "EC PARAMETERS").
func ParsePrivateKey(text []byte) (*ecdsa.PrivateKey, error) {
	var found string
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			if found != "" {
				return nil, fmt.Errorf("holds %s, not a private key", found)
			}
			return nil, errors.New("holds no private key in PEM: -----BEGIN PRIVATE KEY-----")
		}
		switch block.Type {
		case "PRIVATE KEY":
			key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			return onP384(key, err)
		case "EC PRIVATE KEY":
			key, err := x509.ParseECPrivateKey(block.Bytes)
			return onP384(key, err)
		}
		found, text = block.Type, rest
	}
}

func onP384(key any, err error) (*ecdsa.PrivateKey, error) {
	if err != nil {
		return nil, fmt.Errorf("holds a private key that cannot be read: %w", err)
	}
	if ec, ok := key.(*ecdsa.PrivateKey); ok && ec.Curve == elliptic.P384() {
		return ec, nil
	}
	return nil, errors.New("holds a key that is not ECDSA on the curve P-384 (secp384r1)")
}

// ParsePublicKey reads the P-384 key in the first block of a PEM text.
func ParsePublicKey(text []byte) (*ecdsa.PublicKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PUBLIC KEY" {
		return nil, errors.New("no public key in PEM: -----BEGIN PUBLIC KEY-----")
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	if ec, ok := key.(*ecdsa.PublicKey); ok && ec.Curve == elliptic.P384() {
		return ec, nil
	}
	return nil, errors.New("public key is not ECDSA on the curve P-384 (secp384r1)")
}
