package api

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
)

// Signature Version 4, as in the AWS General Reference, "Create a signed AWS
// API request". Only the Authorization header is accepted: a presigned URL is
// something to hand on, and a control call is not.
const (
	sigAlgorithm  = "AWS4-HMAC-SHA256"
	sigTerminator = "aws4_request"
	sigTimeLayout = "20060102T150405Z"

	// maxSkew is how far the caller's clock may be off. SDKs that see the error
	// for it correct themselves by the Date header of the answer.
	maxSkew = 5 * time.Minute

	maxSignedHeaders = 64
)

var errUnknownKey = ivs.Errorf(ivs.UnrecognizedClient, "The access key of the request is unknown")

// A signature is a parsed Authorization header.
type signature struct {
	accessKey, date, region, service string // the credential scope
	signedHeaders                    string // lower-case names, sorted, separated by ;
	mac                              string // hex
}

// checkAccessKey refuses a request that no valid signature can be in, by its
// headers alone.
func (s *Server) checkAccessKey(r *http.Request) error {
	if s.AuthOff {
		return nil
	}
	header := r.Header.Get("Authorization")
	if header == "" {
		if r.URL.Query().Has("X-Amz-Signature") {
			return ivs.Errorf(ivs.IncompleteSignature, "Presigned URLs are not accepted: sign with an Authorization header")
		}
		return ivs.Errorf(ivs.MissingToken, "Missing Authentication Token: the request is not signed")
	}
	sig, err := parseAuthorization(header)
	if err != nil {
		return err
	}
	if s.Root.secret(sig.accessKey) == "" {
		return errUnknownKey
	}
	return nil
}

// authenticate returns the scope of a request that checkAccessKey accepts, if
// its signature is valid.
func (s *Server) authenticate(r *http.Request, body []byte, service string) (store.Scope, error) {
	if s.AuthOff {
		return s.claimedScope(r), nil
	}
	sig, err := parseAuthorization(r.Header.Get("Authorization"))
	if err != nil {
		return store.Scope{}, err
	}
	if err := s.verify(sig, r, body, service); err != nil {
		return store.Scope{}, err
	}
	return store.Scope{Account: s.Root.Account, Region: sig.region}, nil
}

// claimedScope takes account and region from a signature that is not verified:
// an access key of 12 digits is the account, as emulators of AWS have it.
func (s *Server) claimedScope(r *http.Request) store.Scope {
	scope := store.Scope{Account: s.Root.Account, Region: s.Region}
	sig, err := parseAuthorization(r.Header.Get("Authorization"))
	if err != nil {
		return scope
	}
	if len(sig.accessKey) == 12 && strings.Trim(sig.accessKey, "0123456789") == "" {
		scope.Account = sig.accessKey
	}
	s.warnOfRealKey(sig.accessKey)
	if isRegion(sig.region) {
		scope.Region = sig.region
	}
	return scope
}

// warnOfRealKey says once that credentials of AWS itself come here, where
// they should not be sent. The secret is not in the request.
func (s *Server) warnOfRealKey(id string) {
	real := len(id) == 20 && (strings.HasPrefix(id, "AKIA") || strings.HasPrefix(id, "ASIA")) && !strings.HasSuffix(id, "EXAMPLE")
	if !real {
		return
	}
	s.akiaOnce.Do(func() {
		s.logger().Warn("a request is signed with what looks like a real AWS access key; this server checks no signatures, use made-up credentials", "access_key", id[:8]+"…")
	})
}

func isRegion(s string) bool {
	return s != "" && len(s) <= 32 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// parseAuthorization reads
// AWS4-HMAC-SHA256 Credential=<key>/<date>/<region>/<service>/aws4_request, SignedHeaders=<names>, Signature=<hex>
func parseAuthorization(header string) (sig signature, err error) {
	algorithm, rest, _ := strings.Cut(header, " ")
	if algorithm != sigAlgorithm {
		return sig, ivs.Errorf(ivs.IncompleteSignature, "The Authorization header must use %s", sigAlgorithm)
	}
	var credential string
	for field := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		switch name {
		case "Credential":
			credential = value
		case "SignedHeaders":
			sig.signedHeaders = value
		case "Signature":
			sig.mac = value
		}
	}
	if credential == "" || sig.signedHeaders == "" || sig.mac == "" {
		return sig, ivs.Errorf(ivs.IncompleteSignature, "The Authorization header must have Credential, SignedHeaders and Signature")
	}
	part := strings.Split(credential, "/")
	if len(part) != 5 || part[4] != sigTerminator {
		return sig, ivs.Errorf(ivs.IncompleteSignature, "Credential must be <access key>/<date>/<region>/<service>/%s", sigTerminator)
	}
	sig.accessKey, sig.date, sig.region, sig.service = part[0], part[1], part[2], part[3]
	return sig, nil
}

