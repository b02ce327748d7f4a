// Package token reads and makes the playback tokens of private channels: JWTs (RFC 7519)
// signed with ES384 (RFC 7518, section 3.4), with the claims of Amazon IVS. All functions
// are pure: they look up no keys and keep no state.
package token

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"
)

const (
	// MaxSize is the maximum size of a token, in bytes.
	MaxSize = 2048

	// MaxStrictOrigins is how many origins a token with strict origin
	// enforcement may list.
	MaxStrictOrigins = 5

	// MaxViewerID is the maximum length of a viewer id, in characters.
	MaxViewerID = 40

	// MaxShortLife is how far in the future exp may be in tokens with a viewer id or a
	// single-use id: it bounds what has to be stored about them.
	MaxShortLife = 10 * time.Minute

	// skew is by how much the clock of a signer may be ahead.
	skew = 30 * time.Second
)

// Names of claims.
const (
	claimChannel       = "aws:channel-arn"
	claimOrigins       = "aws:access-control-allow-origin"
	claimStrictOrigin  = "aws:strict-origin-enforcement"
	claimSingleUse     = "aws:single-use-uuid"
	claimViewerID      = "aws:viewer-id"
	claimViewerVersion = "aws:viewer-session-version"
	claimResolution    = "aws:maximum-resolution"
	claimExpires       = "exp"
	claimNotBefore     = "nbf"
)

// errSegments has the message that Amazon IVS gives for a request without a token.
var errSegments = errors.New("token contains an invalid number of segments")

// Claims are the claims of a playback token. The zero value of a field means that the
// claim is absent.
type Claims struct {
	ChannelARN        string
	Expires           time.Time
	NotBefore         time.Time
	Origins           []string // origins that may play; a host may begin with "*."; empty means any
	StrictOrigin      bool     // every request must have an allowed Origin, not only that for the multivariant playlist
	SingleUse         string   // identifies the token, which is valid for one start
	ViewerID          string   // identifies the viewer, so that the session can be revoked
	ViewerVersion     int64    // a revocation ends the sessions up to a version
	MaximumResolution string   // SD, HD or FULL_HD
}

// A Token is a playback token whose claims have been read. Its signature has
// not been verified: see SignedBy.
type Token struct {
	Claims
	signed    string // header and payload, as they were signed
	signature []byte
}

// Parse parses a token. The error says what is wrong with it, without quoting it.
func Parse(raw string) (*Token, error) {
	if len(raw) > MaxSize {
		return nil, fmt.Errorf("token has %d bytes; at most %d are allowed", len(raw), MaxSize)
	}
	segments := strings.Split(raw, ".")
	if len(segments) != 3 {
		return nil, errSegments
	}
	parts := make([][]byte, len(segments))
	for i, s := range segments {
		b, err := jwt.NewParser(jwt.WithStrictDecoding()).DecodeSegment(s)
		if err != nil {
			return nil, fmt.Errorf("token's %s is not base64url without padding", [...]string{"header", "payload", "signature"}[i])
		}
		parts[i] = b
	}
	if err := checkHeader(parts[0]); err != nil {
		return nil, err
	}
	claims, err := parseClaims(parts[1])
	if err != nil {
		return nil, err
	}
	return &Token{claims, segments[0] + "." + segments[1], parts[2]}, nil
}

// checkHeader requires ES384, whatever else the header says. The key is never
// taken from it: kid, jwk, jku and x5c are ignored.
func checkHeader(header []byte) error {
	members, err := object(header)
	if err != nil {
		return fmt.Errorf("token's header %w", err)
	}
	var alg string
	if json.Unmarshal(members["alg"], &alg) != nil || alg != jwt.SigningMethodES384.Alg() {
		return errors.New("token's algorithm (alg) is not ES384")
	}
	if _, ok := members["crit"]; ok { // RFC 7515, section 4.1.11
		return errors.New("token's header has crit, and no extension is supported")
	}
	return nil
}

// object reads a JSON object and nothing behind it. Members that are null are
// absent.
func object(text []byte) (map[string]json.RawMessage, error) {
	var members map[string]json.RawMessage
	if !utf8.Valid(text) || json.Unmarshal(text, &members) != nil || members == nil {
		return nil, errors.New("is not a JSON object")
	}
	for name, v := range members {
		if bytes.Equal(v, []byte("null")) {
			delete(members, name)
		}
	}
	return members, nil
}

// parseClaims reads the claims that mean something here and ignores all others.
func parseClaims(payload []byte) (c Claims, err error) {
	members, err := object(payload)
	if err != nil {
		return c, fmt.Errorf("token's payload %w", err)
	}
	r := reader{members: members}
	c.ChannelARN = r.text(claimChannel)
	c.Expires = r.time(claimExpires)
	c.NotBefore = r.time(claimNotBefore)
	for origin := range strings.SplitSeq(r.text(claimOrigins), ",") {
		if origin = strings.TrimSpace(origin); origin != "" {
			c.Origins = append(c.Origins, origin)
		}
	}
	c.StrictOrigin = r.boolean(claimStrictOrigin)
	c.SingleUse = r.text(claimSingleUse)
	c.ViewerID = r.text(claimViewerID)
	c.ViewerVersion = r.integer(claimViewerVersion)
	c.MaximumResolution = r.text(claimResolution)
	if r.err == nil && r.has(claimViewerVersion) && !r.has(claimViewerID) {
		r.fail(claimViewerVersion, "is only for tokens with "+claimViewerID)
	}
	if r.err != nil {
		return c, r.err
	}
	return c, c.validate()
}

