package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// A user's first ten minutes: the lines of the README, with the unmodified AWS
// CLI.
func TestAWSCLI(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	env := exports(t, output(t, []string{runMain + "=1"}, millrace().Path, "env", "--data", s.data, "--http", strings.TrimPrefix(s.api, "http://"),
		"--access-key-id", testKey, "--secret-access-key", testSecret))
	env = append(env, "AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null", "AWS_EC2_METADATA_DISABLED=true")
	// CLIs older than 2.13 do not know AWS_ENDPOINT_URL_IVS.
	aws := func(out any, args ...string) {
		t.Helper()
		args = append([]string{"--endpoint-url", s.api, "--output", "json"}, args...)
		if text := output(t, env, "aws", args...); out != nil {
			if err := json.Unmarshal([]byte(text), out); err != nil {
				t.Fatalf("aws %s: %v\n%s", strings.Join(args, " "), err, text)
			}
		}
	}

	var created struct {
		Channel   struct{ Arn, Name, PlaybackUrl, IngestEndpoint string }
		StreamKey struct{ Value string }
	}
	aws(&created, "ivs", "create-channel", "--name", "cli", "--insecure-ingest")
	arn := created.Channel.Arn
	var got struct{ Channel struct{ Name string } }
	aws(&got, "ivs", "get-channel", "--arn", arn)
	var list struct{ Channels []struct{ Arn string } }
	aws(&list, "ivs", "list-channels")
	if got.Channel.Name != "cli" || len(list.Channels) != 1 || list.Channels[0].Arn != arn {
		t.Errorf("get-channel: %+v, list-channels: %+v", got, list)
	}

	publish(t, rtmpURL(s.rtmp, created.StreamKey.Value), slices.Concat(testInputs, testCodecs)...)
	s.live(&arn)
	var stream struct {
		Stream struct{ StreamId, State, PlaybackUrl string }
	}
	aws(&stream, "ivs", "get-stream", "--channel-arn", arn)
	var streams struct{ Streams []struct{ StreamId string } }
	aws(&streams, "ivs", "list-streams")
	if stream.Stream.State != "LIVE" || stream.Stream.PlaybackUrl != created.Channel.PlaybackUrl || len(streams.Streams) != 1 {
		t.Errorf("get-stream: %+v, list-streams: %+v", stream, streams)
	}
	aws(nil, "ivs", "stop-stream", "--channel-arn", arn)
	var sessions struct {
		StreamSessions []struct{ StreamId, EndTime string }
	}
	aws(&sessions, "ivs", "list-stream-sessions", "--channel-arn", arn)
	var session struct {
		StreamSession struct {
			EndTime             string
			TruncatedEvents     []struct{ Name string }
			IngestConfiguration struct{ Video struct{ Codec string } }
		}
	}
	aws(&session, "ivs", "get-stream-session", "--channel-arn", arn, "--stream-id", stream.Stream.StreamId)
	if len(sessions.StreamSessions) == 0 || session.StreamSession.EndTime == "" || len(session.StreamSession.TruncatedEvents) < 4 || !strings.HasPrefix(session.StreamSession.IngestConfiguration.Video.Codec, "avc1.") {
		t.Errorf("list-stream-sessions: %+v, get-stream-session: %+v", sessions, session)
	}

	var identity struct{ Account, Arn string }
	aws(&identity, "sts", "get-caller-identity")
	if identity.Account != "000000000000" {
		t.Errorf("get-caller-identity: %+v", identity)
	}
}

// The AWS CLI shows in words where it is when it was pointed at Millrace for
// another service, whatever protocol that speaks.
func TestAWSCLIOfOtherServices(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	for _, args := range [][]string{{"ivschat", "list-rooms"}, {"ivs-realtime", "list-stages"}, {"s3api", "list-buckets"}, {"sns", "list-topics"}, {"dynamodb", "list-tables"}} {
		command := exec.Command("aws", append([]string{"--endpoint-url", s.api}, args...)...)
		command.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID="+testKey, "AWS_SECRET_ACCESS_KEY="+testSecret, "AWS_DEFAULT_REGION=us-west-2",
			"AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null")
		text, err := command.CombinedOutput()
		if strings.Contains(string(text), "Invalid choice") { // Debian 12 has no ivs-realtime yet
			continue
		}
		if err == nil || !strings.Contains(string(text), "this is Millrace") {
			t.Errorf("aws %s: %v\n%s", strings.Join(args, " "), err, text)
		}
	}
}

// exports reads the output of `millrace env` as eval would.
func exports(t *testing.T, text string) (env []string) {
	t.Helper()
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "export "); ok {
			env = append(env, strings.ReplaceAll(v, "'", ""))
		}
	}
	if len(env) < 4 {
		t.Fatalf("millrace env printed:\n%s", text)
	}
	return env
}
