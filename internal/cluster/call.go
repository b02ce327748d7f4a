package cluster

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/ivs"
)

const (
	dialTimeout = 2 * time.Second

	// pingAfter and pingTimeout are how soon a connection to a node is found dead
	// that was stopped, or cut off from this one.
	pingAfter   = 2 * time.Second
	pingTimeout = 2 * time.Second

	maxAnswer = 1 << 20 // bytes of the answer to a Call
)

// newClient speaks HTTP/2, without TLS too: many requests of different streams
// share a connection.
func newClient() *http.Client {
	protocols := &http.Protocols{}
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Client{
		Transport: &http.Transport{
			Protocols:           protocols,
			DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
			TLSHandshakeTimeout: dialTimeout,
			IdleConnTimeout:     time.Minute,
			HTTP2:               &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout, WriteByteTimeout: pingAfter + pingTimeout},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// An UnreachableError is the error of a request that did not reach a node, or got no
// answer.
type UnreachableError struct {
	Node string
	Err  error
}

func (e *UnreachableError) Error() string {
	return "node " + e.Node + " does not answer: " + e.Err.Error()
}

func (e *UnreachableError) Unwrap() error { return e.Err }

// Do signs a request and sends it to a node, at the node's URL, whatever host r has. A
// body that cannot be read twice is streamed, and not covered by the signature. The error
// is an *UnreachableError. The deadline is that of r's context.
func (n *Node) Do(ctx context.Context, to Peer, r *http.Request) (*http.Response, error) {
	base, err := url.Parse(to.URL)
	if err != nil {
		return nil, &UnreachableError{to.Name, err}
	}
	r = r.WithContext(ctx)
	r.URL.Scheme, r.URL.Host, r.Host = base.Scheme, base.Host, ""
	if err := n.signer.sign(r, to); err != nil {
		return nil, err
	}
	res, err := n.client.Do(r)
	if err != nil {
		return nil, &UnreachableError{to.Name, err}
	}
	return res, nil
}

// Call sends in as JSON to path, below Root, on a node, and decodes the answer into out,
// unless that is nil. The error is an *UnreachableError, the error that the other node's
// Endpoint has returned if it was one of package ivs, or else of kind ivs.Internal.
func (n *Node) Call(ctx context.Context, to Peer, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(to.URL, "/")+Root+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	res, err := n.Do(ctx, to, r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if err := ErrorOf(res, to); err != nil {
		return err
	}
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return &UnreachableError{to.Name, err}
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("node %s: %s: %w", to.Name, path, err)
	}
	return nil
}

// An Endpoint handles a Call: it decodes the body into In, and answers with what f
// returns.
func Endpoint[In, Out any](f func(context.Context, In) (Out, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in In
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			WriteError(w, ivs.Errorf(ivs.Validation, "the body is not what this call takes: %v", err))
			return
		}
		out, err := f(r.Context(), in)
		if err != nil {
			WriteError(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(out) // the caller may have left
	})
}

// A StatusError is the answer of a node that refused a request.
type StatusError struct {
	Node   string
	Status int
	Text   string
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("node %s answers %d: %s", e.Node, e.Status, e.Text)
}

// codeHeader has the kind of an error that the other node has decided on.
const codeHeader = "Millrace-Error"

// WriteError writes an error as the answer to another node, which reads it with ErrorOf.
func WriteError(w http.ResponseWriter, err error) {
	kind, text := ivs.Internal, err.Error() // the other is a node, and may know
	if e, ok := errors.AsType[*ivs.Error](err); ok {
		kind, text = e.Kind, e.Msg
	}
	w.Header().Set(codeHeader, kind.Code())
	http.Error(w, text, kind.Status())
}

// ErrorOf returns the error in another node's answer, nil if there is none.
func ErrorOf(res *http.Response, from Peer) error {
	if res.StatusCode < 300 {
		return nil
	}
	text, _ := io.ReadAll(io.LimitReader(res.Body, 4<<10)) // what there is of it
	said := cmp.Or(strings.TrimSpace(string(text)), res.Status)
	if kind, ok := ivs.KindOf(res.Header.Get(codeHeader)); ok && kind != ivs.Internal {
		return ivs.Errorf(kind, "%s", said)
	}
	return &StatusError{from.Name, res.StatusCode, said}
}
