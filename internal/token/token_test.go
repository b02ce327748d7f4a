package token_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/token"
)

const channel = "arn:aws:ivs:us-west-2:123456789012:channel/abcdefghijkl"

var now = time.Unix(1_777_626_000, 0)

// key is a new key pair, its private half also in PEM.
func key(t testing.TB) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	private, public, err := token.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	k, err := token.ParsePrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := token.ParsePublicKey(public); err != nil || !p.Equal(&k.PublicKey) {
		t.Fatalf("the public half differs: %v", err)
	}
	return k, private
}

// signed is a token of any header and payload.
func signed(t testing.TB, k *ecdsa.PrivateKey, header, payload string) string {
	t.Helper()
	text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
	sig, err := jwt.SigningMethodES384.Sign(text, k)
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(sig)
}

const es384 = `{"alg":"ES384","typ":"JWT"}`

var longID = strings.Repeat("x", 41)

// at is a time as claims have it.
func at(d time.Duration) string { return fmt.Sprint(now.Add(d).Unix()) }

// claimTests are claims beside those that every token must have, and what is said of them.
var claimTests = []struct{ name, claims, want string }{
	// aws:channel-arn
	{"channel right", ``, ""},
	{"channel absent", `"aws:channel-arn":null`, "aws:channel-arn is missing"},
	{"channel wrong", `"aws:channel-arn":"` + channel + `x"`, "token is for another channel"},
	{"channel in capitals", `"aws:channel-arn":"` + strings.ToUpper(channel) + `"`, "token is for another channel"},
	{"channel of another account", `"aws:channel-arn":"` + strings.Replace(channel, "1234", "4321", 1) + `"`, "token is for another channel"},
	{"channel of another region", `"aws:channel-arn":"` + strings.Replace(channel, "us-west-2", "eu-west-1", 1) + `"`, "token is for another channel"},
	{"channel is a number", `"aws:channel-arn":1`, "aws:channel-arn must be a string"},
	{"channel is a list", `"aws:channel-arn":["` + channel + `"]`, "aws:channel-arn must be a string"},
	{"channel empty", `"aws:channel-arn":""`, "aws:channel-arn is empty"},
	{"name in capitals", `"aws:channel-arn":null,"AWS:Channel-ARN":"` + channel + `"`, "aws:channel-arn is missing"},
	// exp
	{"exp absent", `"exp":null`, "exp is missing"},
	{"exp in a year", `"exp":` + at(365*24*time.Hour), ""},
	{"exp in a second", `"exp":` + at(time.Second), ""},
	{"exp now", `"exp":` + at(0), "token has expired at 2026-05-01T09:00:00Z, 0s ago"},
	{"exp a minute ago", `"exp":` + at(-time.Minute), "token has expired at 2026-05-01T08:59:00Z, 1m0s ago"},
	{"exp with a fraction", `"exp":` + at(time.Second) + `.5`, ""},
	{"exp in milliseconds", `"exp":` + at(time.Minute) + `000`, ""},
	{"exp in milliseconds, over", `"exp":` + at(-time.Minute) + `000`, "token has expired at 2026-05-01T08:59:00Z"},
	{"exp as text", `"exp":"` + at(time.Minute) + `"`, "exp must be a number of seconds"},
	{"exp as a date", `"exp":"2027-01-01T00:00:00Z"`, "exp must be a number of seconds"},
	{"exp true", `"exp":true`, "exp must be a number of seconds"},
	{"exp zero", `"exp":0`, "exp must be a number of seconds"},
	{"exp negative", `"exp":-5`, "exp must be a number of seconds"},
	{"exp huge", `"exp":1e300`, "exp must be a number of seconds"},
	{"exp infinite", `"exp":1e999`, "exp must be a number of seconds"},
	// nbf
	{"nbf now", `"nbf":` + at(0), ""},
	{"nbf by a fast clock", `"nbf":` + at(30*time.Second), ""},
	{"nbf to come", `"nbf":` + at(31*time.Second), "token is not valid before 2026-05-01T09:00:31Z"},
	{"nbf as text", `"nbf":"now"`, "nbf must be a number"},
	// aws:access-control-allow-origin, aws:strict-origin-enforcement
	{"one origin", `"aws:access-control-allow-origin":"https://example.com"`, ""},
	{"origins are a list", `"aws:access-control-allow-origin":["https://example.com"]`, "aws:access-control-allow-origin must be a string"},
	{"origins empty", `"aws:access-control-allow-origin":""`, "aws:access-control-allow-origin is empty"},
	{"six origins", `"aws:access-control-allow-origin":"https://a,https://b,https://c,https://d,https://e,https://f"`, ""},
	{"five strict origins", `"aws:access-control-allow-origin":"https://a,https://b,https://c,https://d,https://e","aws:strict-origin-enforcement":true`, ""},
	{"six strict origins", `"aws:access-control-allow-origin":"https://a,https://b,https://c,https://d,https://e,https://f","aws:strict-origin-enforcement":true`, "at most 5 are allowed"},
	{"not strict", `"aws:strict-origin-enforcement":false`, ""},
	{"strict as text", `"aws:strict-origin-enforcement":"true"`, "aws:strict-origin-enforcement must be true or false"},
	{"strict as a number", `"aws:strict-origin-enforcement":1`, "aws:strict-origin-enforcement must be true or false"},
	// aws:single-use-uuid
	{"single use", `"aws:single-use-uuid":"1bcf3af7-6ca5-4bd1-8736-c50f3268d21d"`, ""},
	{"single use empty", `"aws:single-use-uuid":""`, "aws:single-use-uuid is empty"},
	{"single use is a number", `"aws:single-use-uuid":7`, "aws:single-use-uuid must be a string"},
	{"single use for ten minutes", `"aws:single-use-uuid":"u","exp":` + at(10*time.Minute), ""},
	{"single use for an hour", `"aws:single-use-uuid":"u","exp":` + at(time.Hour), "with aws:single-use-uuid it must expire within 10m0s"},
	// aws:viewer-id, aws:viewer-session-version
	{"viewer id", `"aws:viewer-id":"viewer-42"`, ""},
	{"viewer id of 40", `"aws:viewer-id":"` + longID[:40] + `"`, ""},
	{"viewer id of 40 in two bytes each", `"aws:viewer-id":"` + strings.Repeat("ü", 40) + `"`, ""},
	{"viewer id of 41", `"aws:viewer-id":"` + longID + `"`, "aws:viewer-id has 41 characters"},
	{"viewer id empty", `"aws:viewer-id":""`, "aws:viewer-id is empty"},
	{"viewer id is a number", `"aws:viewer-id":42`, "aws:viewer-id must be a string"},
	{"viewer id for ten minutes", `"aws:viewer-id":"v","exp":` + at(10*time.Minute), ""},
	{"viewer id by a fast clock", `"aws:viewer-id":"v","exp":` + at(10*time.Minute+30*time.Second), ""},
	{"viewer id for eleven minutes", `"aws:viewer-id":"v","exp":` + at(11*time.Minute), "with aws:viewer-id it must expire within 10m0s"},
	{"version", `"aws:viewer-id":"v","aws:viewer-session-version":1777626000`, ""},
	{"version of 64 bits", `"aws:viewer-id":"v","aws:viewer-session-version":9223372036854775807`, ""},
	{"version of 65 bits", `"aws:viewer-id":"v","aws:viewer-session-version":9223372036854775808`, "aws:viewer-session-version must be an integer"},
	{"version with a fraction", `"aws:viewer-id":"v","aws:viewer-session-version":1.5`, "aws:viewer-session-version must be an integer"},
	{"version as text", `"aws:viewer-id":"v","aws:viewer-session-version":"1"`, "aws:viewer-session-version must be an integer"},
	{"version without viewer id", `"aws:viewer-session-version":1`, "aws:viewer-session-version is only for tokens with aws:viewer-id"},
	// aws:maximum-resolution
	{"SD", `"aws:maximum-resolution":"SD"`, ""},
	{"HD", `"aws:maximum-resolution":"HD"`, ""},
	{"FULL_HD", `"aws:maximum-resolution":"FULL_HD"`, ""},
	{"another resolution", `"aws:maximum-resolution":"UHD"`, `aws:maximum-resolution is "UHD"; it may be SD, HD or FULL_HD`},
	{"resolution in small letters", `"aws:maximum-resolution":"hd"`, `aws:maximum-resolution is "hd"`},
	{"resolution as a number", `"aws:maximum-resolution":720`, "aws:maximum-resolution must be a string"},
	// what is passed over
	{"ads", `"aws:ads-opt-out":true,"aws:ads-player-params":{"a":"b"},"aws:ads-playback-config-name":"c","aws:ads-reporting-mode":"CLIENT"`, ""},
	{"ads of wrong types", `"aws:ads-opt-out":7,"aws:ads-reporting-mode":[]`, ""},
	{"unknown claims", `"iss":"me","sub":"you","aws:new":[1]`, ""},
	{"null is absent", `"aws:viewer-id":null,"aws:viewer-session-version":null,"aws:single-use-uuid":null,"aws:maximum-resolution":null`, ""},
}

