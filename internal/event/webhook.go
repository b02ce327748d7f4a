package event

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/millrace/millrace/internal/ivs"
)

// A webhook posts each event to a URL, signed as the Standard Webhooks specification
// 1.0.0 has it: the header webhook-signature is "v1," and the base64 of the HMAC-SHA256
// of "<webhook-id>.<webhook-timestamp>.<body>". After a rotation of the secret there are
// two signatures, by the new value and by the previous one, with a space between them.
// The id is the event's, the same at every attempt; the timestamp, in Unix seconds, is
// the attempt's.
type webhook struct {
	url     string
	secrets func() []string
	client  *http.Client
}

// maxAnswer bounds how much of a response is read, so that the connection can be
// reused.
const maxAnswer = 64 << 10

const secretPrefix = "whsec_"

// CheckWebhookSecret returns an error unless secret has the form of the specification.
func CheckWebhookSecret(secret string) error {
	if key, err := webhookKey(secret); err != nil || len(key) > 0 {
		return err
	}
	return errors.New("the webhook secret is empty")
}

// NewWebhookSecret makes a secret in the form of the specification.
func NewWebhookSecret() string {
	key := make([]byte, 32)
	rand.Read(key) // never fails
	return secretPrefix + base64.StdEncoding.EncodeToString(key)
}

// webhookKey returns the key in a secret. A secret without the prefix is the key.
func webhookKey(secret string) ([]byte, error) {
	text, ok := strings.CutPrefix(secret, secretPrefix)
	if !ok {
		return []byte(secret), nil
	}
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("the webhook secret is not base64 after %s", secretPrefix)
	}
	return key, nil
}

func newWebhook(u *url.URL, o Options) (*webhook, error) {
	if u.Hostname() == "" {
		return nil, errors.New("the webhook's URL has no host")
	}
	if o.WebhookSecrets == nil {
		return nil, errors.New("a webhook needs a secret")
	}
	for _, secret := range o.WebhookSecrets() {
		if err := CheckWebhookSecret(secret); err != nil {
			return nil, err
		}
	}
	dialer := &net.Dialer{Timeout: callTime}
	if !o.AllowPrivate {
		dialer.Control = refusePrivate
	}
	return &webhook{url: u.String(), secrets: o.WebhookSecrets, client: &http.Client{
		// A redirect could lead to an address that refusePrivate does not check, and
		// that the operator has not configured.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext:            dialer.DialContext, // and no proxy: it would dial for us
			ForceAttemptHTTP2:      true,
			MaxIdleConnsPerHost:    8,
			IdleConnTimeout:        time.Minute,
			MaxResponseHeaderBytes: 16 << 10,
		},
	}}, nil
}

// Send posts the events one after the other.
func (w *webhook) Send(ctx context.Context, events []ivs.Event) (sent int, err error) {
	for i, e := range events {
		if err := w.post(ctx, e, time.Now()); err != nil {
			return i, err
		}
	}
	return len(events), nil
}

// Flush does nothing: with a 2xx the receiver has accepted the event.
func (w *webhook) Flush() error { return nil }

func (w *webhook) post(ctx context.Context, e ivs.Event, now time.Time) error {
	body, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%w: %w", errUnreachable, err)
	}
	timestamp := strconv.FormatInt(now.Unix(), 10)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "Millrace")
	r.Header.Set("webhook-id", e.ID)
	r.Header.Set("webhook-timestamp", timestamp)
	r.Header.Set("webhook-signature", w.sign(e.ID, timestamp, body))
	answer, err := w.client.Do(r)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // without the URL, which may hold a secret
		}
		return fmt.Errorf("%w: %w", errUnreachable, err)
	}
	defer answer.Body.Close()
	io.CopyN(io.Discard, answer.Body, maxAnswer) // the body does not matter
	return verdict(answer.StatusCode)
}

func (w *webhook) sign(id, timestamp string, body []byte) string {
	var all []string
	for _, secret := range w.secrets() {
		key, _ := webhookKey(secret) // it was checked, or made by NewWebhookSecret
		h := hmac.New(sha256.New, key)
		io.WriteString(h, id+"."+timestamp+".")
		h.Write(body)
		all = append(all, "v1,"+base64.StdEncoding.EncodeToString(h.Sum(nil)))
	}
	return strings.Join(all, " ")
}

// verdict returns the error that a status stands for, nil for success.
func verdict(status int) error {
	text := strconv.Itoa(status) + " " + http.StatusText(status)
	switch {
	case status >= 200 && status < 300:
		return nil
	case status == http.StatusTooManyRequests, status == http.StatusBadGateway,
		status == http.StatusServiceUnavailable, status == http.StatusGatewayTimeout:
		return fmt.Errorf("%w: %s", errUnreachable, text)
	case status >= 300 && status < 400:
		return fmt.Errorf("%w: %s, and redirects are not followed", errRefused, text)
	case status >= 400 && status < 500 && status != http.StatusRequestTimeout && status != http.StatusTooEarly:
		return fmt.Errorf("%w: %s", errRefused, text)
	}
	return errors.New(text)
}

// special are the addresses that do not belong to a public server, by the IANA
// registries of special-purpose addresses (RFC 6890).
var special = prefixes(
	"0.0.0.0/8",
	"10.0.0.0/8",
	"100.64.0.0/10", // shared by carriers and clouds
	"127.0.0.0/8",
	"169.254.0.0/16", // link-local: cloud metadata
	"172.16.0.0/12",
	"192.0.0.0/24",
	"192.0.2.0/24",   // documentation
	"192.88.99.0/24", // relays of 6to4
	"192.168.0.0/16",
	"198.18.0.0/15",   // benchmarks
	"198.51.100.0/24", // documentation
	"203.0.113.0/24",  // documentation
	"224.0.0.0/4",     // multicast
	"240.0.0.0/4",     // reserved, and broadcast
	"2001::/23",       // Teredo, which holds an IPv4 address, ORCHID and others
	"2001:db8::/32",   // documentation
	"2002::/16",       // 6to4, which holds an IPv4 address
	"3fff::/20",       // documentation
)

// public6 is the IPv6 address space that IANA has allocated for the public Internet.
// Outside of it are all other forms that contain an IPv4 address, such as
// ::127.0.0.1, ::ffff:0:127.0.0.1 and 64:ff9b::127.0.0.1.
var public6 = netip.MustParsePrefix("2000::/3")

func prefixes(all ...string) []netip.Prefix {
	list := make([]netip.Prefix, len(all))
	for i, p := range all {
		list[i] = netip.MustParsePrefix(p)
	}
	return list
}

// refusePrivate rejects connections to this machine and to private networks. It is
// called with the address that is dialled, after name resolution.
func refusePrivate(network, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("address %s: %w", address, err)
	}
	if !isPublic(a.Addr()) {
		return fmt.Errorf("%s is not a public address, and webhooks to others are not allowed", a.Addr())
	}
	return nil
}

func isPublic(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	if ip.Is6() && (!public6.Contains(ip) || isISATAP(ip)) {
		return false
	}
	for _, p := range special {
		if p.Contains(ip) {
			return false
		}
	}
	return ip.IsValid()
}

// isISATAP reports whether the last 64 bits of ip represent an IPv4 address in the same
// site (RFC 5214, section 6.1).
func isISATAP(ip netip.Addr) bool {
	b := ip.As16()
	return b[8]&^2 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe
}
