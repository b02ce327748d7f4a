package main

import (
	"bytes"
	"context"
	"database/sql"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/millrace/millrace/internal/store/storetest"
)

// A backup that is made as docs/operations.md says, while a stream is live, does
// not disturb it. The server that is started with the backup has all that was
// acknowledged, ends the session that was open, and takes encoders with the stream
// keys that it has.
func TestBackup(t *testing.T) {
	for name, tt := range map[string]struct {
		database func(t *testing.T) string           // for --database
		copy     func(t *testing.T, from, to string) // the database; to is another, or the new data folder
	}{
		"SQLite":     {func(*testing.T) string { return "" }, vacuumInto},
		"PostgreSQL": {func(t *testing.T) string { return storetest.Postgres(t) }, dump},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it mostly waits
			testBackup(t, tt.database, tt.copy)
		})
	}
}

func testBackup(t *testing.T, database func(*testing.T) string, backUp func(t *testing.T, from, to string)) {
	from := database(t)
	flags := func(database string) []string {
		if database == "" {
			return nil
		}
		return []string{"--database", database}
	}
	s := startServer(t, "", flags(from)...)
	channel, key := s.channel(awsivs.CreateChannelInput{Name: aws.String("kept"), InsecureIngest: true, Tags: map[string]string{"a": "b"}})
	clip, err := recordTestPattern(t.Context(), testPattern{Size: "320x180", FPS: 30, Bitrate: 300})
	if err != nil {
		t.Fatal(err)
	}
	encode := func(s *server) (stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- publishTo(ctx, rtmpURL(s.rtmp, key), &paced{source: clip.loop()}, nil) }()
		return func() {
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("the encoder: %v", err)
			}
		}
	}
	stop := encode(s)
	stream := s.live(channel.Arn)
	waitPlayable(t, *channel.PlaybackUrl)
	viewer := s.watch(t, *channel.PlaybackUrl)
	viewer.waitFor(t, 1)

	data := filepath.Join(t.TempDir(), "restored")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	to := database(t)
	if to == "" {
		backUp(t, s.data, data)
	} else {
		backUp(t, from, to)
	}
	certificate := copyFile(t, s.data, data, "tls.pem")
	viewer.waitFor(t, viewer.segments()+2)
	if now := s.live(channel.Arn); *now.StreamId != *stream.StreamId {
		t.Error("the stream was cut")
	}
	stop()
	s.ended(channel.Arn, stream.StreamId)
	viewer.check(t)

	restored := startServer(t, data, flags(to)...)
	session := restored.ended(channel.Arn, stream.StreamId)
	if events := stateChanges(session); !slices.Equal(events, []string{"Stream End", "Session Ended", "Stream Start", "Session Created"}) {
		t.Errorf("events of the session that was open: %q", events)
	}
	got, err := restored.ivs().GetChannel(t.Context(), &awsivs.GetChannelInput{Arn: channel.Arn})
	if err != nil {
		t.Fatal(err)
	}
	got.Channel.PlaybackUrl, got.Channel.IngestEndpoint = channel.PlaybackUrl, channel.IngestEndpoint // the server is at other addresses
	if diff := cmp.Diff(channel, *got.Channel, cmpopts.IgnoreUnexported(channel, *channel.Srt, *channel.MultitrackInputConfiguration)); diff != "" {
		t.Errorf("the channel is not as it was: %s", diff)
	}
	if now := copyFile(t, data, t.TempDir(), "tls.pem"); !bytes.Equal(now, certificate) {
		t.Error("the certificate is another one")
	}
	stop = encode(restored)
	if again := restored.live(channel.Arn); *again.StreamId == *stream.StreamId {
		t.Error("the new stream has the id of the old one")
	}
	waitPlayable(t, strings.Replace(*channel.PlaybackUrl, s.api, restored.api, 1))
	stop()
}

// vacuumInto copies the database of a running server.
func vacuumInto(t *testing.T, from, to string) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(from, "millrace.db")+"?_pragma=busy_timeout(60000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "VACUUM INTO ?", filepath.Join(to, "millrace.db")); err != nil {
		t.Fatal(err)
	}
}

// dump copies a database into an empty one.
func dump(t *testing.T, from, to string) {
	saved, err := exec.CommandContext(t.Context(), storetest.Tool(t, "pg_dump"), "--dbname", from).Output()
	if err != nil {
		t.Fatalf("pg_dump: %v", err)
	}
	load := exec.CommandContext(t.Context(), storetest.Tool(t, "psql"), "--quiet", "--set", "ON_ERROR_STOP=1", "--dbname", to)
	load.Stdin = bytes.NewReader(saved)
	if out, err := load.CombinedOutput(); err != nil {
		t.Fatalf("psql: %v\n%s", err, out)
	}
}

func copyFile(t *testing.T, from, to, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(from, name))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(to, name), content, 0o600); err != nil {
		t.Fatal(err)
	}
	return content
}
