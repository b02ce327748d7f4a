package main

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"

	"github.com/millrace/millrace/internal/store/storetest"
)

// PostgreSQL that is unreachable for a while cuts no stream.
func TestUnreachableDatabase(t *testing.T) {
	t.Parallel() // it mostly waits
	g, database := startDatabaseGate(t, storetest.Postgres(t))
	s := startServer(t, "", "--database", database)
	testUnreachableDatabase(t, s, 8*time.Second, func() { g.setClosed(true) }, func() { g.setClosed(false) })
}

// A server that gets no answer from its database when it starts says so, and fails.
func TestDatabaseSilentAtStart(t *testing.T) {
	t.Parallel() // it waits
	g, database := startDatabaseGate(t, storetest.Postgres(t))
	g.setSilent(true)
	out, err := millrace("serve", "--data", t.TempDir(), "--http", "127.0.0.1:0", "--rtmp", "127.0.0.1:0", "--rtmps", "127.0.0.1:0", "--database", database).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "the database does not answer") {
		t.Errorf("it ends with %v, and says %q", err, out)
	}
}

// testUnreachableDatabase makes the database unreachable for so long: a stream continues, an
// encoder that leaves meanwhile has left then, and its channel can go live again.
func testUnreachableDatabase(t *testing.T, s *server, away time.Duration, begin, end func()) {
	t.Helper()
	clip, err := recordTestPattern(t.Context(), testPattern{Size: "320x180", FPS: 30, Bitrate: 300})
	if err != nil {
		t.Fatal(err)
	}
	start := func(name string) (arn *string, playback, key string, streamID *string, stop func()) {
		channel, key := s.channel(awsivs.CreateChannelInput{Name: &name, InsecureIngest: true})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- publishTo(ctx, rtmpURL(s.rtmp, key), &paced{source: clip.loop()}, nil) }()
		return channel.Arn, *channel.PlaybackUrl, key, s.live(channel.Arn).StreamId, func() {
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("the encoder of %s: %v", name, err)
			}
		}
	}
	stays, playback, _, stream, stop := start("stays")
	leaves, _, key, left, leave := start("leaves")
	waitPlayable(t, playback)
	viewer := s.watch(t, playback)
	viewer.waitFor(t, 1)

	begin()
	until := time.Now().Add(away)
	wait(t, "/readyz to name the database", func() bool {
		status, body := health(t, s.api+"/readyz")
		return status == http.StatusServiceUnavailable && body.Checks["database"] != "ok"
	})
	if status, body := health(t, s.api+"/healthz"); status != http.StatusOK {
		t.Errorf("/healthz fails by %v", body)
	}
	leave()
	time.Sleep(time.Until(until))
	back := time.Now()
	end()

	session := s.ended(leaves, left)
	if events := stateChanges(session); !slices.Equal(events, []string{"Stream End", "Session Ended", "Stream Start", "Session Created"}) {
		t.Errorf("events %q", events)
	}
	for _, e := range session.TruncatedEvents {
		if *e.Name == "Session Ended" && e.EventTime.After(back) {
			t.Errorf("the encoder left before %v; Session Ended has %v", back, *e.EventTime)
		}
	}
	seen := viewer.segments()
	viewer.waitFor(t, seen+2)
	if now := s.live(stays); *now.StreamId != *stream {
		t.Errorf("stream %s is live, want %s", *now.StreamId, *stream)
	}
	publish(t, rtmpURL(s.rtmp, key), slices.Concat(testInputs, testCodecs)...)
	if again := s.live(leaves); aws.ToString(again.StreamId) == *left {
		t.Error("the new broadcast has the old stream id")
	}
	stop()
	if events := stateChanges(s.ended(stays, stream)); !slices.Equal(events, []string{"Stream End", "Session Ended", "Stream Start", "Session Created"}) {
		t.Errorf("events of the stream that went on: %q", events)
	}
	viewer.check(t)
}
