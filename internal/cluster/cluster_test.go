package cluster

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/store/storetest"
)

var must = storetest.Must

var quiet = slog.New(slog.DiscardHandler)

func register(t testing.TB, db *store.DB, name string) *Node {
	t.Helper()
	n, err := Register(t.Context(), db, store.Node{Name: name, Place: name, Host: "host-" + name}, quiet)
	must(t, err)
	return n
}

// serve answers other nodes at a URL of n's own until the test ends.
func serve(t testing.TB, n *Node, endpoints map[string]http.Handler) (url string) {
	t.Helper()
	s := httptest.NewUnstartedServer(n.Handler(endpoints))
	s.Config.Protocols = &http.Protocols{}
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(func() { n.client.CloseIdleConnections(); s.CloseClientConnections(); s.Close() })
	return s.URL
}

func join(t testing.TB, n *Node, url string) error {
	t.Helper()
	return joinWith(t, n, url, "root")
}

// joinWith has n accept some root credentials.
func joinWith(t testing.TB, n *Node, url string, credentials ...string) error {
	t.Helper()
	return n.Join(t.Context(), Config{URL: url, Version: "test", Report: func() store.NodeReport { return store.NodeReport{} }, Credentials: func() []string { return credentials }})
}

// member is a node that has joined.
func member(t testing.TB, db *store.DB, name string, endpoints map[string]http.Handler) (*Node, string) {
	t.Helper()
	n := register(t, db, name)
	url := serve(t, n, endpoints)
	must(t, join(t, n, url))
	return n, url
}

// A node joins only at a URL at which it and the others reach it, and as itself.
func TestJoin(t *testing.T) {
	db := storetest.Open(t, storetest.SQLite(t))
	first, firstURL := member(t, db, "first", nil)
	second := register(t, db, "second")
	secondURL := serve(t, second, nil)
	website := startWebsite(t)
	stranger, strangerURL := member(t, storetest.Open(t, storetest.SQLite(t)), "stranger", nil)
	if !stranger.isMember() {
		t.Error("a node that has joined is no member")
	}
	for name, tt := range map[string]struct{ url, says string }{
		"of another node":       {firstURL, "first"},
		"of another cluster":    {strangerURL, "do not use the same database"},
		"of no Millrace server": {website.URL, "not even by itself"},
	} {
		if err := join(t, second, tt.url); err == nil || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), "--node-url "+tt.url) {
			t.Errorf("with the URL %s: %v", name, err)
		}
	}
	if second.isMember() {
		t.Error("a node that was refused is a member")
	}
	must(t, join(t, second, secondURL+"/"))
	first.follow(t.Context())
	if list := first.Members(); len(list) != 2 || list[1].URL != secondURL || !list[0].Self || list[1].Name != "second" || !list[1].Alive || list[1].Host != "host-second" {
		t.Errorf("members %+v", list)
	}

	// On a slow machine a node may be taken for gone before it is asked: nothing
	// reports for those of this test, so they do so ahead of each attempt.
	third := register(t, db, "third")
	thirdURL := serve(t, third, nil)
	refused := func(says string, alive func()) {
		t.Helper()
		var err error
		for range 20 {
			alive()
			if err = join(t, third, thirdURL); err != nil && strings.Contains(err.Error(), says) {
				return
			}
		}
		t.Errorf("a third node joins: %v, want %q", err, says)
	}

	// The others have a secret of another database.
	secret := first.signer.secret
	first.signer.secret, second.signer.secret = stranger.signer.secret, stranger.signer.secret
	refused("refuses this one: the signature does not match", func() {
		must(t, first.report(t.Context()))
		must(t, second.report(t.Context()))
	})
	first.signer.secret, second.signer.secret = secret, secret

	// Only the other nodes cannot reach it: its network is another one.
	first.client.Transport, second.client.Transport = broken{}, broken{}
	refused("cannot reach this one there", func() {
		must(t, first.report(t.Context()))
		must(t, second.report(t.Context()))
	})

	for _, away := range []int{-2, 2} {
		must(t, db.JoinCluster(t.Context(), "first", first.epoch, store.Membership{URL: firstURL, Version: "9.0", Protocol: Protocol + away}))
		refused("upgrade nodes one version at a time", func() { must(t, first.report(t.Context())) })
	}
	first.client.Transport, second.client.Transport = newClient().Transport, newClient().Transport
	for _, away := range []int{-1, 1} {
		must(t, first.report(t.Context()), db.JoinCluster(t.Context(), "first", first.epoch, store.Membership{URL: firstURL, Version: "9.0", Protocol: Protocol + away}))
		if err := join(t, third, thirdURL); err != nil {
			t.Errorf("beside a node of version %d: %v", Protocol+away, err)
		}
	}
}

