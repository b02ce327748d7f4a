package main

import (
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"

	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
)

// A stop ends a broadcast cleanly: the encoder gets a status message, the viewer
// who waits gets the end of the playlist, and the program reports success.
func TestStopInGoodOrder(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	channel, key := s.channel(awsivs.CreateChannelInput{InsecureIngest: true})
	longGroups := append(withoutOption(testCodecs, "-g"), "-g", "300") // so that the second segment is far
	e := publish(t, rtmpURL(s.rtmp, key), slices.Concat(testInputs, longGroups)...)
	s.live(channel.Arn)

	_, _, multivariant := get(t, *channel.PlaybackUrl)
	base, err := url.Parse(*channel.PlaybackUrl)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(string(multivariant))
	media, err := base.Parse(lines[len(lines)-1])
	if err != nil {
		t.Fatal(err)
	}
	answer := make(chan string, 1)
	go func() {
		r, err := http.Get(media.String() + "?_HLS_msn=1")
		if err != nil {
			answer <- err.Error()
			return
		}
		defer r.Body.Close()
		body, _ := io.ReadAll(r.Body) // what has come is shown
		answer <- r.Status + "\n" + string(body)
	}()
	wait(t, "the viewer who waits", func() bool {
		_, _, body := get(t, s.api+"/metrics")
		return metric(t, body, "millrace_playback_requests_in_flight") == 1
	})
	s.process.Process.Signal(syscall.SIGTERM)
	if got := <-answer; !strings.HasPrefix(got, "200 OK") || !strings.HasSuffix(got, "#EXT-X-ENDLIST\n") {
		t.Errorf("the viewer who waits gets %s", got)
	}
	<-s.exited
	if code := s.process.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit status %d", code)
	}
	e.wait()
	if !strings.Contains(e.stderr.String(), "the server ended this stream") {
		t.Errorf("the encoder is told:\n%s", e.stderr)
	}
	for _, want := range []string{`reason="the server is stopping"`, "millrace has stopped"} {
		if s.log.Line(want) == "" {
			t.Errorf("the log does not say %s", want)
		}
	}
}