// verify recomputes sig from the request and the secret.
func (s *Server) verify(sig signature, r *http.Request, body []byte, service string) error {
	if sig.service != service {
		return ivs.Errorf(ivs.InvalidSignature, "Credential must be scoped to the service %s, not %q", service, sig.service)
	}
	if !isRegion(sig.region) {
		return ivs.Errorf(ivs.InvalidSignature, "Credential must be scoped to a region")
	}
	at, err := signingTime(r)
	if err != nil {
		return err
	}
	if err := checkTime(sig, at, s.now()); err != nil {
		return err
	}
	bodyHash, err := payloadHash(r, body)
	if err != nil {
		return err
	}
	headers, err := canonicalHeaders(r, sig.signedHeaders)
	if err != nil {
		return err
	}
	secret := s.Root.secret(sig.accessKey)
	if secret == "" { // its time has ended since checkAccessKey
		return errUnknownKey
	}
	rest := "\n" + canonicalQuery(r.URL.RawQuery) + "\n" + headers + "\n" + sig.signedHeaders + "\n" + bodyHash
	key := s.signingKey(sig, secret)
	signs := func(p string) bool {
		want := key.sign(at, r.Method+"\n"+escape(p, true)+rest)
		return subtle.ConstantTimeCompare([]byte(want), []byte(sig.mac)) == 1
	}
	// SDKs sign a path as it is, or without empty and dot segments.
	if p := r.URL.EscapedPath(); !signs(p) && !signs(cleanPath(p)) {
		return ivs.Errorf(ivs.InvalidSignature, "The signature does not match the request: check the secret access key and how the request was signed")
	}
	s.lastKey.Store(key)
	return nil
}

// cleanPath is an escaped path without empty and dot segments.
func cleanPath(escaped string) string {
	clean := path.Clean("/" + escaped)
	if strings.HasSuffix(escaped, "/") && clean != "/" {
		clean += "/"
	}
	return clean
}

// signingTime is X-Amz-Date, or Date where that is absent.
func signingTime(r *http.Request) (time.Time, error) {
	if v := r.Header.Get("X-Amz-Date"); v != "" {
		at, err := time.Parse(sigTimeLayout, v)
		if err != nil {
			return at, ivs.Errorf(ivs.IncompleteSignature, "X-Amz-Date must be of the form YYYYMMDD'T'HHMMSS'Z'")
		}
		return at, nil
	}
	v := r.Header.Get("Date")
	if at, err := time.Parse(sigTimeLayout, v); err == nil {
		return at, nil
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return at, ivs.Errorf(ivs.IncompleteSignature, "A signed request must have a valid X-Amz-Date or Date header")
	}
	return at.UTC(), nil
}

func checkTime(sig signature, at, now time.Time) error {
	switch {
	case sig.date != at.Format("20060102"):
		return ivs.Errorf(ivs.InvalidSignature, "The date in Credential is not that of X-Amz-Date")
	case now.Sub(at) > maxSkew:
		return ivs.Errorf(ivs.InvalidSignature, "Signature expired: %s is more than %v before the server's time, %s",
			at.Format(sigTimeLayout), maxSkew, now.UTC().Format(sigTimeLayout))
	case at.Sub(now) > maxSkew:
		return ivs.Errorf(ivs.InvalidSignature, "Signature not yet current: %s is more than %v after the server's time, %s",
			at.Format(sigTimeLayout), maxSkew, now.UTC().Format(sigTimeLayout))
	}
	return nil
}

// payloadHash is that of the body that arrived; a header that states another
// one, or none (UNSIGNED-PAYLOAD), is refused.
func payloadHash(r *http.Request, body []byte) (string, error) {
	sum := sha256.Sum256(body)
	hash := hex.EncodeToString(sum[:])
	if stated := r.Header.Values("X-Amz-Content-Sha256"); len(stated) > 0 && (len(stated) > 1 || stated[0] != hash) {
		return "", ivs.Errorf(ivs.InvalidSignature, "X-Amz-Content-Sha256 is not the hash of the request body")
	}
	return hash, nil
}