// Root credentials are replaced on one node after the other, while the others run: those
// that join have one in common with each that runs.
func TestJoinCredentials(t *testing.T) {
	db := storetest.Open(t, storetest.SQLite(t))
	a, aURL := member(t, db, "a", nil)
	b := register(t, db, "b")
	bURL := serve(t, b, nil)
	aIs := func(credentials ...string) {
		t.Helper()
		must(t, joinWith(t, a, aURL, credentials...))
	}
	bJoins := func(want bool, credentials ...string) {
		t.Helper()
		var err error
		for range 20 { // on a slow machine a may be taken for gone before it is asked
			must(t, a.report(t.Context()))
			err = joinWith(t, b, bURL, credentials...)
			must(t, db.JoinCluster(t.Context(), "b", b.epoch, store.Membership{})) // it has left
			if want && err == nil || !want && err != nil && strings.Contains(err.Error(), "root credentials of this node are not those of node a") {
				return
			}
		}
		t.Errorf("a node with %q joins: %v", credentials, err)
	}
	aIs("old")
	bJoins(false, "new")
	bJoins(false)
	bJoins(true, "old", "new")
	aIs("old", "new")
	bJoins(true, "old") // as after a crash
	bJoins(true, "new", "old")
	bJoins(true, "new")
	bJoins(false, "another")
	must(t, b.Secrets.Rotate(t.Context(), "nodes", NewSecret())) // a signs, and compares, with the one before
	bJoins(true, "new")
	bJoins(false, "another")
}

// startWebsite starts a server that speaks the same HTTP as nodes and is none.
func startWebsite(t *testing.T) *httptest.Server {
	website := httptest.NewUnstartedServer(http.NotFoundHandler())
	website.Config.Protocols = &http.Protocols{}
	website.Config.Protocols.SetUnencryptedHTTP2(true)
	website.Start()
	t.Cleanup(website.Close)
	return website
}

// A broken network reaches no node.
type broken struct{}

func (broken) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("no route to host")
}

func TestCheckURL(t *testing.T) {
	for url, ok := range map[string]bool{
		"http://10.0.0.5:8080": true, "https://node-1.example": true, "http://[2001:db8::1]:80": true, "http://a/": true,
		"": false, "10.0.0.5:8080": false, "ftp://a": false, "http://0.0.0.0:8080": false, "http://[::]:1": false,
		"http://a/path": false, "http://u:p@a": false, "http://a?x": false,
	} {
		if err := CheckURL(url); (err == nil) != ok {
			t.Errorf("%q: %v", url, err)
		}
	}
}

// An echo is node a, which keeps what it lets in, and node b, which asks it.
type echo struct {
	*testing.T
	a, b *Node
	url  string // of a
	got  []string
}

func startEcho(t *testing.T, db *store.DB) *echo {
	t.Helper()
	e := &echo{T: t}
	e.a, e.url = member(t, db, "a", map[string]http.Handler{"POST echo": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		e.got = append(e.got, From(r)+": "+string(body))
	})})
	e.b, _ = member(t, db, "b", nil)
	return e
}

// request is signed by b.
func (e *echo) request(body io.Reader) *http.Request {
	e.Helper()
	r, err := http.NewRequest(http.MethodPost, e.url+Root+"echo?x=1", body)
	must(e, err)
	must(e, e.b.signer.sign(r, Peer{Name: "a", Protocol: Protocol}))
	return r
}

func (e *echo) send(what string, want int, r *http.Request) {
	e.Helper()
	received := r.Clone(e.Context()) // as a server has it
	received.Host, received.Body = r.URL.Host, http.NoBody
	inBody := []string{"a second time", "with another body", "with a large body"} // or in what was received
	if signed := want == 200 || slices.Contains(inBody, what); e.a.Signed(received) != signed {
		e.Errorf("%s: signed = %v", what, !signed)
	}
	res, err := http.DefaultClient.Do(r)
	must(e, err)
	defer res.Body.Close()
	if text, _ := io.ReadAll(res.Body); res.StatusCode != want {
		e.Errorf("%s: %d %s, want %d", what, res.StatusCode, text, want)
	}
}

