package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
	"github.com/aws/aws-sdk-go-v2/service/ivs/types"
)

// A transcode failure on demand kills ffmpeg. When it is over the renditions go
// on; when it lasts, the source is shown alone and a Stream Failure says so.
func TestTranscodeFailureOnDemand(t *testing.T) {
	file := filepath.Join(t.TempDir(), "events.jsonl")
	s := startServer(t, "", "--transcode", "auto", "--transcode-capacity", "10", "--faults", "--event-target", "file=file:"+file)
	channel, key := s.channel(awsivs.CreateChannelInput{InsecureIngest: true})
	publish(t, rtmpURL(s.rtmp, key), slices.Concat(testInputs, testCodecs)...)
	stream := s.live(channel.Arn)
	fault := func(duration string) (status int, says string) {
		var out struct{ Message string }
		status = s.ask("POST", "/_millrace/faults", `{"channelArn":"`+*channel.Arn+`","fault":"transcode-failure","duration":"`+duration+`"}`, &out)
		return status, out.Message
	}
	var rungs map[string]string
	wait(t, "the ladder", func() bool {
		rungs = renditions(t, *channel.PlaybackUrl)
		return len(rungs) == 2 && len(completeSegments(t, rungs["360p30"])) > 0
	})

	pid := ffmpegOf(t, s)
	if status, says := fault("3s"); status != 200 {
		t.Fatalf("the fault is answered %d %s", status, says)
	}
	wait(t, "the end of ffmpeg", func() bool { return gone(pid) })
	wait(t, "renditions that continue", func() bool {
		_, _, body := get(t, rungs["360p30"])
		_, after, interrupted := strings.Cut(string(body), "#EXT-X-DISCONTINUITY\n")
		return interrupted && strings.Contains(after, "#EXTINF")
	})
	if line := s.log.Line("FAULT ON DEMAND"); !strings.Contains(line, "transcode-failure") {
		t.Errorf("the log marks the fault with %q", line)
	}

	if status, says := fault("1m"); status != 200 {
		t.Fatalf("the second fault is answered %d %s", status, says)
	}
	s.waitLog("NOT TRANSCODED")
	checkSourceAlone(t, s, channel, *stream.StreamId)
	sessions := sessionsOf(t, s, channel)
	if len(sessions) != 1 || !sessions[0].HasErrorEvent {
		t.Errorf("sessions %+v, want one with an error", sessions)
	}
	b := openBrowser(t, s.consoleLink(*channel.Arn)) // what viewers still have is well, and the session is not
	b.until(`document.querySelector('#health').dataset.health == 'HEALTHY' && document.querySelector('#verdict').dataset.tone == 'bad'`)
	b.until(`(failure => failure && failure.dataset.kind == 'error')(document.querySelector('#events [data-name="Stream Failure"]'))`)
	if status, says := fault("1s"); status != 400 || !strings.Contains(says, "its source is shown alone") {
		t.Errorf("a fault of what has failed already is answered %d %s", status, says)
	}
	checkStreamFailure(t, file, channel, stream)
}

// checkStreamFailure finds the event in a target's file, shaped as AWS has it.
func checkStreamFailure(t *testing.T, file string, channel types.Channel, stream types.Stream) {
	t.Helper()
	line := ""
	wait(t, "the event at its target", func() bool {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		line = regexp.MustCompile(`.*"Stream Failure".*`).FindString(string(content))
		return line != ""
	})
	var e struct {
		DetailType string `json:"detail-type"`
		Resources  []string
		Detail     json.RawMessage
	}
	if err := json.Unmarshal([]byte(line), &e); err != nil {
		t.Fatal(err)
	}
	detail := `{"event_name":"Stream Failure","channel_name":"","stream_id":"` + *stream.StreamId + `","reason":"Transcoding failed. Please try again."}`
	if e.DetailType != "IVS Stream State Change" || len(e.Resources) != 1 || e.Resources[0] != *channel.Arn || string(e.Detail) != detail {
		t.Errorf("the event is %s, want the detail %s", line, detail)
	}
}
