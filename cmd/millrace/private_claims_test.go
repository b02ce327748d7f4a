package main

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
	"github.com/aws/aws-sdk-go-v2/service/ivs/types"
	"github.com/golang-jwt/jwt/v5"

	"github.com/millrace/millrace/internal/token"
)

// Codes of refusals.
const (
	badToken = "invalid_playback_auth_token"
	mayNot   = "playback_auth_error"
)

// A request is one of the kinds that players make below the multivariant
// playlist.
type mediaRequest struct {
	name, method, file, ranged string
	want                       int
}

// mediaRequests are all kinds, for what a playlist lists now.
func mediaRequests(t *testing.T, playlist, segment, part string) (list []mediaRequest) {
	t.Helper()
	m := regexp.MustCompile(`#EXT-X-MAP:URI="([^"]+)"`).FindStringSubmatch(playlist)
	if m == nil {
		t.Fatalf("no init segment in %s", playlist)
	}
	for _, file := range []string{"playlist.m3u8", "playlist.m3u8?_HLS_msn=0&_HLS_part=0", segment, part, m[1]} {
		list = append(list, mediaRequest{file, "GET", file, "", 200}, mediaRequest{"HEAD " + file, "HEAD", file, "", 200})
		if file == segment || file == part {
			list = append(list, mediaRequest{"range of " + file, "GET", file, "bytes=0-9", 206})
		}
	}
	return list
}

// do makes the request in the folder of a media playlist, from an origin unless
// that is "".
func (r mediaRequest) do(t *testing.T, folder, origin string) answer {
	t.Helper()
	var header []string
	if origin != "" {
		header = append(header, "Origin", origin)
	}
	if r.ranged != "" {
		header = append(header, "Range", r.ranged)
	}
	return ask(t, r.method, folder+r.file, header...)
}

func folderOf(url string) string { return url[:strings.LastIndexByte(url, '/')+1] }

// A claimsTest is a token with claims beside a right aws:channel-arn and exp.
type claimsTest struct {
	name   string
	claims map[string]any // nil is left out
	origin string         // of all requests
	code   string         // of the refusal; "" is none
	text   string         // in it
}

const originA, originB, originEvil = "https://a.example", "https://x.b.example", "https://evil.example"

type claims = map[string]any

func expiresIn(d time.Duration) int64 { return time.Now().Add(d).Unix() }

func origins(list string, strict any) claims {
	return claims{"aws:access-control-allow-origin": list, "aws:strict-origin-enforcement": strict}
}

func viewer(id, version any) claims {
	return claims{"aws:viewer-id": id, "aws:viewer-session-version": version}
}

func channelClaims(arn string) []claimsTest {
	return []claimsTest{
		{"nothing more", nil, "", "", ""},
		{"channel absent", claims{"aws:channel-arn": nil}, "", badToken, "aws:channel-arn is missing"},
		{"channel wrong", claims{"aws:channel-arn": arn + "x"}, "", badToken, "token is for another channel"},
		{"channel of another account", claims{"aws:channel-arn": strings.Replace(arn, "arn:aws:ivs:us-west-2:", "arn:aws:ivs:us-west-2:9", 1)}, "", badToken, "token is for another channel"},
		{"channel of a wrong type", claims{"aws:channel-arn": 7}, "", badToken, "aws:channel-arn must be a string"},
		{"channels", claims{"aws:channel-arn": []string{arn}}, "", badToken, "aws:channel-arn must be a string"},
	}
}

func timeClaims() []claimsTest {
	return []claimsTest{
		{"exp absent", claims{"exp": nil}, "", badToken, "exp is missing"},
		{"exp over", claims{"exp": expiresIn(-time.Minute)}, "", badToken, "token has expired at 20"},
		{"exp now", claims{"exp": expiresIn(0)}, "", badToken, "token has expired at 20"},
		{"exp in a year", claims{"exp": expiresIn(365 * 24 * time.Hour)}, "", "", ""},
		{"exp in milliseconds", claims{"exp": time.Now().Add(time.Minute).UnixMilli()}, "", "", ""},
		{"exp in milliseconds, over", claims{"exp": time.Now().Add(-time.Minute).UnixMilli()}, "", badToken, "token has expired at 20"},
		{"exp of a wrong type", claims{"exp": "tomorrow"}, "", badToken, "exp must be a number of seconds"},
		{"exp beyond the last date", claims{"exp": math.MaxInt64}, "", badToken, "exp must be a number of seconds"},
		{"nbf to come", claims{"nbf": expiresIn(time.Hour)}, "", badToken, "token is not valid before 20"},
		{"nbf of a fast clock", claims{"nbf": expiresIn(20 * time.Second)}, "", "", ""},
		{"nbf of a wrong type", claims{"nbf": true}, "", badToken, "nbf must be a number"},
	}
}

