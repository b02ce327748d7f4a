//go:build unix

package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"
	"github.com/aws/aws-sdk-go-v2/service/ivs/types"
)

// A recordedChannel is recorded on node 0 and, when that has been killed, on node 1.
type recordedChannel struct {
	channel types.Channel
	leave   context.CancelFunc
	left    chan struct{} // closed when the encoder has left

	mu   sync.Mutex
	sent []*logbook // guarded by mu; of each connection of the encoder
}

// startRecorded publishes to node 0 until that is killed, and then to node 1.
func (c *testCluster) startRecorded(t *testing.T) *recordedChannel {
	t.Helper()
	n := c.nodes[2]
	arn := n.recordingConfiguration(awsivs.CreateRecordingConfigurationInput{RecordingReconnectWindowSeconds: 60,
		ThumbnailConfiguration: &types.ThumbnailConfiguration{RecordingMode: types.RecordingModeDisabled}})
	channel, key := n.channel(awsivs.CreateChannelInput{Name: aws.String("recorded"), InsecureIngest: true, Type: types.ChannelTypeBasicChannelType,
		RecordingConfigurationArn: arn, ContainerFormat: types.ContainerFormatFragmentedMP4})
	ctx, leave := context.WithCancel(t.Context())
	r := &recordedChannel{channel: channel, leave: leave, left: make(chan struct{})}
	t.Cleanup(func() { leave(); <-r.left })
	first, second := c.nodes[0].rtmp, c.nodes[1].rtmp
	go func() {
		defer close(r.left)
		for address := first; ctx.Err() == nil; address = second {
			log := &logbook{source: &paced{source: c.clip.loop()}}
			r.mu.Lock()
			r.sent = append(r.sent, log)
			r.mu.Unlock()
			publishTo(ctx, rtmpURL(address, key), log, nil) // it is cut off
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}()
	n.live(channel.Arn)
	return r
}

// check has the encoder leave. The streams on both nodes are one recording: that of the
// first up to its last frames, and all of the second.
func (r *recordedChannel) check(t *testing.T, buckets string) {
	r.leave()
	<-r.left
	first, last := r.sent[0].stamps, r.sent[len(r.sent)-1].stamps
	var folders []string
	var playlist string
	var frames []int64
	wait(t, "the end of the recording", func() bool {
		var err error
		if folders, err = filepath.Glob(filepath.Join(buckets, "recordings/ivs/v1/*/*/*/*/*/*/*/*")); err != nil || len(folders) == 0 {
			return false
		}
		rendition := filepath.Join(folders[0], "media/hls/90p30")
		text, err := os.ReadFile(filepath.Join(rendition, "playlist.m3u8"))
		if err != nil {
			return false
		}
		playlist, frames = string(text), stampsOf(t, rendition, string(text))
		return len(frames) > 0 && frames[len(frames)-1] >= last[len(last)-2] // the last frame may have been cut off
	})
	if len(folders) != 1 || strings.Count(playlist, "#EXT-X-DISCONTINUITY\n") != 1 {
		t.Errorf("%d recordings, with the playlist\n%s", len(folders), playlist)
	}
	begin, found := slices.BinarySearch(frames, last[0])
	if !found || len(frames)-begin < len(last)-1 {
		t.Errorf("of the second node %d frames are recorded, it was sent %d", len(frames)-begin, len(last))
	}
	if begin < 60 || begin > len(first) || !slices.Equal(frames[:begin], first[:begin]) {
		t.Errorf("of the first node %d frames are recorded, it was sent %d", begin, len(first))
	}
	t.Logf("%d of %d frames of the first node are recorded, and %d of %d of the second", begin, len(first), len(frames)-begin, len(last))
}
