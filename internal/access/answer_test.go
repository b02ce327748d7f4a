package access

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/audience"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/token"
)

// zeros is what a download that does not end reads.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// A revocation ends what its viewer waits for and downloads by itself, with
// nothing that passes for a whole answer, and nothing of others.
func TestServeIsCutOff(t *testing.T) {
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			w := newWorld(t)
			c := w.channel()
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				var g Grant
				fmt.Sscan(r.FormValue("viewer"), &g.ViewerID, &g.Version) // what it is shows below
				err := w.Serve(rw, r, c.ARN, &g, func(r *http.Request) {
					rw.Header().Set("Content-Length", fmt.Sprint(1<<40))
					rw.WriteHeader(http.StatusOK)
					rw.(http.Flusher).Flush()
					if r.URL.Path == "/wait" {
						<-r.Context().Done()
					} else {
						io.CopyN(rw, zeros{}, 1<<40) // it fails
					}
				})
				if refusal, ok := errors.AsType[*Refusal](err); ok {
					http.Error(rw, refusal.Text, refusal.Status)
				}
			}))
			server.EnableHTTP2 = true
			server.StartTLS()
			defer server.Close()
			client := server.Client()
			if protocol == "HTTP/1.1" {
				client = &http.Client{Transport: &http.Transport{TLSClientConfig: client.Transport.(*http.Transport).TLSClientConfig.Clone()}}
				client.Transport.(*http.Transport).TLSClientConfig.NextProtos = nil
			}
			open := func(path, viewer string) *http.Response {
				t.Helper()
				res, err := client.Get(server.URL + path + "?viewer=" + viewer)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { res.Body.Close() })
				if res.Proto != protocol || res.StatusCode != http.StatusOK {
					t.Fatalf("%s %s", res.Proto, res.Status)
				}
				return res
			}
			type watching struct {
				*http.Response
				viewer string
				cut    bool
			}
			var all []watching
			for _, viewer := range []string{"ann+5", "ann+4", "ann+6", "bob+5"} {
				for _, path := range []string{"/wait", "/download"} {
					all = append(all, watching{open(path, viewer), viewer, viewer == "ann+5" || viewer == "ann+4"})
				}
			}
			if err := w.Store.RevokeViewer(t.Context(), ivs.ViewerSession{ChannelARN: c.ARN, ViewerID: "ann", Version: 5}, time.Now()); err != nil {
				t.Fatal(err)
			}
			if err := w.follow(t.Context()); err != nil {
				t.Fatal(err)
			}
			var reading sync.WaitGroup
			for _, a := range all {
				if a.cut {
					reading.Go(func() {
						if n, err := io.Copy(io.Discard, a.Body); err == nil {
							t.Errorf("%s %s: came to an end after %d bytes", a.Request.URL, a.viewer, n)
						}
					})
				}
			}
			reading.Wait()
			w.answers.mu.Lock()
			if n := len(w.answers.running); n != 4 {
				t.Errorf("%d answers are running, want those of the others", n)
			}
			w.answers.mu.Unlock()
			for _, a := range all {
				if a.cut || a.Request.URL.Path == "/wait" {
					continue
				}
				if _, err := io.CopyN(io.Discard, a.Body, 8<<20); err != nil {
					t.Errorf("%s %s is not served any more: %v", a.Request.URL, a.viewer, err)
				}
			}
			res, err := client.Get(server.URL + "/wait?viewer=ann+5")
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != http.StatusForbidden {
				t.Errorf("a new request of a revoked viewer = %d", res.StatusCode)
			}
			for _, a := range all {
				a.Body.Close()
			}
			for {
				w.answers.mu.Lock()
				n := len(w.answers.running)
				w.answers.mu.Unlock()
				if n == 0 {
					return
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
}

// A request that is refused is not answered, whoever it is of.
func TestServeRefuses(t *testing.T) {
	w := newWorld(t)
	c := w.channel()
	never := func(*http.Request) { t.Error("it was answered") }
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Origin", "https://evil.example")
	for _, id := range []audience.Identity{{}, {ViewerID: "ann", Version: 1}} {
		g := &Grant{Identity: id, StrictOrigin: true, Origins: []string{"https://a.example"}}
		w.refused("another origin", w.Serve(httptest.NewRecorder(), r, c.ARN, g, never), CodeAuth, "is not among those that the token allows")
	}
	if len(w.answers.running) != 0 {
		t.Error("an answer that was refused is running")
	}
}

func BenchmarkServe(b *testing.B) {
	w := newWorld(b)
	c := w.channel()
	g, err := w.Authorize(b.Context(), Request{Channel: c, Token: w.sign(w.key, c, token.Claims{ViewerID: "v"})})
	if err != nil {
		b.Fatal(err)
	}
	rw, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)
	b.ReportAllocs()
	for b.Loop() {
		if err := w.Serve(rw, r, c.ARN, g, func(*http.Request) {}); err != nil {
			b.Fatal(err)
		}
	}
}
