package cluster

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A request between nodes is signed with HMAC-SHA256 over the lines
//
//	millrace-node-v2
//	<method>
//	<path and query>
//	<name>:<value>
//
// the last for each header whose name begins with Millrace-, but for the signature, in
// the order of their names. They say who sends it (Millrace-Node) to whom (Millrace-To), when
// (Millrace-Time, Unix milliseconds by the database's clock), with a number used once
// (Millrace-Nonce), and what the SHA-256 of its body is (Millrace-Body, hex, or "stream" for
// a body that is sent bit by bit). So it is good for one receiver, once, and for some minutes.
//
// Version 1 of the protocol has millrace-node-v1 in the first line, and signs the values
// of those five headers in this order. That is accepted from nodes of that version.
const (
	fromHeader      = "Millrace-Node"
	toHeader        = "Millrace-To"
	timeHeader      = "Millrace-Time"
	nonceHeader     = "Millrace-Nonce"
	bodyHeader      = "Millrace-Body"
	signatureHeader = "Millrace-Signature"

	signedPrefix = "Millrace-" // of the names of headers that are signed
	signsAll     = 2           // the version of the protocol from which on they are

	streamed = "stream"
)

const (
	signedFor = 5 * time.Minute // before and after its time a signature is good for

	maxBody  = 256 << 10 // bytes of a body that is not streamed
	maxNonce = 64

	// maxNonces bounds the numbers that are remembered of half of the time in which
	// they could be used again. It is far more than nodes send.
	maxNonces = 200_000
)

// A signer signs requests of this node and verifies those of others.
type signer struct {
	name     string // of this node
	protocol func(node string) int
	secret   *Secret
	clock    clock
	nonces   nonces
}

// signature is that of r with the values in its headers, as a version of the protocol
// has it.
func signature(secret string, r *http.Request, protocol int) string {
	m := hmac.New(sha256.New, []byte(secret))
	io.WriteString(m, fmt.Sprintf("millrace-node-v%d\n%s\n%s", min(protocol, signsAll), r.Method, r.URL.RequestURI()))
	if protocol < signsAll {
		for _, name := range []string{fromHeader, toHeader, timeHeader, nonceHeader, bodyHeader} {
			io.WriteString(m, "\n"+r.Header.Get(name))
		}
		return hex.EncodeToString(m.Sum(nil))
	}
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		if strings.HasPrefix(name, signedPrefix) && name != signatureHeader {
			io.WriteString(m, "\n"+name+":"+strings.Join(r.Header[name], ","))
		}
	}
	return hex.EncodeToString(m.Sum(nil))
}

// sign signs a request to another node. Its body is streamed unless it can be read
// a second time (http.NewRequest sees to that for a bytes.Reader).
func (s *signer) sign(r *http.Request, to Peer) error {
	hash := streamed
	if r.Body == nil || r.GetBody != nil {
		var body io.Reader = bytes.NewReader(nil)
		if r.GetBody != nil {
			again, err := r.GetBody()
			if err != nil {
				return err
			}
			defer again.Close()
			body = again
		}
		h := sha256.New()
		if _, err := io.Copy(h, body); err != nil {
			return err
		}
		hash = hex.EncodeToString(h.Sum(nil))
	}
	h := r.Header
	h.Set(fromHeader, s.name)
	h.Set(toHeader, to.Name)
	h.Set(timeHeader, strconv.FormatInt(s.clock.now().UnixMilli(), 10))
	h.Set(nonceHeader, rand.Text())
	h.Set(bodyHeader, hash)
	h.Set(signatureHeader, signature(s.secret.Signing(), r, max(to.Protocol, 1)))
	return nil
}

// A refusal is why a request is not taken for that of another node.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string { return r.text }

var errSecret = &refusal{http.StatusForbidden, "the signature does not match: the two nodes do not use the same database, or the request was changed on its way"}