// What is asked of another node is asked once, by a node of the cluster, of this
// node, as it was signed and now.
func TestVerify(t *testing.T) {
	e := startEcho(t, storetest.Open(t, storetest.SQLite(t)))
	good := e.request(strings.NewReader("hello"))
	again := good.Clone(t.Context())
	again.Body = io.NopCloser(strings.NewReader("hello"))
	e.send("as it was signed", 200, good)
	e.send("a second time", 403, again)
	e.send("streamed", 200, e.request(io.MultiReader(strings.NewReader("bit by "), strings.NewReader("bit"))))

	unsigned, err := http.NewRequest(http.MethodPost, e.url+Root+"echo", nil)
	must(t, err)
	e.send("unsigned", 403, unsigned)
	changed := e.request(strings.NewReader("hello"))
	changed.URL.RawQuery = "x=2"
	e.send("with another query", 403, changed)
	changed = e.request(strings.NewReader("hello"))
	changed.Method = http.MethodPut
	e.send("with another method", 403, changed)
	changed = e.request(strings.NewReader("hello"))
	changed.Body = io.NopCloser(strings.NewReader("hullo"))
	e.send("with another body", 403, changed)
	changed = e.request(strings.NewReader("hello"))
	changed.Header.Set(fromHeader, "c")
	e.send("in the name of another", 403, changed)
	changed = e.request(strings.NewReader("hello"))
	changed.Header.Set("Millrace-Account", "123456789012")
	e.send("with a header of a node that was not signed", 403, changed)

	e.a.follow(t.Context()) // now it knows b
	other, err := http.NewRequest(http.MethodPost, e.url+Root+"echo", nil)
	must(t, err, e.b.signer.sign(other, Peer{Name: "c", Protocol: Protocol}))
	e.send("for another node", http.StatusMisdirectedRequest, other)
	e.send("with a large body", http.StatusRequestEntityTooLarge, e.request(bytes.NewReader(make([]byte, maxBody+1))))

	right := e.b.signer.clock.off.Load()
	e.b.signer.clock.off.Store(right - int64(signedFor+time.Minute))
	e.send("too old", 403, e.request(nil))
	e.b.signer.clock.off.Store(right + int64(signedFor+time.Minute))
	e.send("of the future", 403, e.request(nil))
	e.b.signer.clock.off.Store(right)

	if len(e.got) != 2 || e.got[0] != "b: hello" || e.got[1] != "b: bit by bit" {
		t.Errorf("let in: %q", e.got)
	}
	res, err := e.b.Do(t.Context(), Peer{Name: "a", URL: e.url, Protocol: Protocol}, e.request(strings.NewReader("by HTTP/2")))
	must(t, err)
	res.Body.Close()
	if res.StatusCode != 200 || res.ProtoMajor != 2 {
		t.Errorf("%s by %s", res.Status, res.Proto)
	}
	if e.a.Name != "a" {
		t.Error(e.a.Name)
	}
}

// As the version before signs, without other headers: what it sends is accepted, and of a
// node that can do better it is not.
func TestVerifyVersionBefore(t *testing.T) {
	db := storetest.Open(t, storetest.SQLite(t))
	e := startEcho(t, db)
	before := func() *http.Request {
		r := e.request(strings.NewReader("hello"))
		r.Header.Del(signatureHeader)
		must(t, e.b.signer.sign(r, Peer{Name: "a", Protocol: Protocol - 1}))
		r.Header.Set("Millrace-Account", "123456789012")
		return r
	}
	e.send("of a node that is about to join, by version 1", 200, before())
	e.a.follow(t.Context())
	e.send("of a node of this version, by version 1", 403, before())
	must(t, db.JoinCluster(t.Context(), "b", e.b.epoch, store.Membership{URL: "http://b", Protocol: Protocol - 1}))
	e.a.follow(t.Context())
	e.send("of a node of the version before", 200, before())
	if want := []string{"b: hello", "b: hello"}; !slices.Equal(e.got, want) {
		t.Errorf("let in: %q, want %q", e.got, want)
	}
}

