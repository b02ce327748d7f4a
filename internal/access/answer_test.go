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

// zeros is the endless content of a download.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// A revocation ends what its viewer waits for and downloads by itself, with
// nothing that passes for a whole answer, and nothing of others.
func TestServeIsCutOff(t *testing.T) {
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) { testServeIsCutOff(t, protocol) })
	}
}

func testServeIsCutOff(t *testing.T, protocol string) {
	s := newEndless(t, protocol)
	var ended, running []*http.Response
	for _, viewer := range []string{"ann+5", "ann+4", "ann+6", "bob+5"} {
		for _, path := range []string{"/wait", "/download"} {
			if res := s.open(path, viewer); viewer == "ann+5" || viewer == "ann+4" {
				ended = append(ended, res)
			} else {
				running = append(running, res)
			}
		}
	}
	if err := s.Store.RevokeViewer(t.Context(), ivs.ViewerSession{ChannelARN: s.channelARN, ViewerID: "ann", Version: 5}, time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := s.follow(t.Context()); err != nil {
		t.Fatal(err)
	}
	var reading sync.WaitGroup
	for _, res := range ended {
		reading.Go(func() {
			if n, err := io.Copy(io.Discard, res.Body); err == nil {
				t.Errorf("%s: came to an end after %d bytes", res.Request.URL, n)
			}
		})
	}
	reading.Wait()
	if n := s.count(); n != len(running) {
		t.Errorf("%d answers are running, want those of the others", n)
	}
	for _, res := range running {
		if res.Request.URL.Path == "/wait" {
			continue
		}
		if _, err := io.CopyN(io.Discard, res.Body, 8<<20); err != nil {
			t.Errorf("%s is not served any more: %v", res.Request.URL, err)
		}
	}
	if res := s.get("/wait", "ann+5"); res.StatusCode != http.StatusForbidden {
		t.Errorf("a new request of a revoked viewer = %d", res.StatusCode)
	}
	for _, res := range running {
		res.Body.Close()
	}
	for s.count() > 0 {
		time.Sleep(time.Millisecond)
	}
}

// endless is a server of a channel whose answers do not end by themselves.
type endless struct {
	*world
	protocol   string
	channelARN string
	url        string
	client     *http.Client
}

func newEndless(t *testing.T, protocol string) *endless {
	w := newWorld(t)
	s := &endless{world: w, protocol: protocol, channelARN: w.channel().ARN}
	server := httptest.NewUnstartedServer(s)
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	s.url, s.client = server.URL, server.Client()
	if protocol == "HTTP/1.1" {
		s.client = &http.Client{Transport: &http.Transport{TLSClientConfig: s.client.Transport.(*http.Transport).TLSClientConfig.Clone()}}
		s.client.Transport.(*http.Transport).TLSClientConfig.NextProtos = nil
	}
	return s
}

// ServeHTTP waits, or writes, until the request is cut off.
func (s *endless) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var g Grant
	fmt.Sscan(r.FormValue("viewer"), &g.ViewerID, &g.Version) // what it is shows below
	err := s.Serve(w, r, s.channelARN, &g, func(r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(1<<40))
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		if r.URL.Path == "/wait" {
			<-r.Context().Done()
		} else {
			io.CopyN(w, zeros{}, 1<<40) // it fails
		}
	})
	if refusal, ok := errors.AsType[*Refusal](err); ok {
		http.Error(w, refusal.Text, refusal.Status)
	}
}

func (s *endless) get(path, viewer string) *http.Response {
	s.Helper()
	res, err := s.client.Get(s.url + path + "?viewer=" + viewer)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { res.Body.Close() })
	return res
}

// open is get for an answer that begins.
func (s *endless) open(path, viewer string) *http.Response {
	s.Helper()
	res := s.get(path, viewer)
	if res.Proto != s.protocol || res.StatusCode != http.StatusOK {
		s.Fatalf("%s %s", res.Proto, res.Status)
	}
	return res
}

// count is how many answers are running.
func (s *endless) count() int {
	s.answers.mu.Lock()
	defer s.answers.mu.Unlock()
	return len(s.answers.running)
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
