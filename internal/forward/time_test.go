package forward

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/internal/ingest"
	"github.com/millrace/millrace/internal/media/mediatest"
	"github.com/millrace/millrace/internal/wiretest"
)

// A node that opens a request and says nothing is given up after 5 s, and an encoder
// of whom nothing comes any more after 40 s.
func TestSilentNode(t *testing.T) {
	frames := mediatest.Source{Seconds: 1, Size: "160x120"}.Frames(t)
	for name, tt := range map[string]struct {
		says func(w *writer)
		want time.Duration
	}{
		"no first message": {func(*writer) {}, helloTime},
		"no frame":         {func(w *writer) { w.json(kindHello, greeting{Protocol: "RTMP"}) }, readTimeout},
		"no second frame": {func(w *writer) {
			w.json(kindHello, greeting{Protocol: "RTMP"})
			if err := w.frame(frames[0], still{}); err != nil {
				t.Error(err)
			}
		}, readTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began, ended := time.Now(), make(chan error, 1)
				handler := Handler(func(_ context.Context, src ingest.Source) error {
					err := src.Accept()
					for err == nil {
						_, err = src.ReadFrame()
					}
					ended <- err
					return err
				})
				body, feed := io.Pipe()
				do := serveInMemory(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					handler.ServeHTTP(w, r)
					close(ended)
				}))
				go func() {
					w := newWriter(feed)
					tt.says(w)
					_ = w.flush() // shows below
				}()
				r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://node/", body)
				if err != nil {
					t.Fatal(err)
				}
				go func() {
					if answer, err := do(r); err == nil {
						_, _ = io.Copy(io.Discard, answer.Body) // until it ends
						answer.Body.Close()
					}
				}()
				err = <-ended
				if tt.want == readTimeout && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("it ended with %v", err)
				}
				if d := time.Since(began).Round(time.Second); d != tt.want {
					t.Errorf("it was given up after %v, want %v", d, tt.want)
				}
				feed.Close()
			})
		})
	}
}

// serveInMemory answers requests by HTTP/2 over a connection in memory, until the
// test ends.
func serveInMemory(t *testing.T, handler http.Handler) (do func(*http.Request) (*http.Response, error)) {
	t.Helper()
	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	conns := wiretest.Listen(addr("memory"))
	server := &http.Server{Handler: handler, Protocols: protocols}
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(conns) }()
	transport := &http.Transport{Protocols: protocols, DialContext: func(context.Context, string, string) (net.Conn, error) {
		return conns.Dial(addr("memory")), nil
	}}
	t.Cleanup(func() {
		server.Close()
		transport.CloseIdleConnections()
		<-served
	})
	return transport.RoundTrip
}
