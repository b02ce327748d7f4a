package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
	"github.com/aws/aws-sdk-go-v2/service/ivs/types"
)

// ask sends a signed request for something that AWS does not have.
func (s *server) ask(method, path, body string, out any) (status int) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.api+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	hash := sha256.Sum256([]byte(body))
	err = v4.NewSigner().SignHTTP(s.t.Context(), aws.Credentials{AccessKeyID: testKey, SecretAccessKey: testSecret}, req, hex.EncodeToString(hash[:]), "ivs", "us-west-2", time.Now())
	if err != nil {
		s.t.Fatal(err)
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	checkAgainstOpenAPI(s.t, req, r, b)
	if out != nil {
		if err := json.NewDecoder(bytes.NewReader(b)).Decode(out); err != nil {
			s.t.Fatalf("%s %s = %d %s: %v", method, path, r.StatusCode, b, err)
		}
	}
	return r.StatusCode
}

// An operator asks why a broadcast is bad: a fault makes it starve, ListStreams,
// the health, the figures and the events say so, and that it is over.
func TestWhyIsItBad(t *testing.T) {
	t.Parallel()
	s := startServer(t, "", "--faults", "--metrics-per-channel")
	channel, key := s.channel(awsivs.CreateChannelInput{Name: aws.String("bad"), InsecureIngest: true})
	e := publish(t, rtmpURL(s.rtmp, key), slices.Concat(testInputs, testCodecs)...)
	stream := s.live(channel.Arn)
	withHealth := func(h types.StreamHealth) bool {
		out, err := s.ivs().ListStreams(t.Context(), &awsivs.ListStreamsInput{FilterBy: &types.StreamFilters{Health: h}})
		return err == nil && len(out.Streams) == 1
	}
	wait(t, "HEALTHY", func() bool { return withHealth(types.StreamHealthStreamHealthy) })

	fault := `{"channelArn":"` + *channel.Arn + `","fault":"starvation","duration":"6s"}`
	if status := s.ask("POST", "/_millrace/faults", fault, nil); status != 200 {
		t.Fatalf("the fault is answered %d", status)
	}
	wait(t, "STARVING", func() bool { return withHealth(types.StreamHealthStarving) })
	path := "/_millrace/channels/" + strings.ReplaceAll(strings.ReplaceAll(*channel.Arn, ":", "%3A"), "/", "%2F")
	var health struct {
		State, Health, Sentence string
		Announced, Measured     struct{ VideoBitrate, Framerate float64 }
	}
	if status := s.ask("GET", path+"/health", "", &health); status != 200 || health.Health != "STARVING" || health.Announced.Framerate != 30 || health.Sentence == "" {
		t.Errorf("health: %d %+v", status, health)
	}
	t.Logf("announced %.0f, delivers %.0f: %s", health.Announced.VideoBitrate, health.Measured.VideoBitrate, health.Sentence)
	wait(t, "HEALTHY again", func() bool { return withHealth(types.StreamHealthStreamHealthy) })

	var figures struct {
		StreamID string
		Period   int
		Metrics  map[string][][2]float64
	}
	if status := s.ask("GET", path+"/metrics?period=1", "", &figures); status != 200 || figures.StreamID != *stream.StreamId {
		t.Errorf("metrics: %d, stream %s", status, figures.StreamID)
	}
	still, moving := 0, 0
	for _, v := range figures.Metrics["IngestFramerate"] {
		if v[1] == 0 {
			still++
		} else {
			moving++
		}
	}
	if still < 4 || moving < 5 {
		t.Errorf("%d seconds without and %d with frames", still, moving)
	}
	if status, _, _ := get(t, s.api+path+"/metrics"); status != 403 {
		t.Errorf("unsigned: %d", status)
	}
	s.checkPrometheus(*channel.Arn)
	e.leave()
	var events []string
	for _, ev := range newestFirst(s.ended(channel.Arn, stream.StreamId)) {
		events = append(events, *ev.Name)
	}
	slices.Reverse(events)
	// A busy machine may have starved it more than once.
	story := regexp.MustCompile(`^Session Created, Stream Start, (Starvation Start, Starvation End, )+Session Ended, Stream End$`)
	if !story.MatchString(strings.Join(events, ", ")) {
		t.Errorf("events %q", events)
	}
	s.stop() // a crash may lose a minute
	s = startServer(t, s.data)
	figures.Metrics = nil
	if s.ask("GET", path+"/metrics?period=1", "", &figures); len(figures.Metrics["IngestFramerate"]) < still+moving {
		t.Errorf("%d seconds are left of %d", len(figures.Metrics["IngestFramerate"]), still+moving)
	}
	if status := s.ask("POST", "/_millrace/faults", fault, nil); status != 403 {
		t.Errorf("a fault without --faults is answered %d", status)
	}
}

