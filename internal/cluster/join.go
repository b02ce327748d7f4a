package cluster

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/store"
)

const (
	// identifyTime is how long a node may take to reach itself at its own URL: its
	// ports have just been opened.
	identifyTime = 5 * time.Second

	// maxWitnesses bounds how many others are asked whether they reach a new member.
	maxWitnesses = 3
)

// CheckURL reports why text cannot be a URL at which other nodes reach this one.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.User != nil {
		return errors.New("must be http:// or https:// with a host and optionally a port, such as http://10.0.0.5:8080")
	}
	if ip := net.ParseIP(u.Hostname()); ip != nil && ip.IsUnspecified() {
		return errors.New("that is an address to listen on, which no other node can reach")
	}
	return nil
}

// Join makes n a member of the cluster that shares its database. It is called once, after
// the node's listeners are open and before Run. The error says what is wrong with the
// URL, or with n's version or credentials.
func (n *Node) Join(ctx context.Context, c Config) (err error) {
	c.URL = strings.TrimSuffix(c.URL, "/")
	if err := n.report(ctx); err != nil { // sets the clock that signatures need
		return err
	}
	if n.signer.secret, err = n.Secrets.Open(ctx, "nodes", NewSecret); err != nil {
		return err
	}
	others, err := n.running(ctx)
	if err != nil {
		return err
	}
	for _, m := range others {
		if m.Protocol < Protocol-1 || m.Protocol > Protocol+1 {
			return fmt.Errorf("this version of Millrace speaks version %d of the protocol between nodes, and node %s (%s, Millrace %s) version %d: upgrade nodes one version at a time", Protocol, m.Name, m.URL, m.Version, m.Protocol)
		}
		if m.URL == c.URL {
			return fmt.Errorf("--node-url %s: it is that of node %s on host %s too", c.URL, m.Name, m.Host)
		}
	}
	n.config.Store(&c) // from now on it answers other nodes, and itself
	defer func() {
		if err != nil {
			n.config.Store(nil)
		}
	}()
	self := Peer{Name: n.Name, URL: c.URL, Protocol: Protocol}
	if err := n.identifyWithin(ctx, self, identifyTime); err != nil {
		return fmt.Errorf("--node-url %s: this node cannot be reached there, not even by itself: %w", c.URL, err)
	}
	if err := n.witnessed(ctx, self, others); err != nil {
		return err
	}
	if err := n.report(ctx); err != nil { // with the digests of the credentials
		return err
	}
	if err := n.store.JoinCluster(ctx, n.Name, n.epoch, store.Membership{URL: c.URL, Version: c.Version, Protocol: Protocol, Capacity: c.Capacity}); err != nil {
		return err
	}
	if err := n.agree(ctx, &c); err != nil { // now: of two that join at the same time, one sees the other
		return err
	}
	n.follow(ctx)
	return nil
}

// running returns the other members that were alive lately.
func (n *Node) running(ctx context.Context) ([]store.Member, error) {
	members, err := n.store.Members(ctx)
	return slices.DeleteFunc(members, func(m store.Member) bool { return m.Name == n.Name || m.Ago >= memberLease }), err
}

// agree reports that other members that run accept none of the root credentials in c.
func (n *Node) agree(ctx context.Context, c *Config) error {
	others, err := n.running(ctx)
	for _, m := range others {
		if m.Credentials != "" && !n.accepts(c, m.Credentials) {
			return fmt.Errorf("the root credentials of this node are not those of node %s on host %s: give all nodes the same with --access-key-id and --secret-access-key, or give them to none; to replace them while nodes run, give each the new ones with --second-access-key-id and --second-secret-access-key first", m.Name, m.Host)
		}
	}
	return err
}

// digests are those of the credentials in c, for the row of this node.
func (n *Node) digests(c *Config) string {
	var all []string
	for _, credentials := range c.Credentials() {
		all = append(all, digest(n.signer.secret.Signing(), credentials))
	}
	return strings.Join(all, " ")
}