func originClaims() []claimsTest {
	return []claimsTest{
		{"origin right", origins(originA, nil), originA, "", ""},
		{"origin of a wildcard", origins("https://z.example, https://*.b.example", nil), originB, "", ""},
		{"origin wrong", origins(originA, nil), originEvil, mayNot, "is not among those that the token allows"},
		{"origin of another scheme", origins(originA, nil), "http://a.example", mayNot, "is not among those"},
		{"origin null", origins(originA, nil), "null", mayNot, "is not among those"},
		{"no origin", origins(originA, nil), "", "", ""},
		{"any origin", origins("*", nil), originEvil, "", ""},
		{"origins of a wrong type", origins("", nil), originA, badToken, "aws:access-control-allow-origin is empty"},
		{"origins as a list", claims{"aws:access-control-allow-origin": []string{originA}}, originA, badToken, "aws:access-control-allow-origin must be a string"},
		{"strict, origin right", origins(originA, true), originA, "", ""},
		{"strict, origin wrong", origins(originA, true), originEvil, mayNot, "is not among those"},
		{"strict, no origin", origins(originA, true), "", mayNot, "origin required"},
		{"strict, five origins", origins("https://1,https://2,https://3,https://4,"+originA, true), originA, "", ""},
		{"strict, six origins", origins("https://1,https://2,https://3,https://4,https://5,"+originA, true), originA, badToken, "at most 5 are allowed"},
		{"strict without a list", claims{"aws:strict-origin-enforcement": true}, originEvil, "", ""},
		{"strict without a list and an origin", claims{"aws:strict-origin-enforcement": true}, "", mayNot, "origin required"},
		{"not strict", origins(originA, false), originA, "", ""},
		{"strict of a wrong type", origins(originA, "true"), originA, badToken, "aws:strict-origin-enforcement must be true or false"},
	}
}

func singleUseClaims() []claimsTest {
	return []claimsTest{
		{"single use", claims{"aws:single-use-uuid": "one"}, "", "", ""},
		{"single use, again", claims{"aws:single-use-uuid": "one"}, "", mayNot, "has been used"},
		{"single use empty", claims{"aws:single-use-uuid": ""}, "", badToken, "aws:single-use-uuid is empty"},
		{"single use of a wrong type", claims{"aws:single-use-uuid": 7}, "", badToken, "aws:single-use-uuid must be a string"},
		{"single use for ten minutes", claims{"aws:single-use-uuid": "ten", "exp": expiresIn(10 * time.Minute)}, "", "", ""},
		{"single use for eleven minutes", claims{"aws:single-use-uuid": "eleven", "exp": expiresIn(11 * time.Minute)}, "", badToken, "must expire within 10m0s"},
	}
}

func viewerClaims() []claimsTest {
	return []claimsTest{
		{"viewer", viewer("v", nil), "", "", ""},
		{"viewer of 40 characters", viewer(strings.Repeat("ü", 40), nil), "", "", ""},
		{"viewer of 41 characters", viewer(strings.Repeat("ü", 41), nil), "", badToken, "aws:viewer-id has 41 characters"},
		{"viewer empty", viewer("", nil), "", badToken, "aws:viewer-id is empty"},
		{"viewer of a wrong type", viewer(42, nil), "", badToken, "aws:viewer-id must be a string"},
		{"viewer for ten minutes", claims{"aws:viewer-id": "v", "exp": expiresIn(10 * time.Minute)}, "", "", ""},
		{"viewer for eleven minutes", claims{"aws:viewer-id": "v", "exp": expiresIn(11 * time.Minute)}, "", badToken, "must expire within 10m0s"},
		{"viewer revoked", viewer("revoked", nil), "", mayNot, "have been revoked"},
		{"version revoked", viewer("revoked", 5), "", mayNot, "have been revoked"},
		{"version after the revoked", viewer("revoked", 6), "", "", ""},
		{"version of 64 bits", viewer("revoked", math.MaxInt64), "", "", ""},
		{"version of 65 bits", viewer("v", uint64(math.MaxUint64)), "", badToken, "aws:viewer-session-version must be an integer"},
		{"version of a wrong type", viewer("v", "1"), "", badToken, "aws:viewer-session-version must be an integer"},
		{"version without a viewer", viewer(nil, 1), "", badToken, "aws:viewer-session-version is only for"},
	}
}

