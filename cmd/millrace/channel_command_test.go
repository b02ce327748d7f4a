package main

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Who has no AWS CLI needs none: channels by `millrace channel`, over HTTPS with
// the certificate of the data folder.
func TestChannelCommand(t *testing.T) {
	t.Parallel()
	s := startServer(t, "", "--http", "off", "--https", "127.0.0.1:0")
	run := func(args ...string) *exec.Cmd {
		args = append([]string{"channel"}, args...)
		return millrace(append(args, "--data", s.data, "--public-url", s.api, "--access-key-id", testKey, "--secret-access-key", testSecret)...)
	}
	must := func(out any, args ...string) string {
		t.Helper()
		text, err := run(args...).Output()
		if err != nil {
			failed, _ := err.(*exec.ExitError)
			t.Fatalf("millrace channel %s: %v\n%s", strings.Join(args, " "), err, failed.Stderr)
		}
		if out != nil {
			if err := json.Unmarshal(text, out); err != nil {
				t.Fatalf("millrace channel %s: %v\n%s", strings.Join(args, " "), err, text)
			}
		}
		return string(text)
	}
	env := output(t, []string{runMain + "=1"}, millrace().Path, "env", "--data", s.data, "--access-key-id", testKey, "--secret-access-key", testSecret)
	if !strings.Contains(env, s.api+"/console/#sign-in=") {
		t.Errorf("env prints no link to the console:\n%s", env)
	}
	var made channelView
	must(&made, "create", "first", "--type", "BASIC", "--insecure-ingest", "--json")
	if made.Name != "first" || made.Type != "BASIC" || made.LatencyMode != "LOW" || made.StreamKey == "" || made.Ingest != "rtmp://"+s.rtmp+"/app" ||
		!strings.HasPrefix(made.PlaybackURL, s.api+"/api/video/v1/") || made.WatchURL != s.api+"/watch/"+strings.TrimSuffix(filepath.Base(made.PlaybackURL), ".m3u8") {
		t.Errorf("create printed %+v", made)
	}
	people := must(nil, "create", "second", "--private")
	for _, want := range []string{"second", "rtmps://" + s.rtmps + "/app", "Stream key", "private"} {
		if !strings.Contains(people, want) {
			t.Errorf("create does not print %q:\n%s", want, people)
		}
	}
	var listed []listedChannel
	must(&listed, "list", "--json")
	if len(listed) != 2 || listed[0].ARN != made.ARN || listed[0].Live || !listed[1].Private {
		t.Errorf("list printed %+v", listed)
	}
	if table := must(nil, "list"); !strings.Contains(table, "NAME") || strings.Count(table, "\n") != 3 {
		t.Errorf("list printed\n%s", table)
	}

	publish(t, rtmpURL(s.rtmp, strings.TrimSpace(must(nil, "key", "first"))), append(append([]string{}, testInputs...), testCodecs...)...)
	var shown channelView
	wait(t, "the channel to be live", func() bool {
		shown = channelView{}
		must(&shown, "show", "first", "--json")
		return shown.Stream != nil
	})
	if shown.StreamKey != "" || shown.Stream.StreamID == "" || shown.Stream.StartTime.IsZero() {
		t.Errorf("show printed %+v", shown)
	}
	rotated := strings.TrimSpace(must(nil, "key", made.ARN, "--rotate"))
	if rotated == made.StreamKey || !strings.HasPrefix(rotated, "sk_") {
		t.Errorf("the new stream key is %s, the old one %s", rotated, made.StreamKey)
	}
	fails := func(says string, args ...string) {
		t.Helper()
		if out, err := run(args...).CombinedOutput(); err == nil || !strings.Contains(string(out), says) {
			t.Errorf("millrace channel %s: %v, want %q in\n%s", strings.Join(args, " "), err, says, out)
		}
	}
	fails("--stop", "delete", "first") // it is live
	must(nil, "delete", "first", "--stop")
	fails(`no channel is named "first"`, "show", "first")
	fails("ValidationException", "create", "not a name")
	must(nil, "create", "second")
	fails("several channels", "key", "second")
	plain := startServer(t, "", "--rtmps", "off")
	create := millrace("channel", "create", "secure", "--data", plain.data, "--access-key-id", testKey, "--secret-access-key", testSecret)
	if out, err := create.CombinedOutput(); err != nil || !strings.Contains(string(out), nowhere) {
		t.Errorf("for a channel that needs RTMPS, a server without it prints, %v:\n%s", err, out)
	}
	if out, err := millrace("channel", "list", "--http", "127.0.0.1:1", "--access-key-id", testKey, "--secret-access-key", testSecret).CombinedOutput(); err == nil || !strings.Contains(string(out), "no server answers") {
		t.Errorf("without a server: %v\n%s", err, out)
	}
}
