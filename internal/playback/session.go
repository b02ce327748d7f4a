package playback

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/access"
	"github.com/millrace/millrace/internal/audience"
)

// clientOf returns the client that a request counts for.
func clientOf(r *http.Request) audience.Client {
	return audience.NewClient(r.RemoteAddr, r.UserAgent())
}

// count adds a viewer session that has been served its first media.
func (h *Handler) count(r *request) {
	viewers := r.session.Viewers
	if !viewers.Seen(r.number, clientOf(r.Request), time.Now()) {
		return // its address has reached its limit meanwhile
	}
	viewers.Place(r.number, audience.ClassOf(r.RemoteAddr), h.access.CountryOf(r.RemoteAddr))
	if rendition, _, _ := strings.Cut(r.file, "/"); r.session.Stream.Lines(rendition) > 0 {
		viewers.Rendition(r.number, rendition)
	}
	if r.who.ViewerID != "" {
		viewers.Identify(r.number, r.who)
	}
}

// refuseShare responds to a client address that has reached its limit.
func (h *Handler) refuseShare(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Retry-After", "10")
	h.refuse(w, r, http.StatusTooManyRequests, "too_many_viewers", "This client address has reached its limit of concurrent viewers")
}

// A keyring has the names under each accepted key: after a rotation there are two.
type keyring struct {
	keys  func() (signing string, accepted []string)
	names atomic.Pointer[map[string]names] // by key; replaced, not changed
}

func (k *keyring) of(key string) names {
	known := k.names.Load()
	if known != nil {
		if n, ok := (*known)[key]; ok {
			return n
		}
	}
	n := newNames([]byte(key))
	more := map[string]names{key: n}
	if known != nil {
		maps.Copy(more, *known)
	}
	k.names.Store(&more) // if another goroutine replaces it, it is made again
	return n
}

// give names a new viewer session of s.
func (k *keyring) give(s stream, grant *access.Grant) string {
	signing, _ := k.keys()
	return k.of(signing).give(s, grant)
}

// check is names.check, under each key.
func (k *keyring) check(s stream, name string) (number uint64, counted, ok bool) {
	_, accepted := k.keys()
	for _, key := range accepted {
		if number, counted, ok = k.of(key).check(s, name); ok {
			break
		}
	}
	return number, counted, ok
}

// open is names.open, under each key.
func (k *keyring) open(s stream, name string) (number uint64, grant *access.Grant, ok bool) {
	_, accepted := k.keys()
	for _, key := range accepted {
		if number, grant, ok = k.of(key).open(s, name); ok {
			break
		}
	}
	return number, grant, ok
}

// names are those of viewer sessions, which cannot be guessed.
//
// On a public channel a name is a random number and a MAC, for the channel, in
// hexadecimal.
//
// On a private channel it is the grant that the token gave, sealed with
// AES-256-GCM for one stream of one channel, in base64url: every node
// can read it, also after a restart, and no state is kept for it. The first 8 bytes
// of the nonce are its number.
type names struct {
	macKey []byte
	aead   cipher.AEAD
}

// maxName bounds a name, in bytes: the grant in it comes from a token of at most 2 KB.
const maxName = 3 << 10

func newNames(key []byte) names {
	m := hmac.New(sha256.New, key)
	m.Write([]byte("viewer sessions of private channels"))
	block, err := aes.NewCipher(m.Sum(nil))
	if err != nil {
		panic(err) // 32 bytes are a key of AES
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // AES has blocks of 16 bytes
	}
	return names{key, aead}
}

// give names a new viewer session of s.
func (n names) give(s stream, grant *access.Grant) string {
	if s.Channel.Authorized {
		return n.seal(s, grant)
	}
	var b [8]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(n.sign(b[:], s.Channel.ARN))
}

// check returns the number of a viewer session of s, whose channel is public, and
// whether it is counted already. ok is false for a name that give did not make. The
// MAC of a session that is counted is not verified again.
func (n names) check(s stream, name string) (number uint64, counted, ok bool) {
	var b [16]byte
	if len(name) != 2*len(b) {
		return 0, false, false
	}
	if _, err := hex.Decode(b[:], []byte(name)); err != nil {
		return 0, false, false
	}
	number = binary.BigEndian.Uint64(b[:])
	if s.Viewers.Renew(number, time.Now()) {
		return number, true, true
	}
	return number, false, hmac.Equal(b[:], n.sign(b[:8:8], s.Channel.ARN))
}

// sign appends half a MAC to a number.
func (n names) sign(number []byte, arn string) []byte {
	m := hmac.New(sha256.New, n.macKey)
	m.Write(number)
	m.Write([]byte(arn))
	return append(number, m.Sum(nil)[:8]...)
}

func (n names) seal(s stream, grant *access.Grant) string {
	name := make([]byte, n.aead.NonceSize(), 256)
	rand.Read(name) // never fails
	name = n.aead.Seal(name, name, grant.Encode(), appendScope(nil, s))
	return base64.RawURLEncoding.EncodeToString(name)
}

// strictly is base64url that accepts one encoding of each name.
var strictly = base64.RawURLEncoding.Strict()

// open decrypts a name that seal made for the same stream. It runs for every request,
// so it allocates one buffer for all steps.
func (n names) open(s stream, name string) (number uint64, grant *access.Grant, ok bool) {
	if len(name) > maxName {
		return 0, nil, false
	}
	size := strictly.DecodedLen(len(name))
	b := make([]byte, size, size+len(s.Channel.ARN)+1+len(s.StreamID))
	got, err := strictly.Decode(b, []byte(name))
	if err != nil || got < n.aead.NonceSize() {
		return 0, nil, false
	}
	nonce, sealed := b[:n.aead.NonceSize()], b[n.aead.NonceSize():got]
	number = binary.BigEndian.Uint64(nonce)
	text, err := n.aead.Open(sealed[:0], nonce, sealed, appendScope(b[size:], s))
	if err != nil {
		return 0, nil, false
	}
	grant, err = access.DecodeGrant(text)
	return number, grant, err == nil
}

// appendScope appends the channel and stream for which a private session is valid.
func appendScope(dst []byte, s stream) []byte {
	return append(append(append(dst, s.Channel.ARN...), '/'), s.StreamID...)
}
