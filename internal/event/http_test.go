package event_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/event"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/monitor"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/store/storetest"
)

// A server is a Handler behind a real HTTP server, as api.Server puts it there
// for a caller of the scope here.
type server struct {
	db   *store.DB
	url  string
	stop context.CancelFunc
}

// newServer gives other requests than streams so long; 0 means any time.
func newServer(t *testing.T, timeout time.Duration) *server {
	done, stop := context.WithCancel(context.Background())
	d := &server{db: storetest.Open(t, storetest.SQLite(t)), stop: stop}
	h := &event.Handler{Store: d.db, Done: done.Done(), Log: slog.New(slog.DiscardHandler), Channel: (&monitor.Handler{Store: d.db}).Channel}
	mux := http.NewServeMux()
	for pattern, run := range map[string]func(http.ResponseWriter, *http.Request, store.Scope) error{
		"GET /events":                           h.Stream,
		"POST /events/{id}/redeliver":           h.Redeliver,
		"GET /events/targets":                   h.ListTargets,
		"POST /events/targets/{name}/redeliver": h.RedeliverDead,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := run(w, r, here); err != nil {
				kind, msg := ivs.Public(err)
				http.Error(w, kind.Code()+": "+msg, kind.Status())
			}
		})
	}
	s := httptest.NewUnstartedServer(mux)
	s.Config.ReadTimeout, s.Config.WriteTimeout = timeout, timeout
	s.Start()
	t.Cleanup(s.Close)
	t.Cleanup(stop)
	d.url = s.URL
	return d
}

// A follower reads a stream of events.
type follower struct {
	t     *testing.T
	lines *bufio.Scanner
	body  io.Closer
}

func (d *server) follow(t *testing.T, query string, lastID string) *follower {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", d.url+"/events?"+query, nil)
	must(t, err)
	if lastID != "" {
		r.Header.Set("Last-Event-ID", lastID)
	}
	answer, err := http.DefaultClient.Do(r)
	must(t, err)
	t.Cleanup(func() { answer.Body.Close() })
	if answer.StatusCode != 200 || answer.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("GET /events?%s = %s, %v", query, answer.Status, answer.Header)
	}
	return &follower{t, bufio.NewScanner(answer.Body), answer.Body}
}

// next returns the next event, or the comment that ends the stream.
func (f *follower) next() (id string, e envelope, comment string) {
	f.t.Helper()
	for f.lines.Scan() {
		name, value, _ := strings.Cut(f.lines.Text(), ": ")
		switch name {
		case "id":
			id = value
		case "data":
			if err := json.Unmarshal([]byte(value), &e); err != nil || e.ID != id {
				f.t.Errorf("event %s has data %s", id, value)
			}
			return id, e, ""
		case "":
			if value != "" { // an empty line ends what was said before
				comment = value
			}
		}
	}
	return "", e, comment
}

// take returns the names of the next n events and the id of the last.
func (f *follower) take(n int) (names []string, last string) {
	f.t.Helper()
	for range n {
		id, e, comment := f.next()
		if comment != "" {
			f.t.Fatalf("the stream ended after %d events: %s", len(names), comment)
		}
		names, last = append(names, e.Detail.EventName), id
	}
	return names, last
}

func TestStream(t *testing.T) {
	const timeout = time.Second // streams last longer
	d := newServer(t, timeout)
	c, other := channel(t, d.db, "one"), channel(t, d.db, "two")
	run(t, d.db, "n")
	old := broadcast(t, d.db, c.ARN)
	broadcast(t, d.db, other.ARN)
	wait(t, func() bool { n, err := d.db.FeedEnd(t.Context()); return err == nil && n == 8 })

	now := d.follow(t, "", "")
	all := d.follow(t, "from=start", "")
	byChannel := d.follow(t, "from=start&channel="+url.QueryEscape(c.ARN), "")
	byID := d.follow(t, "from=start&channel="+c.ARN[strings.LastIndex(c.ARN, "/")+1:], "")
	byName := d.follow(t, "from=start&name=Stream+End&type=IVS+Stream+State+Change", "")
	byStream := d.follow(t, "from=start&stream="+old, "")

	// What happens while they follow reaches them, after longer than the
	// server lets other requests take.
	for _, tt := range []struct {
		what string
		f    *follower
		want []string
	}{
		{"all", all, slices.Concat(fourEvents, fourEvents)},
		{"channel", byChannel, fourEvents},
		{"channel's id", byID, fourEvents},
		{"name", byName, []string{ivs.StreamEnd, ivs.StreamEnd}},
		{"stream", byStream, fourEvents},
	} {
		if got, _ := tt.f.take(len(tt.want)); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.what, got, tt.want)
		}
	}
	timer := time.NewTimer(timeout + timeout/2)
	<-timer.C
	broadcast(t, d.db, c.ARN)
	for what, f := range map[string]*follower{"now": now, "all": all, "channel": byChannel, "channel's id": byID} {
		if got, _ := f.take(4); !slices.Equal(got, fourEvents) {
			t.Errorf("%s: then %q, want %q", what, got, fourEvents)
		}
	}

	// One that lost its connection continues where it was.
	first := d.follow(t, "from=start", "")
	_, id := first.take(5)
	first.body.Close()
	for _, again := range []*follower{d.follow(t, "", id), d.follow(t, "from="+id, "")} {
		if got, _ := again.take(7); !slices.Equal(got, slices.Concat(fourEvents[1:], fourEvents)) {
			t.Errorf("after Last-Event-ID: %q", got)
		}
	}

	d.stop()
	if _, _, comment := now.next(); comment != "the server is stopping; continue with Last-Event-ID" {
		t.Errorf("the last comment is %q", comment)
	}
}