// verify checks who sent r and whether it is for this node. It replaces a body that
// is not streamed by what was read of it.
func (s *signer) verify(w http.ResponseWriter, r *http.Request) error {
	if err := s.verifySigner(r); err != nil {
		return err
	}
	if nonce := r.Header.Get(nonceHeader); len(nonce) > maxNonce || !s.nonces.use(nonce, time.Now()) {
		return &refusal{http.StatusForbidden, "the request was received before"}
	}
	return takeBody(w, r)
}

// verifySigner checks what can be checked again and again.
func (s *signer) verifySigner(r *http.Request) error {
	given, err := hex.DecodeString(r.Header.Get(signatureHeader))
	if err != nil || len(given) != sha256.Size {
		return &refusal{http.StatusForbidden, "only nodes of the cluster may call this"}
	}
	if !s.matches(r, given) {
		return errSecret
	}
	if to := r.Header.Get(toHeader); to != s.name {
		return &refusal{http.StatusMisdirectedRequest, fmt.Sprintf("this is node %s, and the request is for %s", s.name, to)}
	}
	ms, err := strconv.ParseInt(r.Header.Get(timeHeader), 10, 64)
	if off := time.UnixMilli(ms).Sub(s.clock.now()); err != nil || off.Abs() > signedFor {
		return &refusal{http.StatusForbidden, fmt.Sprintf("the request's time differs by %v from the database's clock", off.Abs().Round(time.Second))}
	}
	return nil
}

// matches reports whether the signature is that of r. A node that is not known may be of
// the version before, and about to join.
func (s *signer) matches(r *http.Request, given []byte) (ok bool) {
	_, accepted := s.secret.Values()
	for protocol := max(s.protocol(r.Header.Get(fromHeader)), Protocol-1); protocol <= Protocol; protocol++ {
		for _, secret := range accepted {
			want, _ := hex.DecodeString(signature(secret, r, protocol)) // it is hexadecimal
			ok = hmac.Equal(given, want) || ok
		}
	}
	return ok
}

func takeBody(w http.ResponseWriter, r *http.Request) error {
	hash := r.Header.Get(bodyHeader)
	if hash == streamed {
		return nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return &refusal{http.StatusRequestEntityTooLarge, "the body is too large"}
	}
	if err != nil {
		return err
	}
	if sum := sha256.Sum256(body); !strings.EqualFold(hex.EncodeToString(sum[:]), hash) {
		return &refusal{http.StatusForbidden, "the body is not the one that was signed"}
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return nil
}

// nonces are the numbers that were used in the last signedFor to twice that: longer
// than a signature is good for, which is twice signedFor around its time, is not
// needed, since its time has passed when it comes. The zero nonces is ready.
type nonces struct {
	mu          sync.Mutex
	young, aged map[string]bool // guarded by mu
	turned      time.Time       // guarded by mu
}

// use reports whether a number is new. When more come than can be remembered, those
// are forgotten that were used first.
func (n *nonces) use(nonce string, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.young == nil || now.Sub(n.turned) >= 2*signedFor || len(n.young) >= maxNonces {
		n.young, n.aged, n.turned = map[string]bool{}, n.young, now
	}
	if n.young[nonce] || n.aged[nonce] {
		return false
	}
	n.young[nonce] = true
	return true
}

// Root is the prefix of the paths of requests between nodes. Its number would change with
// the form of requests; Protocol counts what nodes understand.
const Root = "/_millrace/node/v1/"

// Verify passes to next only requests that another node of the cluster has signed for
// this one.
func (n *Node) Verify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !n.isMember() {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		err := n.signer.verify(w, r)
		refused, ok := errors.AsType[*refusal](err)
		switch {
		case ok:
			n.log.Debug("a request between nodes was refused", "remote", r.RemoteAddr, "path", r.URL.Path, "reason", refused.text)
			http.Error(w, refused.text, refused.status)
		case err != nil:
			http.Error(w, "the request ended early", http.StatusBadRequest)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// Signed reports whether Verify would accept r, judging by its headers, unless it was
// received before.
func (n *Node) Signed(r *http.Request) bool {
	return n.isMember() && n.signer.verifySigner(r) == nil
}

// From returns the name of the node that sent a request which Verify has accepted.
func From(r *http.Request) string { return r.Header.Get(fromHeader) }
