package main

import (
	"fmt"
	"math/bits"
	"slices"
	"testing"
	"time"

	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
	"github.com/aws/aws-sdk-go-v2/service/ivs/types"

	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/media/mediatest"
)

// captionSource puts a line of CEA-608 captions into the frames of each
// second: two bytes in each, padding for the rest of it.
type captionSource struct {
	source
	second time.Duration
	line   [][2]byte // what is left of it
}

func (s *captionSource) ReadFrame() (media.Frame, error) {
	f, err := s.source.ReadFrame()
	if err != nil || !f.Track.IsVideo() {
		return f, err
	}
	if second := f.DTS.Truncate(time.Second); s.line == nil || second != s.second {
		// Roll-up captions of two rows, a new row, its place, and the text.
		s.second = second
		s.line = [][2]byte{{0x14, 0x25}, {0x14, 0x25}, {0x14, 0x2d}, {0x14, 0x2d}, {0x14, 0x70}, {0x14, 0x70}}
		for pair := range slices.Chunk(fmt.Appendf(nil, "MILL RUNS %02d", second/time.Second%100), 2) {
			s.line = append(s.line, [2]byte(pair))
		}
	}
	var pair [2]byte
	if len(s.line) > 0 {
		pair, s.line = s.line[0], s.line[1:]
	}
	for i, b := range pair {
		if bits.OnesCount8(b)%2 == 0 { // odd parity
			pair[i] |= 0x80
		}
	}
	f.Data = slices.Concat(mediatest.Caption(pair), f.Data)
	return f, nil
}

// Captions in the video are announced, and a player shows them: those of the
// source, and those that ffmpeg has put into a rung. There are no parts, because
// hls.js begins to read captions from the start with each.
func TestCaptions(t *testing.T) {
	s := startServer(t, "", withLadder...)
	channel, key := s.channel(awsivs.CreateChannelInput{InsecureIngest: true, LatencyMode: types.ChannelLatencyModeNormalLatency})
	clip, err := recordTestPattern(t.Context(), testPattern{Size: "640x360", FPS: 30, Bitrate: 500})
	if err != nil {
		t.Fatal(err)
	}
	go publishTo(t.Context(), rtmpURL(s.rtmp, key), &captionSource{source: &paced{source: clip.loop()}}, nil) // ends with the test
	s.live(channel.Arn)
	wait(t, "the ladder", func() bool { return len(renditions(t, *channel.PlaybackUrl)) == 2 })

	b := openBrowser(t, switchingServer(t).URL+"/#"+*channel.PlaybackUrl)
	defer b.explain()
	b.until(`window.hls && hls.levels.length == 2 && video.currentTime > 0`)
	b.until(`video.textTracks.length == 1 && video.textTracks[0].kind == 'captions' && video.textTracks[0].label == 'CC1'`)
	b.until(`video.textTracks[0].mode = 'hidden', true`)
	for _, level := range []string{"0", "1"} {
		b.until(`hls.loadLevel = ` + level + `, hls.currentLevel == ` + level)
		b.until(`window.from = video.currentTime, true`)
		b.until(`Array.from(video.textTracks[0].cues || []).some(c => c.startTime > from && c.text.includes('MILL RUNS'))`)
	}
}
