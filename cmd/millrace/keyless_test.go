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
// The renditions that are made of it have a key frame every two seconds.
func TestNoKeyFrames(t *testing.T) {
	t.Parallel() // it mostly waits
	s := startServer(t, "", withLadder...)
	keyless := slices.Concat([]string{"-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=15"}, testInputs[5:], testCodecs, []string{"-x264-params", "intra-refresh=1"})
	basic, key := s.channel(awsivs.CreateChannelInput{InsecureIngest: true, Type: types.ChannelTypeBasicChannelType})
	publish(t, rtmpURL(s.rtmp, key), keyless...)
	standard, key := s.channel(awsivs.CreateChannelInput{InsecureIngest: true})
	publish(t, rtmpURL(s.rtmp, key), keyless...)
	s.live(basic.Arn)
	s.live(standard.Arn)

	var list []segment
	wait(t, "five segments of a rendition", func() bool {
		if rendition := renditions(t, *standard.PlaybackUrl)["160p30"]; rendition != "" {
			list = completeSegments(t, rendition)
		}
		return len(list) >= 5
	})
	dir, frames, keys := t.TempDir(), 0, 0 // frames since the last key frame
	for _, g := range list[len(list)-5:] {
		file := save(t, filepath.Join(dir, "segment"), g)
		packets := output(t, nil, "ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "packet=flags", "-of", "csv=p=0", file)
		for flags := range strings.FieldsSeq(packets) {
			if frames++; strings.HasPrefix(flags, "K") {
				frames, keys = 0, keys+1
			}
			if frames > 31 { // 2 s, and one
				t.Errorf("%s has %d frames after the last key frame", g.uri, frames)
			}
		}
	}
	if keys < 3 {
		t.Errorf("five segments have %d key frames", keys)
	}
	wait(t, "the sentence", func() bool {
		var health struct{ Health, Sentence string }
		status := s.ask("GET", "/_millrace/channels/"+(*basic.Arn)[strings.LastIndexByte(*basic.Arn, '/')+1:]+"/health", "", &health)
		return status == 200 && health.Health == "HEALTHY" && strings.Contains(health.Sentence, "No key frame has come for") &&
			strings.Contains(health.Sentence, "new viewers of the source see nothing")
	})
}
