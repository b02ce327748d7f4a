package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
	"github.com/aws/aws-sdk-go-v2/service/ivs/types"
)

// Of an encoder that refreshes its frames bit by bit (x264's intra-refresh) and sends
// one key frame, the health sentence says that new viewers of the source see nothing.
// The renditions that are made of it have a key frame every two seconds, and each of
// their segments begins with one.
func TestNoKeyFrames(t *testing.T) {
	s := startServer(t, "", withLadder...)
	keyless := slices.Concat([]string{"-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=15"}, testInputs[5:], testCodecs, []string{"-x264-params", "intra-refresh=1"})
	basic, key := s.channel(awsivs.CreateChannelInput{InsecureIngest: true, Type: types.ChannelTypeBasicChannelType})
	publish(t, rtmpURL(s.rtmp, key), keyless...)
	standard, key := s.channel(awsivs.CreateChannelInput{InsecureIngest: true})
	publish(t, rtmpURL(s.rtmp, key+"?keyframeInterval=2"), keyless...)
	s.live(basic.Arn)
	s.live(standard.Arn)

	const enough = 5
	lists := map[string][]segment{}
	wait(t, "five segments of each rendition", func() bool {
		for name, address := range renditions(t, *standard.PlaybackUrl) {
			lists[name] = completeSegments(t, address)
		}
		return len(lists) == 2 && len(lists["180p30"]) >= enough && len(lists["160p30"]) >= enough
	})
	for name, list := range lists {
		checkKeyFrames(t, name, list[:enough])
	}
	wait(t, "the sentence", func() bool {
		var health struct{ Health, Sentence string }
		status := s.ask("GET", "/_millrace/channels/"+(*basic.Arn)[strings.LastIndexByte(*basic.Arn, '/')+1:]+"/health", "", &health)
		return status == 200 && health.Health == "HEALTHY" && strings.Contains(health.Sentence, "No key frame has come for") &&
			strings.Contains(health.Sentence, "new viewers of the source see nothing")
	})
}

// checkKeyFrames holds that segments of 15 frames a second begin with a key frame, and
// that the next one comes within two seconds.
func checkKeyFrames(t *testing.T, name string, list []segment) {
	t.Helper()
	dir := t.TempDir()
	since := 0 // frames since the last key frame
	for _, g := range list {
		file := save(t, filepath.Join(dir, "segment"), g)
		packets := output(t, nil, "ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "packet=flags", "-of", "csv=p=0", file)
		if !strings.HasPrefix(packets, "K") {
			t.Errorf("%s: %s does not begin with a key frame", name, g.uri)
		}
		for flags := range strings.FieldsSeq(packets) {
			if since++; strings.HasPrefix(flags, "K") {
				since = 0
			}
			if since > 31 { // 2 s, and one
				t.Errorf("%s: %s has %d frames after the last key frame", name, g.uri, since)
			}
		}
	}
}
