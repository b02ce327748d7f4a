package main

import (
	"io"
	"strings"
	"testing"
	"time"

	awsivs "github.com/aws/aws-sdk-go-v2/service/ivs"

	"github.com/millrace/millrace/internal/media"
)

// setBack is a broadcast whose clock is set back by 30 s in the middle, and
// which ends when that has been seen.
type setBack struct {
	*clipReader
	frames int
	seen   chan struct{}
}

func (b *setBack) ReadFrame() (media.Frame, error) {
	f, err := b.clipReader.ReadFrame()
	if b.frames++; b.frames > 400 {
		<-b.seen
		return f, io.EOF
	}
	d := time.Hour
	if b.frames > 200 {
		d -= 30 * time.Second
	}
	f.DTS, f.PTS = f.DTS+d, f.PTS+d
	return f, err
}

// What was repaired of an encoder's clock is in the metrics, of the session as
// long as it lives, and in its last line.
func TestRepairsAreShown(t *testing.T) {
	t.Parallel()
	s := startServer(t, "", "--metrics-per-channel")
	channel, key := s.channel(awsivs.CreateChannelInput{InsecureIngest: true})
	pattern, err := recordTestPattern(t.Context(), testPattern{Size: "160x90", FPS: 30, Bitrate: 100})
	if err != nil {
		t.Fatal(err)
	}
	broadcast, seen := make(chan error, 1), make(chan struct{})
	go func() {
		broadcast <- publishTo(t.Context(), rtmpURL(s.rtmp, key), &setBack{clipReader: pattern.loop(), seen: seen}, nil)
	}()
	wait(t, "the repair in the session's metrics", func() bool {
		_, _, body := get(t, s.api+"/metrics")
		return strings.Contains(string(body), `millrace_channel_timestamp_repairs_total{channel="`+*channel.Arn+`",kind="jump_back"} 1`)
	})
	close(seen)
	if err := <-broadcast; err != nil {
		t.Fatal(err)
	}
	if line := s.waitLog("session ended"); !strings.Contains(line, "repairs.jump_back=1 ") || strings.Count(line, "repairs.") != 1 {
		t.Errorf("logged %q, want one jump back and no other repair", line)
	}
	_, _, body := get(t, s.api+"/metrics")
	for kind, want := range map[string]float64{"jump_back": 1, "wrap": 0} {
		if got := metric(t, body, `millrace_timestamp_repairs_total{kind="`+kind+`"}`); got != want {
			t.Errorf("%s = %v in /metrics, want %v", kind, got, want)
		}
	}
}