// validate checks what does not depend on the time and the channel.
func (c Claims) validate() error {
	switch {
	case c.ChannelARN == "":
		return errors.New(claimChannel + " is missing")
	case c.Expires.IsZero():
		return errors.New(claimExpires + " is missing")
	case c.StrictOrigin && len(c.Origins) > MaxStrictOrigins:
		return fmt.Errorf("%s has %d origins; with %s at most %d are allowed", claimOrigins, len(c.Origins), claimStrictOrigin, MaxStrictOrigins)
	case utf8.RuneCountInString(c.ViewerID) > MaxViewerID:
		return fmt.Errorf("%s has %d characters; at most %d are allowed", claimViewerID, utf8.RuneCountInString(c.ViewerID), MaxViewerID)
	}
	switch c.MaximumResolution {
	case "", "SD", "HD", "FULL_HD":
		return nil
	}
	return fmt.Errorf("%s is %.40q; it may be SD, HD or FULL_HD", claimResolution, c.MaximumResolution)
}

// Check reports why the token does not start playback of the channel at the
// time now, apart from its signature, single use and revocations.
func (c Claims) Check(channelARN string, now time.Time) error {
	switch {
	case c.ChannelARN != channelARN:
		return fmt.Errorf("token is for another channel: %s is %.140q, and this is %s", claimChannel, c.ChannelARN, channelARN)
	case !now.Before(c.Expires):
		return fmt.Errorf("token has expired at %s, %v ago", instant(c.Expires), now.Sub(c.Expires).Round(time.Second))
	case c.NotBefore.After(now.Add(skew)):
		return fmt.Errorf("token is not valid before %s (%s)", instant(c.NotBefore), claimNotBefore)
	case c.Expires.Sub(now) <= MaxShortLife+skew:
		return nil
	case c.ViewerID != "":
		return c.tooLong(claimViewerID)
	case c.SingleUse != "":
		return c.tooLong(claimSingleUse)
	}
	return nil
}

func (c Claims) tooLong(claim string) error {
	return fmt.Errorf("token expires at %s; with %s it must expire within %v", instant(c.Expires), claim, MaxShortLife)
}

func instant(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Sign makes a token with the claims. It refuses claims that Parse would refuse.
func (c Claims) Sign(key *ecdsa.PrivateKey) (string, error) {
	if err := c.validate(); err != nil {
		return "", err
	}
	payload := jwt.MapClaims{claimChannel: c.ChannelARN, claimExpires: c.Expires.Unix()}
	if !c.NotBefore.IsZero() {
		payload[claimNotBefore] = c.NotBefore.Unix()
	}
	if c.StrictOrigin {
		payload[claimStrictOrigin] = true
	}
	if c.ViewerVersion != 0 {
		payload[claimViewerVersion] = c.ViewerVersion
	}
	for name, v := range map[string]string{claimOrigins: strings.Join(c.Origins, ","), claimSingleUse: c.SingleUse,
		claimViewerID: c.ViewerID, claimResolution: c.MaximumResolution} {
		if v != "" {
			payload[name] = v
		}
	}
	raw, err := jwt.NewWithClaims(jwt.SigningMethodES384, payload).SignedString(key)
	if err != nil {
		return "", fmt.Errorf("signing a playback token: %w", err)
	}
	if _, err := Parse(raw); err != nil {
		return "", err
	}
	return raw, nil
}

// A reader takes claims out of a payload and keeps the first error.
type reader struct {
	members map[string]json.RawMessage
	err     error
}

func (r *reader) has(name string) bool { return r.members[name] != nil }

func (r *reader) fail(name, why string) {
	if r.err == nil {
		r.err = errors.New(name + " " + why)
	}
}

// text reads a string, which is not empty if it is there.
func (r *reader) text(name string) (s string) {
	if v := r.members[name]; v != nil {
		if json.Unmarshal(v, &s) != nil {
			r.fail(name, "must be a string")
		} else if s == "" {
			r.fail(name, "is empty: leave it out")
		}
	}
	return s
}

func (r *reader) boolean(name string) (b bool) {
	if v := r.members[name]; v != nil && json.Unmarshal(v, &b) != nil {
		r.fail(name, "must be true or false")
	}
	return b
}

func (r *reader) integer(name string) (n int64) {
	if v := r.members[name]; v != nil && json.Unmarshal(v, &n) != nil {
		r.fail(name, "must be an integer of 64 bits")
	}
	return n
}

// firstMillisecond is from where on a time is in milliseconds: as seconds it
// is in the year 5138, as milliseconds in 1973. Date.now() of JavaScript is put
// into exp by mistake, and means what it says.
const firstMillisecond = 1e11

// time reads seconds since 1970, as RFC 7519 has them, or milliseconds.
func (r *reader) time(name string) time.Time {
	v := r.members[name]
	if v == nil {
		return time.Time{}
	}
	seconds, err := strconv.ParseFloat(string(v), 64)
	if err == nil && seconds >= firstMillisecond {
		seconds /= 1000
	}
	if err != nil || !(seconds > 0 && seconds < 253402300800) { // the year 10000
		r.fail(name, "must be a number of seconds since 1970")
		return time.Time{}
	}
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(fraction*1e9))
}
