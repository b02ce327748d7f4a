package live

import (
	"testing"
	"time"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/rtmp"
)

// BenchmarkTake is what a frame costs from the publisher's goroutine to the
// players; BenchmarkMeter in it is the part of measuring.
func BenchmarkTake(b *testing.B) {
	frames := arrivals(b, ordered)
	for _, tt := range []struct {
		name string
		take func(s *Session, a arrival, now time.Time) error
	}{
		{"whole", func(s *Session, a arrival, now time.Time) error { return s.write(a.frame, now) }},
		{"meter", func(s *Session, a arrival, now time.Time) error { s.meter.Frame(a.frame, now); return nil }},
	} {
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			s := newSession(ivs.Channel{LatencyMode: ivs.LatencyLow}, &rtmp.Publisher{}, func(error) {})
			defer s.Stream.Release()
			for i := 0; b.Loop(); i++ {
				a := frames[i%len(frames)]
				turn := time.Duration(i/len(frames)) * time.Minute
				a.frame.DTS, a.frame.PTS = a.frame.DTS+turn, a.frame.PTS+turn
				if err := tt.take(s, a, noon.Add(turn+a.at)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
