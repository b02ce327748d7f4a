package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"

	"github.com/millrace/millrace/internal/logs/logstest"
)

// received is an event as a receiver got it.
type received struct {
	ID     string `json:"id"`
	Detail struct {
		EventName string `json:"event_name"`
		StreamID  string `json:"stream_id"`
	} `json:"detail"`
}

// deliveries holds the events that receivers got, by stream and in order, each once.
type deliveries struct {
	mu      sync.Mutex
	total   int
	streams map[string][]string // guarded by mu; names
	seen    map[string]bool     // guarded by mu; ids
}

func (s *deliveries) add(e received) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		s.seen, s.streams = map[string]bool{}, map[string][]string{}
	}
	s.total++
	if !s.seen[e.ID] {
		s.seen[e.ID] = true
		s.streams[e.Detail.StreamID] = append(s.streams[e.Detail.StreamID], e.Detail.EventName)
	}
}

func (s *deliveries) events() (distinct, total int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.seen), s.total
}

// check waits for all events of sessions, whose histories these are, and fails t where
// others came, or in another order.
func (s *deliveries) check(t *testing.T, histories map[string][]string) {
	t.Helper()
	wait(t, "every event to arrive", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for id, names := range histories {
			if len(s.streams[id]) < len(names) {
				return false
			}
		}
		return true
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, want := range histories {
		if !slices.Equal(s.streams[id], want) {
			t.Errorf("the receiver got %q of %s, whose history is %q", s.streams[id], id, want)
		}
	}
}

// webhook is a real receiver of events, which now and then fails.
func (s *deliveries) webhook(t *testing.T) (url string) {
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var e received
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil || rand.N(20) == 0 {
			w.WriteHeader(http.StatusInternalServerError) // err: the server was killed as it wrote
			return
		}
		s.add(e)
	}))
	t.Cleanup(receiver.Close)
	return receiver.URL
}

// A victim is a server that is killed and started again, over and over, on the
// same data.
type victim struct {
	data  string
	flags []string
	rtmp  atomic.Pointer[string] // where it takes broadcasts now
}

// live starts the server, lets it be for a while, ready or not, and kills it.
func (v *victim) live(t *testing.T, span time.Duration) {
	log := &logstest.Buffer{}
	process := millrace(append([]string{"serve", "--data", v.data, "--http", "127.0.0.1:0", "--rtmp", "127.0.0.1:0", "--rtmps", "127.0.0.1:0",
		"--access-key-id", testKey, "--secret-access-key", testSecret}, v.flags...)...)
	process.Stdout, process.Stderr = log, log
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.NewTimer(span)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for killed := false; !killed; {
		select {
		case <-kill.C:
			killed = true
		case <-tick.C:
			if m := readyLine.FindStringSubmatch(log.Line("millrace is ready")); m != nil {
				v.rtmp.Store(&m[2])
			}
		}
	}
	process.Process.Kill()
	if err := process.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("the server ended by itself: %v\n%s", err, log)
	}
}

// broadcasts publishes to a channel until ctx is done: it connects again when
// it was cut off, and ends its stream cleanly now and then.
func (v *victim) broadcasts(ctx context.Context, clip *clip, key string) {
	for ctx.Err() == nil {
		round, cancel := context.WithTimeout(ctx, time.Duration(300+rand.N(1500))*time.Millisecond)
		if err := publishTo(round, rtmpURL(*v.rtmp.Load(), key), &paced{source: clip.loop()}, nil); err != nil {
			<-time.After(20 * time.Millisecond) // the server is down
		}
		cancel()
	}
}