// Each claim absent, right, wrong, of a wrong type, and at its limit.
func TestClaims(t *testing.T) {
	k, _ := key(t)
	for _, tt := range claimTests {
		t.Run(tt.name, func(t *testing.T) {
			payload := map[string]any{"aws:channel-arn": channel, "exp": now.Add(time.Minute).Unix()}
			text, _ := json.Marshal(payload)
			if tt.claims != "" { // the last of two members of one name counts
				text = append(append(text[:len(text)-1], ','), tt.claims+"}"...)
			}
			tok, err := token.Parse(signed(t, k, es384, string(text)))
			if err == nil {
				err = tok.Check(channel, now)
			}
			if got := fmt.Sprint(err); tt.want == "" && err != nil || !strings.Contains(got, tt.want) {
				t.Errorf("%s: %v, want %q", text, err, tt.want)
			}
		})
	}
}

// What is read is what was signed.
func TestSignAndParse(t *testing.T) {
	k, _ := key(t)
	want := token.Claims{ChannelARN: channel, Expires: now.Add(time.Minute), NotBefore: now, Origins: []string{"https://a.example", "https://*.b.example"},
		StrictOrigin: true, SingleUse: "u", ViewerID: "v ü", ViewerVersion: 7, MaximumResolution: "HD"}
	raw, err := want.Sign(k)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := token.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, tok.Claims); diff != "" {
		t.Error(diff)
	}
	other, _ := key(t)
	if !tok.SignedBy(&k.PublicKey) || tok.SignedBy(&other.PublicKey) {
		t.Error("the signature is not taken for that of its key")
	}
}

