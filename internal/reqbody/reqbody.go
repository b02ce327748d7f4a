// Package reqbody reads the bodies of HTTP requests within limits: of size, of time, and
// of how many a client may be sending, so that slow clients cannot take the place of all
// others.
package reqbody

import (
	"errors"
	"io"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/proxies"
)

// Timeout is how long a body may take.
const Timeout = 10 * time.Second

// Errors of Read.
var (
	ErrBusy       = errors.New("too many request bodies are being received")
	ErrTooLarge   = errors.New("the request body is too large")
	ErrIncomplete = errors.New("the request body ended early, or took too long")
)

// Limits bound a Receiver.
type Limits struct {
	Bytes      int64 // of one body
	Total      int   // bodies that are being received
	PerAddress int   // of them from one IPv4 address or one /64 of IPv6, which also leaves as many as it has, and a tenth of Total, to others
}

// A Receiver reads bodies, and counts those that are being read. The zero value is ready
// to use.
type Receiver struct {
	mu     sync.Mutex
	bodies proxies.Count // guarded by mu
}

// Read returns the body of r, whose response is w, or one of this package's errors.
func (v *Receiver) Read(w http.ResponseWriter, r *http.Request, l Limits) ([]byte, error) {
	if r.ContentLength > l.Bytes {
		return nil, ErrTooLarge
	}
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	client := proxies.ClientOf(r.RemoteAddr)
	if !v.enter(client, l) {
		return nil, ErrBusy
	}
	defer v.leave(client)
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(Timeout)) // the recorder of a test has none
	body, err := io.ReadAll(io.LimitReader(r.Body, l.Bytes+1))
	if err != nil {
		return nil, ErrIncomplete
	}
	if int64(len(body)) > l.Bytes {
		return nil, ErrTooLarge
	}
	_ = control.SetReadDeadline(time.Time{}) // the answer may take longer
	return body, nil
}

func (v *Receiver) enter(client netip.Addr, l Limits) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.bodies.Of(client) >= l.PerAddress || !v.bodies.Share(client, l.Total) {
		return false
	}
	v.bodies.Add(client, 1)
	return true
}

func (v *Receiver) leave(client netip.Addr) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.bodies.Add(client, -1)
}
