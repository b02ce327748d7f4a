package main

import (
	"bytes"
	"fmt"
	"image/jpeg"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
	"github.com/aws/aws-sdk-go-v2/service/ivs/types"
)

// The latest thumbnail of a broadcast can be had, as often and as large as
// the channel's recording configuration asks for, and the console shows it.
func TestThumbnails(t *testing.T) {
	s := startServer(t, "", withLadder...)
	if err := os.MkdirAll(filepath.Join(s.data, "buckets", "thumbnails"), 0o700); err != nil {
		t.Fatal(err)
	}
	recording, err := s.ivs().CreateRecordingConfiguration(t.Context(), &awsivs.CreateRecordingConfigurationInput{
		DestinationConfiguration: &types.DestinationConfiguration{S3: &types.S3DestinationConfiguration{BucketName: aws.String("thumbnails")}},
		ThumbnailConfiguration:   &types.ThumbnailConfiguration{RecordingMode: types.RecordingModeInterval, TargetIntervalSeconds: aws.Int64(1), Resolution: types.ThumbnailConfigurationResolutionLowestResolution},
	})
	if err != nil {
		t.Fatal(err)
	}
	arn := recording.RecordingConfiguration.Arn
	wait(t, "the recording configuration", func() bool {
		out, err := s.ivs().GetRecordingConfiguration(t.Context(), &awsivs.GetRecordingConfigurationInput{Arn: arn})
		return err == nil && out.RecordingConfiguration.State == types.RecordingConfigurationStateActive
	})
	channel, key := s.channel(awsivs.CreateChannelInput{Name: aws.String("with-a-thumbnail"), InsecureIngest: true, RecordingConfigurationArn: arn})
	path := "/_millrace/channels/" + (*channel.Arn)[strings.LastIndexByte(*channel.Arn, '/')+1:] + "/thumbnail"
	if answer := s.call("GET", path); answer.StatusCode != http.StatusNoContent {
		t.Errorf("a channel that is not live answers %s", answer.Status)
	}
	if status, _, _ := get(t, s.api+path); status != http.StatusForbidden {
		t.Errorf("without a signature it is %d", status)
	}
	encoder := publish(t, rtmpURL(s.rtmp, key), slices.Concat(testInputs, testCodecs)...)
	stream := s.live(channel.Arn)

	s.threeImages(path)

	b := openBrowser(t, s.consoleLink(*channel.Arn))
	const canvas = `document.querySelector('#channel-list canvas')`
	b.until(`!!` + canvas + `?.checkVisibility() && ` + canvas + `.width == 284`)
	b.until(`!document.querySelector('#server-notice')?.checkVisibility()`)
	if *screenshots != "" {
		b.until(`document.querySelector('#video').currentTime > 1`)
		b.keep(filepath.Join(*screenshots, "thumbnail.png"))
	}
	// Viewers see it until they play; not those of a private channel.
	b.open(s.watchLink(*channel.PlaybackUrl) + "?autoplay=false")
	b.until(`document.querySelector('#start').checkVisibility() && document.querySelector('#video').poster.endsWith('.jpg')`)
	poster := strings.TrimSuffix(*channel.PlaybackUrl, ".m3u8") + ".jpg"
	status, header, body := get(t, poster)
	if c, err := jpeg.DecodeConfig(bytes.NewReader(body)); status != http.StatusOK || err != nil || c.Height != 160 || header.Get("Content-Type") != "image/jpeg" {
		t.Errorf("the poster: %d %v, %d lines, %v", status, header, c.Height, err)
	}
	b.clean()
	b.open("about:blank")
	encoder.leave()
	s.ended(channel.Arn, stream.StreamId)
	if _, err := s.ivs().UpdateChannel(t.Context(), &awsivs.UpdateChannelInput{Arn: channel.Arn, Authorized: true}); err != nil {
		t.Fatal(err)
	}
	publish(t, rtmpURL(s.rtmp, key), slices.Concat(testInputs, testCodecs)...)
	wait(t, "an image of the private channel", func() bool { return s.call("GET", path).StatusCode == http.StatusOK })
	if status, _, body := get(t, poster); status != http.StatusNoContent || len(body) > 0 {
		t.Errorf("the poster of a private channel is answered with %d and %d bytes", status, len(body))
	}
}

// threeImages waits for three different thumbnails at a path.
func (s *server) threeImages(path string) {
	s.t.Helper()
	seen := map[string]bool{} // different images
	began := time.Now()
	wait(s.t, "three images", func() bool {
		answer := s.call("GET", path)
		if answer.StatusCode != http.StatusOK {
			began = time.Now()
			return false
		}
		b, err := io.ReadAll(answer.Body)
		if err != nil {
			s.t.Fatal(err)
		}
		if c, err := jpeg.DecodeConfig(bytes.NewReader(b)); err != nil || c.Width != 284 || c.Height != 160 || answer.Header.Get("Content-Type") != "image/jpeg" {
			s.t.Fatalf("%s of %dx%d: %v", answer.Header.Get("Content-Type"), c.Width, c.Height, err)
		}
		seen[string(b)] = true
		return len(seen) == 3
	})
	if took := time.Since(began); took > 20*time.Second {
		s.t.Errorf("three images took %v, want one a second", took)
	}
}

// A server that transcodes nothing says so to everyone who opens the console,
// and of a broadcast that it cannot transcode, why.
func TestConsoleSaysWhatIsNotTranscoded(t *testing.T) {
	for _, tt := range []struct {
		flags         []string
		notice, facts string
	}{
		{[]string{"--transcode", "off"}, "This server does not transcode", ""},
		{[]string{"--transcode", "auto", "--transcode-capacity", "0.1"}, "", "Viewers get the source alone: transcode capacity exceeded"},
	} {
		s := startServer(t, "", tt.flags...)
		channel, key := s.channel(awsivs.CreateChannelInput{InsecureIngest: true})
		publish(t, rtmpURL(s.rtmp, key), slices.Concat(testInputs, testCodecs)...)
		s.live(channel.Arn)
		b := openBrowser(t, s.consoleLink(*channel.Arn))
		b.until(`document.querySelector('#verdict').textContent.includes(` + "`" + tt.facts + "`" + `) && document.querySelector('#verdict').textContent != ''`)
		if tt.notice == "" {
			b.until(`!document.querySelector('#server-notice')`)
		} else {
			b.until(fmt.Sprintf(`document.querySelector('#server-notice')?.innerText.startsWith(%q)`, tt.notice))
		}
		if _, _, settings := get(t, s.api+"/console/config.json"); bytes.Contains(settings, []byte("transcode")) {
			t.Errorf("without a signature the server says %s", settings)
		}
		if *screenshots != "" {
			b.keep(filepath.Join(*screenshots, "transcode-"+tt.flags[1]+".png"))
		}
	}
}
