package event_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/event"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(storetest.Main(m)) }

var (
	here   = store.Scope{Account: "123456789012", Region: "eu-west-1"}
	secret = event.NewWebhookSecret()
)

// must fails the test on the first error.
var must = storetest.Must

func secrets(all ...string) func() []string { return func() []string { return all } }

// target parses NAME=PLACE with the tests' secret, private places allowed.
func target(t testing.TB, text string) event.Target {
	t.Helper()
	out, err := event.ParseTarget(context.Background(), text, event.Options{Region: "eu-west-1", WebhookSecrets: secrets(secret), AllowPrivate: true})
	must(t, err)
	return out
}

// run runs a dispatcher with short waits until the test ends, or stop is called.
// When it returns, events are kept for the targets.
func run(t testing.TB, db *store.DB, owner string, targets ...event.Target) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	c := &event.Dispatcher{Store: db, Owner: owner, Targets: targets, Log: slog.New(slog.DiscardHandler), FirstWait: 20 * time.Millisecond, MaxRefusals: 3}
	go func() {
		defer close(done)
		c.Run(ctx)
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	t.Cleanup(stop)
	wait(t, func() bool {
		all, err := db.Targets(context.Background(), nil)
		must(t, err)
		return len(all) >= len(targets)
	})
	return stop
}

// channel stores a channel.
func channel(t testing.TB, db *store.DB, name string) ivs.Channel {
	t.Helper()
	c, _ := storetest.Channel(t, db, here, name)
	return c
}

// session opens a session of the channel.
func session(t testing.TB, db *store.DB, channelARN string) (streamID string) {
	t.Helper()
	return storetest.Session(t, db, channelARN, "n", time.Now())
}

// broadcast writes the four events of a session.
func broadcast(t testing.TB, db *store.DB, channelARN string) (streamID string) {
	t.Helper()
	return storetest.Broadcast(t, db, channelARN, time.Now().Add(-3*time.Second))
}

// fourEvents are those of a broadcast.
var fourEvents = []string{ivs.SessionCreated, ivs.StreamStart, ivs.SessionEnded, ivs.StreamEnd}

// An envelope holds the members of an event that tests check.
type envelope struct {
	ID         string `json:"id"`
	DetailType string `json:"detail-type"`
	Resources  []string
	Detail     struct {
		EventName string `json:"event_name"`
		StreamID  string `json:"stream_id"`
	}
}

// A receiver is a real HTTP server that takes webhooks.
type receiver struct {
	t   testing.TB
	url string

	mu     sync.Mutex
	answer func(http.ResponseWriter, envelope) // guarded by mu; nil is 204
	got    []envelope                          // guarded by mu; those that were answered with 2xx
	tries  int                                 // guarded by mu
}

func newReceiver(t testing.TB) *receiver {
	r := &receiver{t: t}
	s := httptest.NewServer(r)
	t.Cleanup(s.Close)
	r.url = s.URL
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return // the dispatcher went away
	}
	e := r.verify(q, body)
	r.mu.Lock()
	answer := r.answer
	r.tries++
	r.mu.Unlock()
	spy := &spy{ResponseWriter: w, status: http.StatusNoContent}
	if answer != nil {
		answer(spy, e)
	} else {
		w.WriteHeader(http.StatusNoContent)
	}
	if spy.status < 300 {
		r.mu.Lock()
		r.got = append(r.got, e)
		r.mu.Unlock()
	}
}

// verify checks what a careful receiver would.
func (r *receiver) verify(q *http.Request, body []byte) (e envelope) {
	key, err := base64.StdEncoding.DecodeString(secret[len("whsec_"):])
	if err != nil {
		r.t.Error(err)
	}
	mac := hmac.New(sha256.New, key)
	io.WriteString(mac, q.Header.Get("webhook-id")+"."+q.Header.Get("webhook-timestamp")+"."+string(body))
	if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); q.Header.Get("webhook-signature") != want {
		r.t.Errorf("webhook-signature %q, want %q", q.Header.Get("webhook-signature"), want)
	}
	sent, err := strconv.ParseInt(q.Header.Get("webhook-timestamp"), 10, 64)
	if age := time.Since(time.Unix(sent, 0)); err != nil || age < -time.Second || age > time.Minute {
		r.t.Errorf("webhook-timestamp %q is %v old", q.Header.Get("webhook-timestamp"), age)
	}
	if err := json.Unmarshal(body, &e); err != nil || e.ID == "" || e.ID != q.Header.Get("webhook-id") {
		r.t.Errorf("body %s with webhook-id %q: %v", body, q.Header.Get("webhook-id"), err)
	}
	if q.Method != "POST" || q.Header.Get("Content-Type") != "application/json" {
		r.t.Errorf("%s with Content-Type %q", q.Method, q.Header.Get("Content-Type"))
	}
	return e
}

type spy struct {
	http.ResponseWriter
	status int
}

func (s *spy) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

// answers sets how the receiver answers.
func (r *receiver) answers(f func(http.ResponseWriter, envelope)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = f
}

// names are the events of a stream, or of all if streamID is "", that the
// receiver has taken, in their order; those that came again are left out.
func (r *receiver) names(streamID string) (names []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := map[string]bool{}
	for _, e := range r.got {
		if (streamID == "" || e.Detail.StreamID == streamID) && !seen[e.ID] {
			seen[e.ID] = true
			names = append(names, e.Detail.EventName)
		}
	}
	return names
}

func (r *receiver) tried() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tries
}

// wants waits until the receiver has those events of a stream, or of all.
func (r *receiver) wants(streamID string, want ...string) {
	r.t.Helper()
	wait(r.t, func() bool { return len(r.names(streamID)) >= len(want) })
	if got := r.names(streamID); !slices.Equal(got, want) {
		r.t.Errorf("stream %s: got %q, want %q", streamID, got, want)
	}
}

// wait polls until done says so.
func wait(t testing.TB, done func() bool) {
	t.Helper()
	limit := time.After(90 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-limit:
			t.Fatal("waited 90 s in vain")
		case <-tick.C:
		}
	}
}

// status is a target as the store shows it.
func status(t testing.TB, db *store.DB, name string) store.TargetStatus {
	t.Helper()
	all, err := db.Targets(context.Background(), &here)
	must(t, err)
	for _, s := range all {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("there is no target %s", name)
	return store.TargetStatus{}
}