// Algorithms other than ES384 are refused whatever the header asks for, and so
// are signatures that are not its own.
func TestForged(t *testing.T) {
	k, _ := key(t)
	payload := `{"aws:channel-arn":"` + channel + `","exp":1777626060}`
	encode := base64.RawURLEncoding.EncodeToString
	good := signed(t, k, es384, payload)
	part := strings.Split(good, ".")
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	with := func(m jwt.SigningMethod, key any) string {
		raw, err := jwt.NewWithClaims(m, jwt.MapClaims{"aws:channel-arn": channel, "exp": 1777626060}).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&k.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}) // as who holds it has it
	flipped := []byte(part[2])
	flipped[10] ^= 1
	swapped, _ := base64.RawURLEncoding.DecodeString(part[2])
	swapped = append(swapped[48:], swapped[:48]...)
	for name, raw := range map[string]string{
		"no token":                  "",
		"none":                      encode([]byte(`{"alg":"none"}`)) + "." + part[1] + ".",
		"None":                      encode([]byte(`{"alg":"None"}`)) + "." + part[1] + "." + part[2],
		"no algorithm":              encode([]byte(`{}`)) + "." + part[1] + "." + part[2],
		"algorithm is null":         encode([]byte(`{"alg":null}`)) + "." + part[1] + "." + part[2],
		"algorithm in small":        encode([]byte(`{"alg":"es384"}`)) + "." + part[1] + "." + part[2],
		"HS384 with the public key": with(jwt.SigningMethodHS384, public),
		"RS256":                     with(jwt.SigningMethodRS256, rsaKey),
		"ES256":                     with(jwt.SigningMethodES256, p256),
		"crit":                      signed(t, k, `{"alg":"ES384","crit":["b64"],"b64":false}`, payload),
		"no signature":              part[0] + "." + part[1] + ".",
		"short signature":           good[:len(good)-4],
		"changed signature":         part[0] + "." + part[1] + "." + string(flipped),
		"swapped signature":         part[0] + "." + part[1] + "." + encode(swapped),
		"zero signature":            part[0] + "." + part[1] + "." + encode(make([]byte, 96)),
		"changed payload":           part[0] + "." + encode([]byte(strings.Replace(payload, "060", "061", 1))) + "." + part[2],
		"four segments":             good + ".x",
		"two segments":              part[0] + "." + part[1],
		"padding":                   good + "=",
		"standard base64":           part[0] + "." + part[1] + "." + strings.Repeat("+", len(part[2])),
		"payload is a list":         signed(t, k, es384, "[]"),
		"payload is null":           signed(t, k, es384, "null"),
		"two payloads":              signed(t, k, es384, payload+payload),
		"payload is not UTF-8":      signed(t, k, es384, "{\"a\":\"\xff\"}"),
		"header is text":            signed(t, k, `"ES384"`, payload),
		"too long":                  signed(t, k, es384, payload[:len(payload)-1]+`,"x":"`+strings.Repeat("x", 1500)+`"}`),
	} {
		if tok, err := token.Parse(raw); err == nil && tok.SignedBy(&k.PublicKey) {
			t.Errorf("%s: is taken", name)
		}
	}
	if tok, err := token.Parse(good); err != nil || !tok.SignedBy(&k.PublicKey) {
		t.Errorf("the good one is refused: %v", err)
	}
	if tok, err := token.Parse(signed(t, k, `{"alg":"ES384","kid":"mine","jwk":{},"jku":"https://evil.example"}`, payload)); err != nil || !tok.SignedBy(&k.PublicKey) {
		t.Errorf("a kid is not passed over: %v", err)
	}
}