// checkPrometheus reads the metrics of the only stream, which is healthy.
func (s *server) checkPrometheus(channelARN string) {
	s.t.Helper()
	_, _, body := get(s.t, s.api+"/metrics")
	if !bytes.Contains(body, []byte(`millrace_streams{health="HEALTHY"} 1`)) {
		s.t.Errorf("Prometheus reads\n%s", body)
	}
	for name, least := range map[string]float64{
		"viewers": 0, "dropped_frames_total": 0, "ingest_video_bits_per_second": 50e3, "ingest_audio_bits_per_second": 10e3,
		"ingest_frames_per_second": 5, "ingest_keyframe_interval_seconds": 0.5, "parts_total": 20, "part_bytes_total": 1e5, "segments_total": 4, "segment_bytes_total": 1e5,
	} {
		line := regexp.MustCompile(`(?m)^millrace_channel_` + name + `{channel="` + channelARN + `"} (.*)$`).FindSubmatch(body)
		if line == nil {
			s.t.Errorf("Prometheus reads no %s of the channel:\n%s", name, body)
		} else if v, err := strconv.ParseFloat(string(line[1]), 64); err != nil || v < least {
			s.t.Errorf("%s is %s, want at least %v", name, line[1], least)
		}
	}
}

// Real encoders take over from each other, and ffmpeg plays through it.
func TestTakeover(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	channel, key := s.channel(awsivs.CreateChannelInput{InsecureIngest: true})
	first := publish(t, rtmpURL(s.rtmp, key), slices.Concat(testInputs, testCodecs)...)
	stream := s.live(channel.Arn)
	waitPlayable(t, *channel.PlaybackUrl)
	second := publish(t, rtmpURL(s.rtmp, key)+"?priority=1", slices.Concat(testInputs, testCodecs)...)
	first.wait()
	if !strings.Contains(first.stderr.String(), "taken over") {
		t.Logf("the first encoder printed:\n%s", first.stderr)
	}
	s.waitLog("stream taken over")
	if now := s.live(channel.Arn); *now.StreamId != *stream.StreamId {
		t.Error("the takeover made a new stream")
	}
	checkPlayable(t, *channel.PlaybackUrl, true)
	_, _, media := playlists(t, *channel.PlaybackUrl)
	if strings.Contains(media, "#EXT-X-DISCONTINUITY\n") {
		t.Errorf("the takeover shows:\n%s", media)
	}
	second.leave()
	events := stateChanges(s.ended(channel.Arn, stream.StreamId))
	if want := []string{"Stream End", "Session Ended", "Stream Takeover", "Stream Start", "Session Created"}; !slices.Equal(events, want) {
		t.Errorf("events %q", events)
	}
}

// One viewer is one however much it asks for, and who only asks where the stream
// is does not count.
func TestViewerCount(t *testing.T) {
	t.Parallel()
	s := startServer(t, "", "--max-views", "3")
	channel, key := s.channel(awsivs.CreateChannelInput{InsecureIngest: true})
	publish(t, rtmpURL(s.rtmp, key), slices.Concat(testInputs, testCodecs)...)
	s.live(channel.Arn)
	count := func() int64 {
		out, err := s.ivs().GetStream(t.Context(), &awsivs.GetStreamInput{ChannelArn: channel.Arn})
		if err != nil {
			t.Fatal(err)
		}
		return out.Stream.ViewerCount
	}
	for range 50 {
		if status, _, _ := get(t, *channel.PlaybackUrl); status != 200 {
			t.Fatalf("multivariant playlist: %d", status)
		}
	}
	_, mediaURL, _ := playlists(t, *channel.PlaybackUrl)
	for range 5 {
		playlists(t, *channel.PlaybackUrl)
	}
	wait(t, "a viewer", func() bool { fetchNewest(t, mediaURL); return count() > 0 })
	if n := count(); n != 1 {
		t.Errorf("%d viewers: those count that fetched playlists alone", n)
	}
	for range 5 {
		if _, next, _ := playlists(t, *channel.PlaybackUrl); next != "" { // the limit may be reached already
			fetchNewest(t, next)
			mediaURL = next
		}
	}
	wait(t, "the limit", func() bool {
		status, _, body := get(t, *channel.PlaybackUrl)
		return status == 429 && bytes.Contains(body, []byte("error_code"))
	})
	parts := strings.Split(mediaURL, "/")
	for i, p := range parts {
		if len(p) == 32 {
			parts[i] = strings.Repeat("0", 32)
		}
	}
	if status, _, _ := get(t, strings.Join(parts, "/")); status != 404 {
		t.Errorf("a viewer session that was made up is answered %d", status)
	}
	wait(t, "the viewers to be gone", func() bool { return count() == 0 })
}