// canonicalHeaders is one "name:value" line for each signed header. Host must
// be signed, so that a request to another server is of no use here.
func canonicalHeaders(r *http.Request, signed string) (string, error) {
	names := strings.SplitN(signed, ";", maxSignedHeaders+1)
	if len(names) > maxSignedHeaders {
		return "", ivs.Errorf(ivs.IncompleteSignature, "SignedHeaders must have at most %d names", maxSignedHeaders)
	}
	if !slices.Contains(names, "host") {
		return "", ivs.Errorf(ivs.IncompleteSignature, "SignedHeaders must have host")
	}
	var b strings.Builder
	b.Grow(512) // mostly enough
	for _, name := range names {
		value, ok := headerValue(r, name)
		if !ok {
			return "", ivs.Errorf(ivs.IncompleteSignature, "SignedHeaders names %q, which the request does not have", name)
		}
		b.WriteString(name)
		b.WriteByte(':')
		b.WriteString(value)
		b.WriteByte('\n')
	}
	return b.String(), nil
}

// headerValue is a header as it was signed. net/http keeps three of them apart.
func headerValue(r *http.Request, name string) (string, bool) {
	values := r.Header.Values(name)
	switch {
	case name == "host":
		return r.Host, true
	case name == "content-length" && len(values) == 0:
		return strconv.FormatInt(r.ContentLength, 10), true
	case name == "transfer-encoding" && len(r.TransferEncoding) > 0:
		return strings.Join(r.TransferEncoding, ","), true
	case len(values) == 1:
		return squeeze(values[0]), true
	}
	squeezed := make([]string, len(values))
	for i, v := range values {
		squeezed[i] = squeeze(v)
	}
	return strings.Join(squeezed, ","), len(values) > 0
}

// squeeze trims v and makes each run of spaces one.
func squeeze(v string) string {
	v = strings.Trim(v, " ")
	for strings.Contains(v, "  ") {
		v = strings.ReplaceAll(v, "  ", " ")
	}
	return v
}

// canonicalQuery has the parameters encoded in one way and sorted by name, then
// by value.
func canonicalQuery(raw string) string {
	if raw == "" {
		return ""
	}
	var pairs []string
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		pairs = append(pairs, reescape(name)+"\x00"+reescape(value)) // sorts before every character of a name
	}
	slices.Sort(pairs)
	return strings.ReplaceAll(strings.Join(pairs, "&"), "\x00", "=")
}

// reescape normalises the encoding of s; what was never validly encoded stays and will not
// match any signature.
func reescape(s string) string {
	if plain, err := url.PathUnescape(s); err == nil {
		return escape(plain, false)
	}
	return s
}

// escape percent-encodes all but the unreserved characters of RFC 3986. The
// path of a request is encoded once more when it is signed; its slashes stay.
func escape(s string, path bool) string {
	const hexDigits = "0123456789ABCDEF"
	plain := func(r rune) bool { return isAlnum(r) || strings.ContainsRune("-._~", r) || path && r == '/' }
	if strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if plain(rune(c)) {
			b.WriteByte(c)
			continue
		}
		b.Write([]byte{'%', hexDigits[c>>4], hexDigits[c&15]})
	}
	return b.String()
}

// A signingKey makes the signatures of one credential scope.
type signingKey struct {
	secret, scope string
	key           []byte
}

// signingKey derives the key of sig's credential scope from its secret, unless the
// last valid signature had the same: clients sign all day with one key, and it
// takes four of the five MACs of a signature.
func (s *Server) signingKey(sig signature, secret string) *signingKey {
	scope := sig.date + "/" + sig.region + "/" + sig.service + "/" + sigTerminator
	if k := s.lastKey.Load(); k != nil && k.secret == secret && k.scope == scope {
		return k
	}
	key := []byte("AWS4" + secret)
	for part := range strings.SplitSeq(scope, "/") {
		key = mac(key, part)
	}
	return &signingKey{secret, scope, key}
}

// sign is the signature of a canonical request.
func (k *signingKey) sign(at time.Time, canonical string) string {
	sum := sha256.Sum256([]byte(canonical))
	return hex.EncodeToString(mac(k.key, sigAlgorithm+"\n"+at.Format(sigTimeLayout)+"\n"+k.scope+"\n"+hex.EncodeToString(sum[:])))
}

func mac(key []byte, data string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(data))
	return h.Sum(nil)
}