// A rotation cuts no node off: for some time both values are accepted, and until all
// nodes know the new one the previous one signs.
func TestRotate(t *testing.T) {
	dsn := storetest.SQLite(t)
	here, there := &Secrets{store: storetest.Open(t, dsn), log: quiet}, &Secrets{store: storetest.Open(t, dsn), log: quiet}
	a, err := here.Open(t.Context(), "s", func() string { return "old" })
	must(t, err)
	b, err := there.Open(t.Context(), "s", func() string { return "another" })
	must(t, err)
	if a.Signing() != "old" || b.Signing() != "old" {
		t.Errorf("%q here, %q there", a.Signing(), b.Signing())
	}
	must(t, here.Rotate(t.Context(), "s", "new"))
	there.reread(t.Context())
	for _, s := range []*Secret{a, b} {
		if signing, accepted := s.Values(); signing != "old" || !slices.Equal(accepted, []string{"old", "new"}) {
			t.Errorf("just after the rotation %q signs, %q are accepted", signing, accepted)
		}
	}
	if err := there.Rotate(t.Context(), "s", "newer"); !ivs.Is(err, ivs.Conflict) || !strings.Contains(err.Error(), "72h0m0s") {
		t.Errorf("a second rotation: %v", err)
	}
	if v := newValue(store.Secret{Value: "new", Previous: "old", Age: overlap}); !slices.Equal(v, value{"new", "old"}) {
		t.Errorf("then %q", v)
	}
	if v := newValue(store.Secret{Value: "new", Previous: "old", Age: previousTime}); !slices.Equal(v, value{"new"}) {
		t.Errorf("in the end %q", v)
	}
	if err := here.Rotate(t.Context(), "other", "x"); !ivs.Is(err, ivs.NotFound) {
		t.Errorf("a secret that there is not: %v", err)
	}
}

// An error of another node is the same here.
func TestCall(t *testing.T) {
	db := storetest.Open(t, storetest.SQLite(t))
	type question struct{ Kind string }
	_, url := member(t, db, "a", map[string]http.Handler{"POST fail": Endpoint(func(_ context.Context, q question) (string, error) {
		switch q.Kind {
		case "":
			return "done", nil
		case "inside":
			return "", errors.New("inside")
		}
		return "", ivs.Errorf(ivs.Conflict, "An ad break is running")
	})})
	b, _ := member(t, db, "b", nil)
	a := Peer{Name: "a", URL: url}
	var out string
	must(t, b.Call(t.Context(), a, "fail", question{}, &out))
	if out != "done" {
		t.Errorf("%q", out)
	}
	if err := b.Call(t.Context(), a, "fail", question{"conflict"}, nil); !ivs.Is(err, ivs.Conflict) || !strings.HasSuffix(err.Error(), "An ad break is running") {
		t.Errorf("%v", err)
	}
	if err := b.Call(t.Context(), a, "fail", question{"inside"}, nil); err == nil || !strings.Contains(err.Error(), "inside") {
		t.Errorf("%v", err)
	}
	err := b.Call(t.Context(), Peer{Name: "gone", URL: "http://127.0.0.1:1"}, "fail", question{}, nil)
	if _, ok := errors.AsType[*UnreachableError](err); !ok {
		t.Errorf("of a node that is not there: %v", err)
	}
}

// A node is dead when its number of heartbeats has stayed the same for the lease
// while this node could see it.
func TestWatch(t *testing.T) {
	start := time.Now()
	var w watch
	heartbeats := int64(1)
	look := func(at time.Duration) int {
		return len(w.look([]store.Member{{Name: "self", Heartbeats: 1}, {Name: "other", Heartbeats: heartbeats}}, "self", start.Add(at)))
	}
	run := func(from, to time.Duration, reporting bool) (died time.Duration) {
		for at := from; at <= to; at += watchEvery {
			if reporting && (at-from)%memberEvery == 0 {
				heartbeats++
			}
			if n := look(at); n > 0 && died == 0 {
				died = at
			}
		}
		return died
	}
	if died := run(0, 20*time.Second, true); died != 0 {
		t.Errorf("one that lives died after %v", died)
	}
	if died := run(20500*time.Millisecond, 30*time.Second, false); died < 23*time.Second || died > 25*time.Second {
		t.Errorf("one that fell silent at 20 s died at %v", died)
	}
	if !w.silent("other") {
		t.Error("it is not known to be silent")
	}
	heartbeats++
	look(30500 * time.Millisecond)
	if w.silent("other") {
		t.Error("it is silent although it is back")
	}
	// This process was suspended for a minute: no node is judged by what was before.
	if died := run(90*time.Second, 90*time.Second+recovery-watchEvery, false); died != 0 {
		t.Errorf("after a pause of this process it died at %v", died)
	}
	// The database was unreachable: the others get time to reconnect.
	heartbeats++
	back := 90*time.Second + recovery
	look(back)
	w.reset(start.Add(back))
	if died := run(back+watchEvery, back+recovery-watchEvery, false); died != 0 {
		t.Errorf("after the database was unreachable it died at %v", died)
	}
	if died := run(back+recovery, back+recovery+watchEvery, false); died == 0 {
		t.Error("after the database was unreachable it never died")
	}
}

