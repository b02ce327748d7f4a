package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/goldentest"
)

// call makes a signed call below /_millrace/, whose answer may be a stream.
func (s *server) call(method, path string) *http.Response {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.api+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	nothing := sha256.Sum256(nil)
	credentials := aws.Credentials{AccessKeyID: testKey, SecretAccessKey: testSecret}
	if err := v4.NewSigner().SignHTTP(s.t.Context(), credentials, r, hex.EncodeToString(nothing[:]), "ivs", "us-west-2", time.Now()); err != nil {
		s.t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { answer.Body.Close() })
	if answer.Header.Get("Content-Type") == "application/json" {
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			s.t.Fatal(err)
		}
		checkAgainstOpenAPI(s.t, r, answer, body)
		answer.Body = io.NopCloser(bytes.NewReader(body))
	}
	return answer
}

// A scripted broadcast's events are, byte for byte but for ids and times, what
// EventBridge would deliver; whoever follows them live sees the same.
func TestEventsOfABroadcast(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "events.jsonl")
	s := startServer(t, "", "--event-target", "file=file:"+file)
	live := s.call("GET", "/_millrace/events")
	if live.StatusCode != http.StatusOK {
		t.Fatalf("GET /_millrace/events = %s", live.Status)
	}
	channel, key := s.channel(awsivs.CreateChannelInput{Name: aws.String("show"), InsecureIngest: true})
	clip, err := recordTestPattern(t.Context(), testPattern{Size: "160x90", FPS: 30, Bitrate: 100})
	if err != nil {
		t.Fatal(err)
	}

	// The encoder goes live and leaves; then it is stopped.
	publishUntil := func(end func()) {
		ctx, leave := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			publishTo(ctx, rtmpURL(s.rtmp, key), &paced{source: clip.loop()}, nil) // an error is what StopStream makes
		}()
		stream := s.live(channel.Arn)
		if end != nil {
			end()
		} else {
			leave()
		}
		<-done
		leave()
		s.ended(channel.Arn, stream.StreamId)
	}
	publishUntil(nil)
	publishUntil(func() {
		if _, err := s.ivs().StopStream(t.Context(), &awsivs.StopStreamInput{ChannelArn: channel.Arn}); err != nil {
			t.Error(err)
		}
	})

	const events = 8
	var followed strings.Builder
	for lines := bufio.NewScanner(live.Body); strings.Count(followed.String(), "\n") < events && lines.Scan(); {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			followed.WriteString(data + "\n")
		}
	}
	s.stop()
	filed, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	goldentest.Check(t, "testdata/broadcast_events.jsonl", nameless([]byte(followed.String())))
	// A target is promised the order within each stream.
	if diff := cmp.Diff(byStream(followed.String()), byStream(string(filed))); diff != "" {
		t.Errorf("the file has other events than a follower saw (-follower +file):\n%s", diff)
	}
}

// byStream sorts events by their streams.
func byStream(lines string) []string {
	id := regexp.MustCompile(`"stream_id":"[^"]*"`)
	all := strings.Split(strings.TrimSpace(lines), "\n")
	slices.SortStableFunc(all, func(a, b string) int { return strings.Compare(id.FindString(a), id.FindString(b)) })
	return all
}

// nameless replaces what differs from run to run by numbers in the order of
// appearance; times must be of the last ten minutes.
func nameless(lines []byte) []byte {
	for _, p := range []struct{ pattern, name string }{
		{`[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`, "uuid"},
		{`st-1[0-9A-Za-z]{22}`, "stream"},
		{`:channel/[0-9A-Za-z]{12}`, ":channel/id"},
	} {
		seen := map[string]string{}
		lines = regexp.MustCompile(p.pattern).ReplaceAllFunc(lines, func(b []byte) []byte {
			if seen[string(b)] == "" {
				seen[string(b)] = fmt.Sprintf("%s-%d", p.name, len(seen)+1)
			}
			return []byte(seen[string(b)])
		})
	}
	return regexp.MustCompile(`"time":"([^"]*)"`).ReplaceAllFunc(lines, func(b []byte) []byte {
		at, err := time.Parse(`"time":"2006-01-02T15:04:05Z"`, string(b))
		if age := time.Since(at); err != nil || age < 0 || age > 10*time.Minute {
			return b
		}
		return []byte(`"time":"now"`)
	})
}

// Calls about events are for callers who sign, and of their region.
func TestEventCallsAreSigned(t *testing.T) {
	s := startServer(t, "", "--event-target", "out=stdout")
	for _, path := range []string{"/_millrace/events", "/_millrace/events/targets"} {
		if status, _, body := get(t, s.api+path); status != http.StatusForbidden {
			t.Errorf("GET %s without a signature = %d %s", path, status, body)
		}
	}
	answer := s.call("GET", "/_millrace/events/targets")
	body, err := io.ReadAll(answer.Body)
	if want := `{"targets":[{"name":"out","kind":"stdout","pending":0,"lagSeconds":0,"dead":0,"deadLetters":[]}]}`; err != nil || strings.TrimSpace(string(body)) != want {
		t.Errorf("targets = %s, %v; want %s", body, err, want)
	}
	var refused struct {
		Message string `json:"message"`
	}
	answer = s.call("POST", "/_millrace/events/no-such-id/redeliver")
	if err := json.NewDecoder(answer.Body).Decode(&refused); err != nil || answer.StatusCode != http.StatusNotFound || refused.Message != "Event no-such-id does not exist" {
		t.Errorf("redeliver = %s %+v, %v", answer.Status, refused, err)
	}
	if _, _, metrics := get(t, s.api+"/metrics"); !strings.Contains(string(metrics), `millrace_event_lag_seconds{target="out"} 0`) {
		t.Error("/metrics has no lag of the target")
	}
}

// Settings for targets that cannot work are refused at the start.
func TestWrongEventTargets(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ flags, want string }{
		{"--event-target=nonsense", `event target "nonsense": NAME=PLACE is wanted`},
		{"--event-target=non/sense=stdout", `event target "non/sense": NAME=PLACE is wanted`},
		{"--event-target=a=gopher://x", "event target a: the place must be"},
		{"--event-target=a=stdout --event-target=a=file:x", "two event targets have the name a"},
		{"--event-target=a=http://x --event-webhook-secret=whsec_?", "the webhook secret is not base64"},
	} {
		args := append([]string{"serve", "--data", t.TempDir(), "--http", "127.0.0.1:0", "--rtmp", "127.0.0.1:0", "--rtmps", "127.0.0.1:0"}, strings.Fields(tt.flags)...)
		command := millrace(args...)
		command.Dir = t.TempDir()
		out, err := command.CombinedOutput()
		if err == nil || !strings.Contains(string(out), tt.want) {
			t.Errorf("%s: %v, %s; want %s", tt.flags, err, out, tt.want)
		}
	}
}
