package httplimit

import (
	"net/http"
	"net/netip"
	"sync"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/proxies"
)

// Requests responds with 503 if its handler already serves Max requests, or if the
// client would not leave as many as it has, and a tenth of Max, to others.
type Requests struct {
	Handler http.Handler
	Max     int
	Sent    bool // a request of HTTP/2 counts until its answer is sent

	mu      sync.Mutex
	serving proxies.Count // guarded by mu
}

// ServeHTTP calls the handler if there is room.
func (l *Requests) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	source := proxies.ClientOf(r.RemoteAddr) // behind a trusted proxy, the address in its header
	if !l.enter(source) {
		refuseBusy(w, r)
		return
	}
	defer l.leave(source)
	l.Handler.ServeHTTP(w, r)
	if l.Sent && r.ProtoMajor == 2 {
		awaitSent(w, r)
	}
}

// MaxUnsent is the number of unsent answers of an HTTP/2 connection that do not count.
const MaxUnsent = 2

// awaitSent waits until the client has taken an answer, or is cut off. An answer, or its
// end, of less than 4 KiB would be sent after its handler has returned; a client that takes
// nothing (its windows are 0) keeps it in memory, with all that belongs to its request, for
// as long as it may take. Most connections have no request in progress every now and then:
// so their answers need not be waited for.
func awaitSent(w http.ResponseWriter, r *http.Request) {
	if c := connOf(r); c != nil {
		if c.unsent.Add(1) <= MaxUnsent {
			return
		}
		c.unsent.Add(-1)
	}
	_ = http.NewResponseController(w).Flush() // the client may have left
}

// connOf is the connection of a request; nil without CountHeaders.
func connOf(r *http.Request) *headerConn {
	of, ok := r.Context().Value(resetsKey{}).(*resets)
	if !ok {
		return nil
	}
	c, _ := proxies.BelowTLS(of.conn).(*headerConn)
	return c
}

// refuseBusy answers with 503. Over HTTP/2 that has no body, which would have to wait for
// the client.
func refuseBusy(w http.ResponseWriter, r *http.Request) {
	hls.AllowAnyOrigin(w.Header(), "Retry-After")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Retry-After", "1")
	if r.ProtoMajor == 2 {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	http.Error(w, "the server is busy", http.StatusServiceUnavailable)
}

func (l *Requests) enter(source netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.serving.Share(source, l.Max) {
		return false
	}
	l.serving.Add(source, 1)
	return true
}

func (l *Requests) leave(source netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.serving.Add(source, -1)
}

// InProgress returns how many requests are in progress.
func (l *Requests) InProgress() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.serving.Total()
}
