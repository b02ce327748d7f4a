package broadcast_test

import (
	"testing"
	"time"

	"github.com/millrace/millrace/internal/broadcast"
	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/media/mediatest"
)

// BenchmarkWriteFrame measures the cost of a frame from the encoder's goroutine to the
// players; meter is the share of the Meter in it.
func BenchmarkWriteFrame(b *testing.B) {
	frames := arrivals(b, mediatest.Ordered)
	for _, tt := range []struct {
		name  string
		write func(c *broadcast.Broadcast, a arrival, now time.Time) error
	}{
		{"whole", func(c *broadcast.Broadcast, a arrival, now time.Time) error { return c.WriteFrame(a.frame, nil, now) }},
		{"meter", func(c *broadcast.Broadcast, a arrival, now time.Time) error { c.Meter.Frame(a.frame, now); return nil }},
	} {
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			stream := &hls.Stream{LowLatency: true}
			c := broadcast.New(stream, nil)
			defer stream.Release()
			for i := 0; b.Loop(); i++ {
				a := frames[i%len(frames)]
				turn := time.Duration(i/len(frames)) * time.Minute
				a.frame.DTS, a.frame.PTS = a.frame.DTS+turn, a.frame.PTS+turn
				if err := tt.write(c, a, noon.Add(turn+a.at)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