func resolutionClaims() []claimsTest {
	return []claimsTest{
		{"SD", claims{"aws:maximum-resolution": "SD"}, "", "", ""}, // the source has 360 lines
		{"HD", claims{"aws:maximum-resolution": "HD"}, "", "", ""},
		{"FULL_HD", claims{"aws:maximum-resolution": "FULL_HD"}, "", "", ""},
		{"another resolution", claims{"aws:maximum-resolution": "UHD"}, "", badToken, "it may be SD, HD or FULL_HD"},
		{"resolution of a wrong type", claims{"aws:maximum-resolution": 720}, "", badToken, "aws:maximum-resolution must be a string"},
	}
}

func otherClaims() []claimsTest {
	return []claimsTest{
		{"ads", claims{"aws:ads-opt-out": true, "aws:ads-player-params": claims{"x": "y"}, "aws:ads-reporting-mode": "CLIENT"}, "", "", ""},
		{"unknown claims", claims{"iss": "me", "sub": 7, "aws:new": claims{}}, "", "", ""},
		{"2 KB and more", claims{"x": strings.Repeat("x", 1500)}, "", badToken, "at most 2048 are allowed"},
	}
}

// Every claim that is absent, right, wrong, of a wrong type and at its limit, for
// every kind of request: who may begin gets all of it, and who may not gets
// nothing, whatever is asked for.
func TestClaims(t *testing.T) {
	t.Parallel()
	p := startPrivateIn(t, types.ContainerFormatFragmentedMP4, testInputs)
	arn, playback := *p.channel.Arn, *p.channel.PlaybackUrl
	if _, err := p.ivs().StartViewerSessionRevocation(t.Context(), &awsivs.StartViewerSessionRevocationInput{
		ChannelArn: &arn, ViewerId: aws.String("revoked"), ViewerSessionVersionsLessThanOrEqualTo: 5}); err != nil {
		t.Fatal(err)
	}
	always := p.start(token.Claims{}) // a session to see with what is there
	for _, tt := range slices.Concat(channelClaims(arn), timeClaims(), originClaims(), singleUseClaims(), viewerClaims(), resolutionClaims(), otherClaims()) {
		t.Run(tt.name, func(t *testing.T) {
			payload := jwt.MapClaims{"aws:channel-arn": arn, "exp": expiresIn(5 * time.Minute)}
			for name, v := range tt.claims {
				if payload[name] = v; v == nil {
					delete(payload, name)
				}
			}
			signed, err := jwt.NewWithClaims(jwt.SigningMethodES384, payload).SignedString(p.signer.key)
			if err != nil {
				t.Fatal(err)
			}
			var header []string
			if tt.origin != "" {
				header = []string{"Origin", tt.origin}
			}
			list, segment, part := listed(t, always)
			requests := mediaRequests(t, list.body, segment, part)
			if a := ask(t, "OPTIONS", playback+"?token="+signed, header...); a.status != http.StatusNoContent {
				t.Errorf("OPTIONS = %d", a.status)
			}
			if tt.code == "" {
				if a := ask(t, "HEAD", playback+"?token="+signed, header...); a.status != http.StatusOK {
					t.Errorf("HEAD = %d", a.status)
				}
				folder := folderOf(watch(t, playback, signed, header...))
				for _, r := range requests {
					if a := r.do(t, folder, tt.origin); a.status != r.want {
						t.Errorf("%s = %d %s", r.name, a.status, a.text)
					}
					if strict, _ := tt.claims["aws:strict-origin-enforcement"].(bool); strict {
						if a := r.do(t, folder, ""); a.status != http.StatusForbidden {
							t.Errorf("%s without an origin = %d", r.name, a.status)
						}
						if _, ok := tt.claims["aws:access-control-allow-origin"]; ok {
							if a := r.do(t, folder, originEvil); a.status != http.StatusForbidden || r.method == "GET" && a.code != mayNot {
								t.Errorf("%s of another origin = %d %s", r.name, a.status, a.body)
							}
						}
					}
				}
				return
			}
			for _, method := range []string{"HEAD", "GET"} {
				a := ask(t, method, playback+"?token="+signed, header...)
				if a.status != http.StatusForbidden || method == "GET" && (a.code != tt.code || !strings.Contains(a.text, tt.text)) {
					t.Errorf("%s = %d %s", method, a.status, a.body)
				}
			}
			// The token is no session, wherever it is put.
			part0 := strings.Split(folderOf(always), "/")
			part0[len(part0)-4] = signed
			for _, r := range requests {
				r.file = strings.Replace(r.file, "?", "?token="+signed+"&", 1)
				if a := r.do(t, strings.Join(part0, "/"), tt.origin); a.status != http.StatusForbidden {
					t.Errorf("%s with the token as session = %d", r.name, a.status)
				}
			}
		})
	}
}