// A server that is killed fifty times at random moments, while encoders come
// and go, has in the end closed every session, delivered every event at least once
// and each stream's in order, and invented none.
func TestKillFiftyTimes(t *testing.T) {
	const kills, encoders = 50, 4
	clip, err := recordTestPattern(t.Context(), testPattern{Size: "160x90", FPS: 30, Bitrate: 100})
	if err != nil {
		t.Fatal(err)
	}
	var hook deliveries
	file := filepath.Join(t.TempDir(), "events.jsonl")
	flags := []string{"--event-target", "hook=" + hook.webhook(t), "--event-target", "file=file:" + file, "--event-webhook-private"}
	began := time.Now()
	s := startServer(t, "", flags...)
	start := time.Since(began)
	channels, keys := make([]string, encoders), make([]string, encoders)
	for i := range channels {
		c, key := s.channel(awsivs.CreateChannelInput{Name: aws.String(fmt.Sprintf("c%d", i)), InsecureIngest: true})
		channels[i], keys[i] = *c.Arn, key
	}
	s.kill()

	v := &victim{data: s.data, flags: flags}
	v.rtmp.Store(&s.rtmp)
	ctx, leave := context.WithCancel(t.Context())
	var crowd sync.WaitGroup
	for _, key := range keys {
		crowd.Go(func() { v.broadcasts(ctx, clip, key) })
	}
	for range kills {
		v.live(t, 30*time.Millisecond+rand.N(start+800*time.Millisecond)) // some before they are ready
	}
	s = startServer(t, s.data, flags...)
	v.rtmp.Store(&s.rtmp)
	leave()
	crowd.Wait()

	histories := map[string][]string{}
	events := 0
	for _, arn := range channels {
		for id, names := range s.histories(arn) {
			histories[id] = names
			events += len(names)
		}
	}
	wait(t, "every event to arrive", func() bool {
		fromHook, _ := hook.events()
		return fromHook >= events && countLines(t, file) >= events
	})
	s.stop()
	onFile := readDeliveries(t, file)
	_, viaHook := hook.events()
	t.Logf("%d sessions, %d events; the webhook got %d, the file %d", len(histories), events, viaHook, onFile.total)
	if len(histories) < kills/2 { // some lives are too short
		t.Errorf("only %d sessions in %d lives of the server", len(histories), kills)
	}
	for name, got := range map[string]*deliveries{"the webhook": &hook, "the file": onFile} {
		for id, want := range histories {
			if !slices.Equal(got.streams[id], want) {
				t.Errorf("%s got %q of %s, whose history is %q", name, got.streams[id], id, want)
			}
		}
		for id, names := range got.streams {
			if histories[id] == nil {
				t.Errorf("%s got %q of %s, which has no history", name, names, id)
			}
		}
	}
}

// whole matches the changes of state of a session that is complete.
var whole = regexp.MustCompile(`^Session Created( Stream Start)? Session Ended( Stream End)?$`)

// histories are the events of every session of a channel, oldest first. Every
// session must have ended, with the events that it must have.
func (s *server) histories(arn string) map[string][]string {
	s.t.Helper()
	all := map[string][]string{}
	pages := awsivs.NewListStreamSessionsPaginator(s.ivs(), &awsivs.ListStreamSessionsInput{ChannelArn: &arn, MaxResults: aws.Int32(50)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(s.t.Context())
		if err != nil {
			s.t.Fatal(err)
		}
		for _, summary := range page.StreamSessions {
			session := s.ended(&arn, summary.StreamId)
			var names, states []string
			for _, e := range slices.Backward(newestFirst(session)) {
				names = append(names, *e.Name)
				if *e.Type == "IVS Stream State Change" {
					states = append(states, *e.Name)
				}
			}
			all[*summary.StreamId] = names
			if m := whole.FindStringSubmatch(strings.Join(states, " ")); m == nil || (m[1] == "") != (m[2] == "") || (m[1] == "") != (session.StartTime == nil) {
				s.t.Errorf("session %s, started %v, has the events %q", *summary.StreamId, session.StartTime, names)
			}
		}
	}
	return all
}

func countLines(t *testing.T, path string) int {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Count(content, []byte("\n"))
}

// readDeliveries reads a file of JSON lines.
func readDeliveries(t *testing.T, path string) *deliveries {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := &deliveries{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var e received
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Errorf("line %q: %v", lines.Text(), err)
			continue
		}
		s.add(e)
	}
	return s
}
