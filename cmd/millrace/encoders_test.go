package main

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
	"github.com/aws/aws-sdk-go-v2/service/ivs/types"

	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/media/mediatest"
	"github.com/millrace/millrace/internal/rtmp"
)

// unitByUnit returns what an encoder sends that puts each NAL unit into a message
// of its own, four slices to a frame, and its parameter sets only in front of key
// frames. Each message is a frame of a track without a configuration.
func unitByUnit(frames []media.Frame, bare *media.Track) (messages []media.Frame) {
	for _, f := range frames {
		if !f.Track.IsVideo() {
			messages = append(messages, f)
			continue
		}
		var units [][]byte
		if f.Key {
			units = slices.Clone(f.Track.Video.Sets)
		}
		for nal := range media.NALs(f.Data) {
			units = append(units, nal)
		}
		for _, nal := range units {
			m := f
			m.Track, m.Data = bare, append(binary.BigEndian.AppendUint32(nil, uint32(len(nal))), nal...)
			messages = append(messages, m)
		}
	}
	return messages
}

// An encoder that sends NAL units one by one, without a sequence header, and changes
// the size of its video in band is shown whole, in both containers: ffmpeg decodes
// every frame of every segment. The session shows the new size.
func TestUnitByUnitAndAnotherSize(t *testing.T) {
	source := func(size string) mediatest.Source {
		return mediatest.Source{Size: size, Seconds: 4, GOP: 30, X264: ":slices=4"}
	}
	bare := &media.Track{Codec: media.H264, Video: &media.VideoConfig{}}
	large := source("640x360").Frames(t)
	small := mediatest.Shift(source("426x240").Frames(t), 4*time.Second)
	messages := unitByUnit(slices.Concat(large, small), bare)
	for _, container := range []types.ContainerFormat{types.ContainerFormatTs, types.ContainerFormatFragmentedMP4} {
		t.Run(string(container), func(t *testing.T) {
			t.Parallel() // it mostly waits
			s := startServer(t, "", "--transcode", "off")
			channel, key := s.channel(awsivs.CreateChannelInput{InsecureIngest: true, ContainerFormat: container})
			client, err := rtmp.Dial(t.Context(), rtmpURL(s.rtmp, key), nil)
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			for _, m := range messages {
				time.Sleep(time.Until(began.Add(m.DTS)))
				if err := client.WriteFrame(m); err != nil {
					t.Fatal(err)
				}
			}
			found := renditions(t, *channel.PlaybackUrl)
			if err := client.Close(); err != nil {
				t.Error(err)
			}
			checkSizes(t, s, channel, found)
		})
	}
}

// checkSizes has each segment decoded, and looks for the two sizes.
func checkSizes(t *testing.T, s *server, channel types.Channel, found map[string]string) {
	t.Helper()
	address := ""
	for _, address = range found {
	}
	wait(t, "the end of the playlist", func() bool {
		_, _, body := get(t, address)
		return strings.Contains(string(body), "#EXT-X-ENDLIST")
	})
	_, _, playlist := get(t, address)
	if n := strings.Count(string(playlist), "#EXT-X-DISCONTINUITY\n"); n != 1 {
		t.Errorf("%d discontinuities:\n%s", n, playlist)
	}
	total, heights := 0, map[string]bool{}
	for _, g := range completeSegments(t, address) {
		ext := "ts"
		var file []byte
		if g.init != "" {
			ext = "mp4"
			_, _, file = get(t, g.init)
		}
		_, _, body := get(t, g.uri)
		file = append(file, body...)
		var seconds float64
		fmt.Sscanf(g.lasts, "%f", &seconds) // it is 0 then
		if n := mediatest.Decode(t, ext, file); math.Abs(float64(n)-30*seconds) > 1.5 {
			t.Errorf("segment %d of %s s has %d frames", g.msn, g.lasts, n)
		} else {
			total += n
		}
		heights[heightOf(t, ext, file)] = true
	}
	if total < 210 || !heights["360"] || !heights["240"] || len(heights) != 2 {
		t.Errorf("%d frames of 240, with the heights %v", total, heights)
	}
	out, err := s.ivs().GetStreamSession(t.Context(), &awsivs.GetStreamSessionInput{ChannelArn: channel.Arn})
	if err != nil {
		t.Fatal(err)
	}
	if v := out.StreamSession.IngestConfiguration.Video; v == nil || v.VideoHeight != 240 || v.VideoWidth != 426 {
		t.Errorf("the session shows %+v", v)
	}
}

// heightOf is the height of the video in a file, as ffprobe sees it.
func heightOf(t *testing.T, ext string, file []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "media."+ext)
	if err := os.WriteFile(name, file, 0o600); err != nil {
		t.Fatal(err)
	}
	out := output(t, nil, "ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "stream=height", "-of", "csv=p=0", name)
	return strings.Trim(strings.TrimSpace(strings.SplitN(out, "\n", 2)[0]), ",")
}