// No algorithm but ES384 counts, and no key but one that was imported, whatever
// the header says and whatever it was signed with.
func TestAlgorithms(t *testing.T) {
	t.Parallel()
	p := startPrivate(t, testInputs)
	claims := jwt.MapClaims{"aws:channel-arn": *p.channel.Arn, "exp": time.Now().Add(5 * time.Minute).Unix()}
	block, _ := pem.Decode([]byte(p.public))
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	otherDER, err := x509.MarshalPKIXPublicKey(&other.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	try := func(name string, method jwt.SigningMethod, key any, change func(header map[string]any)) {
		t.Helper()
		unsigned := jwt.NewWithClaims(method, claims)
		if change != nil {
			change(unsigned.Header)
		}
		signed, err := unsigned.SignedString(key)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if a := ask(t, "GET", *p.channel.PlaybackUrl+"?token="+signed); a.status != http.StatusForbidden || a.code != badToken {
			t.Errorf("%s = %d %s", name, a.status, a.body)
		}
	}
	try("none", jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil)
	for _, secret := range []struct {
		name string
		key  []byte
	}{{"PEM", []byte(p.public)}, {"PEM without its last line break", []byte(strings.TrimSpace(p.public))}, {"DER", block.Bytes}, {"point", block.Bytes[len(block.Bytes)-97:]}} {
		for _, m := range []jwt.SigningMethod{jwt.SigningMethodHS256, jwt.SigningMethodHS384, jwt.SigningMethodHS512} {
			try(m.Alg()+" with the public key as secret, "+secret.name, m, secret.key, nil)
			try(m.Alg()+" that says ES384, "+secret.name, m, secret.key, func(h map[string]any) { h["alg"] = "ES384" })
		}
	}
	for _, m := range []jwt.SigningMethod{jwt.SigningMethodRS256, jwt.SigningMethodRS384, jwt.SigningMethodRS512, jwt.SigningMethodPS256, jwt.SigningMethodPS384} {
		try(m.Alg(), m, rsaKey, nil)
	}
	try("EdDSA", jwt.SigningMethodEdDSA, edKey, nil)
	try("ES256", jwt.SigningMethodES256, p256, nil)
	try("ES512", jwt.SigningMethodES512, p521, nil)
	for _, alg := range []any{"es384", "ES384 ", "", nil, []string{"ES384"}, "none", "ES256"} {
		try("ES384 that says something else", jwt.SigningMethodES384, p.signer.key, func(h map[string]any) { h["alg"] = alg })
	}
	try("a key in the header", jwt.SigningMethodES384, other, func(h map[string]any) {
		h["jwk"] = map[string]string{"kty": "EC", "crv": "P-384"}
		h["x5c"] = []string{string(otherDER)}
		h["jku"] = "https://evil.example/keys"
		h["kid"] = *p.key
	})
	good, err := jwt.NewWithClaims(jwt.SigningMethodES384, claims).SignedString(p.signer.key)
	if err != nil {
		t.Fatal(err)
	}
	if a := ask(t, "GET", *p.channel.PlaybackUrl+"?token="+good); a.status != http.StatusOK {
		t.Errorf("the good one = %d %s", a.status, a.body)
	}
}

// The path of a viewer session is good for its own stream as it was given, and
// nothing that is made of it, or of another one, is.
func TestSessionPaths(t *testing.T) {
	t.Parallel()
	p := startPrivate(t, testInputs)
	channel, key := p.server.channel(awsivs.CreateChannelInput{Name: aws.String("second"), Authorized: true, InsecureIngest: true})
	publish(t, rtmpURL(p.rtmp, key), slices.Concat(testInputs, testCodecs)...)
	mine := p.start(token.Claims{ViewerID: "v"})
	theirs := watch(t, *channel.PlaybackUrl, p.sign(t, *channel.Arn, token.Claims{ViewerID: "v"}))
	_, segment, part := listed(t, mine)
	listed(t, theirs)
	// …/<channel>/<viewer session>/<stream>/<rendition>/
	of, other := strings.Split(strings.TrimSuffix(folderOf(mine), "/"), "/"), strings.Split(strings.TrimSuffix(folderOf(theirs), "/"), "/")
	n := len(of)
	const channelAt, viewerAt, streamAt = 4, 3, 2
	with := func(changes map[int]string) string {
		path := slices.Clone(of)
		for at, v := range changes {
			path[n-at] = v
		}
		return strings.Join(path, "/") + "/"
	}
	name := of[n-viewerAt]
	for what, folder := range map[string]string{
		"another channel's session":              with(map[int]string{viewerAt: other[n-viewerAt]}),
		"the session on another channel":         with(map[int]string{channelAt: other[n-channelAt], streamAt: other[n-streamAt]}),
		"another channel's stream":               with(map[int]string{viewerAt: other[n-viewerAt], streamAt: other[n-streamAt]}),
		"no session":                             with(map[int]string{viewerAt: "-"}),
		"half a session":                         with(map[int]string{viewerAt: name[:len(name)/2]}),
		"a longer one":                           with(map[int]string{viewerAt: name + "A"}),
		"with padding":                           with(map[int]string{viewerAt: name + "="}),
		"another case":                           with(map[int]string{viewerAt: strings.ToUpper(name)}),
		"two of them":                            with(map[int]string{viewerAt: name + name}),
		"a huge one":                             with(map[int]string{viewerAt: strings.Repeat("A", 8000)}),
		"behind another":                         with(map[int]string{viewerAt: "A/" + name}),
		"a name of a public channel's session":   with(map[int]string{viewerAt: strings.Repeat("0", 32)}),
		"the session behind a path that goes up": with(map[int]string{viewerAt: "x%2f..%2f" + name}),
		"a session of zeros":                     with(map[int]string{viewerAt: strings.Repeat("A", len(name))}),
	} {
		for _, file := range []string{"playlist.m3u8", segment, part} {
			for _, method := range []string{"GET", "HEAD"} {
				if a := ask(t, method, folder+file); a.status != http.StatusForbidden && a.status != http.StatusNotFound || len(a.body) > 20_000 {
					t.Errorf("%s: %s %s = %d", what, method, file, a.status)
				}
			}
			if check := strings.Replace(folder, "/api/video/v1/", "/api/video/v1/authorize/", 1); ask(t, "GET", check+file).status < 400 {
				t.Errorf("%s: a cache may serve %s", what, file)
			}
		}
	}
	for at := range name {
		changed := []byte(name)
		changed[at] ^= 1 << (at % 3)
		if a := ask(t, "GET", with(map[int]string{viewerAt: string(changed)})+"playlist.m3u8"); a.status == http.StatusOK {
			t.Errorf("character %d of the session can be changed: %d", at, a.status)
		}
	}
	for _, file := range []string{"playlist.m3u8", segment, part} {
		if check := strings.Replace(folderOf(mine), "/api/video/v1/", "/api/video/v1/authorize/", 1); ask(t, "GET", check+file).status != http.StatusNoContent {
			t.Errorf("a cache may not serve %s to whom it belongs", file)
		}
	}
}
