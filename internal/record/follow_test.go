package record

import (
	"log/slog"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/media/mediatest"
	"github.com/millrace/millrace/internal/segment"
)

// Finished segments that are gone with their rendition before they are read count
// as lost, whether or not the track has some of the stream.
func TestRemovedRendition(t *testing.T) {
	const length = 12 * time.Second
	frames := mediatest.Repeat(mediatest.Source{Seconds: 4}.Frames(t), 4*time.Second, 3)
	for _, read := range []time.Duration{0, 2 * time.Second} {
		stream := &hls.Stream{Window: time.Hour, MaxBytes: 1 << 30, TargetDuration: 2 * time.Second}
		defer stream.Release()
		leader := segment.NewLeader(stream.AddRendition("source", hls.Listing{}))
		leader.SetEpoch(testStart)
		rung := stream.AddRendition("rung", hls.Listing{})
		transcoded := segment.NewFollower(rung, leader, false)
		must := func(errs ...error) {
			t.Helper()
			for _, err := range errs {
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, frame := range frames {
			must(leader.WriteFrame(frame), transcoded.WriteFrame(frame))
		}
		must(leader.Close())
		f := &follower{recording: &recording{log: slog.New(slog.NewTextHandler(t.Output(), nil)), wake: make(chan struct{}, 1)}, variants: map[*hls.Rendition]variant{},
			source: &source{Stream: Stream{StreamID: "st-1", Media: stream}}}
		whole, removed := newTestTrack(t), newTestTrack(t)
		f.writers = []*writer{whole.writer, removed.writer}
		must(f.copy(t.Context(), leader.Rendition(), whole.writer))
		if read > 0 {
			g, _, err := rung.Follow(0).Next(t.Context())
			must(err, f.add(removed.writer, g, true))
			g.Close()
		}
		rung.Remove()
		must(f.copy(t.Context(), rung, removed.writer), whole.writer.close(), removed.writer.close())
		f.recording.tracks = []*track{whole, removed}
		f.recording.noteEnd(f.end())
		f.recording.align()
		if written, _, lost := removed.queue.totals(); written.duration.Round(time.Second) != read || lost.Round(time.Second) != length-read {
			t.Errorf("the track has %v, and %v are lost; want %v and %v", written.duration, lost, read, length-read)
		}
		if written, _, lost := whole.queue.totals(); written.duration.Round(time.Second) != length || lost != 0 {
			t.Errorf("the other track has %v, and %v are lost", written.duration, lost)
		}
	}
}
