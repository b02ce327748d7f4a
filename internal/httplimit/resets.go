package httplimit

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/proxies"
)

// How many requests the client of an HTTP/2 connection may abandon: in a burst, and per
// second. Reset streams do not count against the limit of concurrent streams, but each has
// the cost of a request (CVE-2023-44487).
const (
	resetBurst = 500
	resetRate  = 50
)

// resets counts the requests that a client has abandoned on one connection.
type resets struct {
	conn net.Conn

	mu    sync.Mutex
	count float64   // guarded by mu; falls by resetRate a second
	at    time.Time // guarded by mu; when count was that
}

type resetsKey struct{}

// withResets is an http.Server's ConnContext.
func withResets(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, resetsKey{}, &resets{conn: c})
}

// limitResets is for HTTP/2: it closes connections whose client abandons too many
// requests, except those of trusted proxies, which forward the requests of many clients.
func limitResets(handler http.Handler, trusted proxies.Trusted) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(w, r)
		if r.Context().Err() != nil && !trusted.HasHost(r.RemoteAddr) {
			countReset(r)
		}
	})
}

func countReset(r *http.Request) {
	if c, ok := r.Context().Value(resetsKey{}).(*resets); ok && c.tooMany(time.Now()) {
		c.conn.Close()
	}
}

// tooMany counts an abandoned request, and reports whether it is one too many.
func (c *resets) tooMany(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count = max(c.count-resetRate*now.Sub(c.at).Seconds(), 0) + 1
	c.at = now
	return c.count > resetBurst
}