// 2048 bytes are allowed and not one more.
func TestSize(t *testing.T) {
	k, _ := key(t)
	for n := 1300; n < 1500; n++ {
		raw := signed(t, k, es384, `{"aws:channel-arn":"`+channel+`","exp":1777626060,"x":"`+strings.Repeat("x", n)+`"}`)
		if _, err := token.Parse(raw); (err == nil) != (len(raw) <= 2048) {
			t.Fatalf("%d bytes: %v", len(raw), err)
		}
		if len(raw) > 2048 {
			return
		}
	}
	t.Fatal("none had more than 2048 bytes")
}

// Tokens that other libraries sign are taken.
func TestOtherSigners(t *testing.T) {
	if testing.Short() {
		t.Skip("starts Node and Python")
	}
	k, private := key(t)
	file := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(file, private, 0o600); err != nil {
		t.Fatal(err)
	}
	want := token.Claims{ChannelARN: channel, Expires: now.Add(5 * time.Minute), Origins: []string{"https://example.com", "https://*.example.org"},
		StrictOrigin: true, SingleUse: "1bcf3af7-6ca5-4bd1-8736-c50f3268d21d", ViewerID: "viewer-42", ViewerVersion: 1777626000, MaximumResolution: "HD"}
	const payload = `{"aws:channel-arn":"` + channel + `","aws:access-control-allow-origin":"https://example.com,https://*.example.org",` +
		`"aws:strict-origin-enforcement":true,"aws:single-use-uuid":"1bcf3af7-6ca5-4bd1-8736-c50f3268d21d","aws:viewer-id":"viewer-42",` +
		`"aws:viewer-session-version":1777626000,"aws:maximum-resolution":"HD","exp":1777626300}`
	for name, command := range map[string][]string{
		"Node":   {"node", "testdata/sign.mjs", file},
		"Python": {"/usr/bin/python3", "testdata/sign.py", file}, // the one that has Debian's packages
	} {
		sign := exec.Command(command[0], command[1:]...)
		sign.Stdin = strings.NewReader(`{"alg":"ES384","typ":"JWT","kid":"key-1"}` + "\n" + payload + "\n")
		sign.Stderr = os.Stderr
		raw, err := sign.Output()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		tok, err := token.Parse(string(raw))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, tok.Claims); diff != "" || !tok.SignedBy(&k.PublicKey) {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// Keys of openssl are read in both of its forms, others are refused in words.
func TestPrivateKeys(t *testing.T) {
	k, pkcs8 := key(t)
	for name, tt := range map[string]struct{ text, want string }{
		"nothing":     {"", "no private key in PEM"},
		"public":      {"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "PUBLIC KEY, not a private key"},
		"damaged":     {strings.Replace(string(pkcs8), "M", "N", 1), "cannot be read"},
		"another one": {"-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\n-----END PRIVATE KEY-----\n", "not ECDSA on the curve P-384"},
	} {
		if _, err := token.ParsePrivateKey([]byte(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
	convert := exec.Command("openssl", "ec")
	convert.Stdin = strings.NewReader(string(pkcs8))
	sec1, err := convert.Output()
	if err != nil {
		t.Fatal(err)
	}
	text := "-----BEGIN EC PARAMETERS-----\nBgUrgQQAIg==\n-----END EC PARAMETERS-----\n" + string(sec1)
	if again, err := token.ParsePrivateKey([]byte(text)); err != nil || !again.Equal(k) {
		t.Errorf("openssl's form: %v", err)
	}
}

// Whatever is read, an error or claims come back, and claims that were read can
// be signed again.
func FuzzParse(f *testing.F) {
	k, _ := key(f)
	f.Add(signed(f, k, es384, `{"aws:channel-arn":"`+channel+`","exp":1777626060,"aws:viewer-id":"v","aws:viewer-session-version":3}`))
	f.Add("..")
	f.Add("eyJhbGciOiJFUzM4NCJ9.eyJleHAiOjFlMzAwfQ.AA")
	f.Fuzz(func(t *testing.T, raw string) {
		tok, err := token.Parse(raw)
		if err != nil {
			return
		}
		tok.Check(channel, now) // it need not be good
		if tok.ViewerVersion < 0 && tok.ViewerID == "" || tok.Expires.IsZero() || tok.ChannelARN == "" {
			t.Errorf("%q: %+v", raw, tok.Claims)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	k, _ := key(b)
	raw := signed(b, k, es384, `{"aws:channel-arn":"`+channel+`","exp":1777626060,"aws:viewer-id":"v"}`)
	b.ReportAllocs()
	for b.Loop() {
		tok, err := token.Parse(raw)
		if err != nil || tok.Check(channel, now) != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSignedBy(b *testing.B) {
	k, _ := key(b)
	tok, err := token.Parse(signed(b, k, es384, `{"aws:channel-arn":"`+channel+`","exp":1777626060}`))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if !tok.SignedBy(&k.PublicKey) {
			b.Fatal("refused")
		}
	}
}