func TestStreamErrors(t *testing.T) {
	d := newServer(t, 0)
	foreign := ivs.ARN{Region: here.Region, Account: "999999999999", Type: ivs.ChannelType, ID: "abcdefghijkl"}
	for query, want := range map[string]string{
		"from=" + ivs.NewUUID():                        "404 ResourceNotFoundException: Event ",
		"channel=nosuchchannel":                        "404 ResourceNotFoundException: Channel nosuchchannel does not exist",
		"channel=" + url.QueryEscape(foreign.String()): "404 ResourceNotFoundException: Channel arn:",
		"chanel=x": `400 ValidationException: "chanel" is not a parameter`,
	} {
		answer, err := http.Get(d.url + "/events?" + query)
		must(t, err)
		body, err := io.ReadAll(answer.Body)
		must(t, err, answer.Body.Close())
		if got := answer.Status[:4] + string(body); !strings.HasPrefix(got, want) {
			t.Errorf("?%s = %s, want %s", query, got, want)
		}
	}
}

// A stream too many is refused; one that ends makes room.
func TestStreamsAreBounded(t *testing.T) {
	d := newServer(t, 0)
	var open []*follower
	for range event.MaxReaders {
		open = append(open, d.follow(t, "", ""))
	}
	status := func() int {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, "GET", d.url+"/events", nil)
		must(t, err)
		answer, err := http.DefaultClient.Do(r)
		must(t, err)
		answer.Body.Close()
		return answer.StatusCode
	}
	if got := status(); got != http.StatusTooManyRequests {
		t.Errorf("one stream too many is answered %d", got)
	}
	open[0].body.Close()
	wait(t, func() bool { return status() == 200 })
}

func TestTargetsAndRedelivery(t *testing.T) {
	d := newServer(t, 0)
	r := newReceiver(t)
	r.answers(func(w http.ResponseWriter, e envelope) {
		if e.Detail.EventName == ivs.SessionEnded {
			w.WriteHeader(http.StatusBadRequest)
		}
	})
	run(t, d.db, "n", target(t, "hook="+r.url))
	id := broadcast(t, d.db, channel(t, d.db, "one").ARN)
	wait(t, func() bool { s := status(t, d.db, "hook"); return s.Dead == 1 && s.Pending == 0 })

	var out struct {
		Targets []struct {
			Name, Kind    string
			Pending, Dead int
			LagSeconds    *float64
			DeadLetters   []struct {
				Event    envelope
				Attempts int
				Time     time.Time
				Error    string
			}
		}
	}
	answer, err := http.Get(d.url + "/events/targets")
	must(t, err)
	must(t, json.NewDecoder(answer.Body).Decode(&out), answer.Body.Close())
	if len(out.Targets) != 1 || len(out.Targets[0].DeadLetters) != 1 {
		t.Fatalf("targets: %+v", out)
	}
	hook := out.Targets[0]
	if hook.Name != "hook" || hook.Kind != "webhook" || hook.Pending != 0 || hook.Dead != 1 || hook.LagSeconds == nil || *hook.LagSeconds != 0 {
		t.Errorf("the target is %+v", hook)
	}
	letter := hook.DeadLetters[0]
	if letter.Event.Detail.EventName != ivs.SessionEnded || letter.Attempts != 3 || letter.Error != "refused: 400 Bad Request" || time.Since(letter.Time) > time.Minute {
		t.Errorf("the dead letter is %+v", letter)
	}

	post := func(path string) (int, string) {
		answer, err := http.Post(d.url+path, "", nil)
		must(t, err)
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		must(t, err)
		return answer.StatusCode, strings.TrimSpace(string(body))
	}
	r.answers(nil)
	for _, tt := range []struct {
		path   string
		status int
		body   string
	}{
		{"/events/" + ivs.NewUUID() + "/redeliver", 404, ""},
		{"/events/" + letter.Event.ID + "/redeliver?target=nowhere", 404, ""},
		{"/events/targets/nowhere/redeliver", 404, ""},
		{"/events/targets/hook/redeliver", 202, `{"events":1}`},
	} {
		if status, body := post(tt.path); status != tt.status || tt.body != "" && body != tt.body {
			t.Errorf("POST %s = %d %s, want %d %s", tt.path, status, body, tt.status, tt.body)
		}
	}
	r.wants(id, ivs.SessionCreated, ivs.StreamStart, ivs.StreamEnd, ivs.SessionEnded)
	wait(t, func() bool { return status(t, d.db, "hook").Dead == 0 })

	before := r.tried()
	if status, body := post("/events/" + letter.Event.ID + "/redeliver"); status != 202 || body != `{"events":1}` {
		t.Errorf("sending an event again = %d %s", status, body)
	}
	wait(t, func() bool { return r.tried() == before+1 })
}