// accepts reports whether one of the digests of another node is that of credentials in c.
func (n *Node) accepts(c *Config, digests string) bool {
	theirs := strings.Fields(digests)
	_, secrets := n.signer.secret.Values()
	for _, secret := range secrets {
		for _, credentials := range c.Credentials() {
			if slices.Contains(theirs, digest(secret, credentials)) {
				return true
			}
		}
	}
	return false
}

// digest is by the secret between nodes: credentials that people thought up cannot be
// looked for by it in the table of nodes alone.
func digest(secret, credentials string) string {
	m := hmac.New(sha256.New, []byte(secret))
	io.WriteString(m, "root credentials\n"+credentials)
	return hex.EncodeToString(m.Sum(nil)[:16])
}

// An identity is how a node identifies itself at its URL.
type identity struct {
	Name     string `json:"name"`
	Protocol int    `json:"protocol"`
}

// identify finds out whether a node answers as itself at its URL.
func (n *Node) identify(ctx context.Context, p Peer) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	var who identity
	if err := n.Call(ctx, p, "identity", struct{}{}, &who); err != nil {
		return err
	}
	if who.Name != p.Name {
		return fmt.Errorf("node %q answers there", who.Name)
	}
	return nil
}

// identifyWithin is identify, tried until it succeeds or the time is over.
func (n *Node) identifyWithin(ctx context.Context, p Peer, limit time.Duration) error {
	for by := time.Now().Add(limit); ; {
		err := n.identify(ctx, p)
		if _, unreachable := errors.AsType[*UnreachableError](err); !unreachable || time.Now().After(by) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// witnessed asks others whether they reach this node. One that does is enough; where
// none answers at all, that is logged: it may be they that cannot be reached. One that
// refuses the signature has another secret, as of another database.
func (n *Node) witnessed(ctx context.Context, self Peer, others []store.Member) (refused error) {
	for _, m := range others[:min(len(others), maxWitnesses)] {
		limited, cancel := context.WithTimeout(ctx, 2*dialTimeout)
		var seen witness
		err := n.Call(limited, Peer{Name: m.Name, URL: m.URL, Protocol: m.Protocol}, "witness", self, &seen)
		cancel()
		answer, answered := errors.AsType[*StatusError](err)
		switch {
		case answered && answer.Status == http.StatusForbidden:
			refused = fmt.Errorf("node %s on host %s (%s) refuses this one: %s", m.Name, m.Host, m.URL, answer.Text)
		case err != nil:
			n.log.Warn("another node of the cluster cannot be reached", "node", m.Name, "url", m.URL, "error", err)
		case seen.Problem == "":
			return nil
		default:
			refused = fmt.Errorf("--node-url %s: node %s on host %s cannot reach this one there: %s", self.URL, m.Name, m.Host, seen.Problem)
		}
	}
	return refused
}

// A witness is a node's report of whether it can reach another node at that node's URL.
type witness struct {
	Problem string // "" if the other answers there as itself
}

func (n *Node) witness(ctx context.Context, p Peer) (w witness, _ error) {
	if err := CheckURL(p.URL); err != nil {
		return witness{err.Error()}, nil
	}
	if err := n.identify(ctx, p); err != nil {
		w.Problem = err.Error()
	}
	return w, nil
}

// Handler handles requests of other nodes, for paths that begin with Root: those of the
// endpoints, by patterns such as "POST encoders", and those that every node handles.
func (n *Node) Handler(endpoints map[string]http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST "+Root+"identity", Endpoint(func(context.Context, struct{}) (identity, error) {
		return identity{n.Name, Protocol}, nil
	}))
	mux.Handle("POST "+Root+"witness", Endpoint(n.witness))
	for pattern, h := range endpoints {
		method, path, _ := strings.Cut(pattern, " ")
		mux.Handle(method+" "+Root+path, h)
	}
	return n.Verify(mux)
}
