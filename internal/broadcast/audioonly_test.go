package broadcast_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/broadcast"
	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/media/mediatest"
)

// Audio whose first frame comes so late that it is unknown where the source was
// cut since the rendition was added removes the audio-only rendition, once. The
// source is not affected.
func TestAudioOnlyTooLate(t *testing.T) {
	var log bytes.Buffer
	stream := &hls.Stream{LowLatency: true}
	b := broadcast.New(stream, nil)
	b.Log = slog.New(slog.NewTextHandler(&log, nil))
	defer stream.Release()
	// A viewer who does not wait for the rendition to play asks for it.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	write := func(from, to time.Duration, audio bool) {
		t.Helper()
		for turn := time.Duration(0); turn < to; turn += time.Minute {
			for _, a := range arrivals(t, mediatest.Ordered) {
				at := turn + a.at
				if at < from || at >= to || !audio && !a.frame.Track.IsVideo() {
					continue
				}
				f := a.frame
				f.DTS, f.PTS = f.DTS+turn, f.PTS+turn
				if err := b.WriteFrame(f, nil, noon.Add(at)); err != nil {
					t.Fatalf("frame at %v: %v", at, err)
				}
			}
		}
	}
	playlist := func() string { return string(stream.Select("", hls.Selection{AudioOnly: true})) }
	listed := func() bool { return strings.Contains(playlist(), broadcast.AudioOnlyName) }

	write(0, 6*time.Second, false)
	b.AddAudioOnly(ctx)
	write(6*time.Second, 120*time.Second, false)
	write(120*time.Second, 125*time.Second, true)
	if listed() {
		t.Errorf("a rendition that is too far behind is listed:\n%s", playlist())
	}
	if n := strings.Count(log.String(), "level=ERROR"); n != 1 {
		t.Errorf("%d errors are logged, want 1:\n%.2000s", n, log.String())
	}
	b.AddAudioOnly(ctx)
	write(125*time.Second, 135*time.Second, true)
	if listed() {
		t.Error("the rendition came again")
	}
	b.CloseSource()
	b.Close()
}