// The sessions of a node that is killed are ended by another one within 5 s, once,
// and those of others are left alone.
func TestDeath(t *testing.T) {
	dsn := filepath.Join(t.TempDir(), "millrace.db")
	synctest.Test(t, func(t *testing.T) {
		db := storetest.Open(t, dsn)
		var running sync.WaitGroup
		nodes := map[string]*Node{}
		kill := map[string]context.CancelFunc{}
		sessions := map[string]string{} // stream id by node
		for _, name := range []string{"a", "b", "c"} {
			n := register(t, db, name)
			n.config.Store(&Config{URL: "http://" + name, Report: func() store.NodeReport { return store.NodeReport{} }, Credentials: func() []string { return nil }})
			must(t, db.JoinCluster(t.Context(), name, n.epoch, store.Membership{URL: "http://" + name, Protocol: Protocol}))
			var ctx context.Context
			ctx, kill[name] = context.WithCancel(t.Context())
			running.Go(func() {
				if err := n.Run(ctx); err != nil {
					t.Error(err)
				}
			})
			c, _ := storetest.Channel(t, db, store.Scope{Account: "123456789012", Region: "us-west-2"}, name)
			sessions[name] = storetest.Session(t, db, c.ARN, name, time.Now())
			nodes[name] = n
		}
		defer func() {
			for _, k := range kill {
				k()
			}
			running.Wait()
		}()
		time.Sleep(20 * time.Second)
		owner := func(of string) (Stream, bool) { return nodes["b"].Owner(sessions[of]) }
		for _, name := range []string{"a", "b", "c"} {
			if s, ok := owner(name); !ok || s.Peer.Name != name || s.Ended || s.Peer.Self != (name == "b") {
				t.Errorf("b thinks that the stream of %s is at %+v, %v", name, s, ok)
			}
		}
		kill["a"]()
		killed := time.Now()
		for {
			open, err := db.OwnedStreams(t.Context())
			must(t, err)
			if len(open) < 3 {
				break
			}
			if time.Since(killed) > time.Minute {
				t.Fatal("the session of a node that was killed continues")
			}
			time.Sleep(100 * time.Millisecond)
		}
		if took := time.Since(killed); took > 5*time.Second || took < memberLease-memberEvery {
			t.Errorf("its session was ended after %v", took)
		}
		time.Sleep(10 * time.Second)
		open, err := db.OwnedStreams(t.Context())
		must(t, err)
		if len(open) != 2 {
			t.Errorf("open in the end: %+v", open)
		}
		if _, ok := owner("a"); ok {
			t.Error("a node that is dead owns a stream")
		}
		if s, ok := owner("c"); !ok || s.Ended {
			t.Errorf("the stream of a node that lives: %+v, %v", s, ok)
		}
	})
}

// A clock that differs from the database's by two minutes is reported once an hour, and
// signatures have the database's time.
func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c clock
		for _, off := range []time.Duration{2 * time.Minute, -2 * time.Minute} {
			time.Sleep(sayEvery)
			if said := c.set(time.Now().Add(off), time.Now()); said != off {
				t.Errorf("of a difference of %v, %v is said", off, said)
			}
			if got := time.Until(c.now()); got != off {
				t.Errorf("the database's time is %v away, want %v", got, off)
			}
			if said := c.set(time.Now().Add(off), time.Now()); said != 0 {
				t.Errorf("%v is said again at once", said)
			}
		}
		time.Sleep(sayEvery)
		if said := c.set(time.Now().Add(maxOff/2), time.Now()); said != 0 {
			t.Errorf("a small difference is said: %v", said)
		}
	})
}

// Who waits for the streams that there are now is told when the database was asked for them
// since, not when it had been before.
func TestAwaitOwners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &Node{}
		n.AwaitOwners(t.Context(), time.Now()) // which no node asks for
		began := time.Now()
		n.directory.set(nil, began)
		go func() {
			for range 3 { // asks every half a second, and has an answer after 100 ms
				time.Sleep(400 * time.Millisecond)
				asked := time.Now()
				time.Sleep(100 * time.Millisecond)
				n.directory.set([]store.OwnedStream{{StreamID: "st-1"}}, asked)
			}
		}()
		time.Sleep(450 * time.Millisecond)
		n.AwaitOwners(t.Context(), began)
		if d := time.Since(began); d != 500*time.Millisecond {
			t.Errorf("what there was at the beginning is known after %v", d)
		}
		n.AwaitOwners(t.Context(), began.Add(450*time.Millisecond))
		if d := time.Since(began); d != time.Second {
			t.Errorf("what there was after 450 ms is known after %v", d)
		}
		limited, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		n.AwaitOwners(limited, began.Add(time.Hour))
		if d := time.Since(began); d != 2*time.Second {
			t.Errorf("it waits for %v, which was to be two seconds", d)
		}
	})
}
