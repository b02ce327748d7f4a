package segment_test

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/media/mediatest"
	"github.com/millrace/millrace/internal/segment"
	"github.com/millrace/millrace/internal/segment/segmenttest"
)

// Video of 240 Mbit/s is published in parts that are ended at 8 MiB, and in segments
// that are ended at 16 MiB, key frame or not. Key frames that do not come end a
// segment at the target duration.
func TestSizes(t *testing.T) {
	frames := mediatest.Source{NoAudio: true, Seconds: 12}.Frames(t)
	for name, tt := range map[string]struct {
		frame   int // bytes that each has
		frames  int
		keys    bool
		part    int64 // the most that a part has
		segment int64
		forced  bool
	}{
		"large frames":  {1 << 20, 45, true, 10 << 20, 27 << 20, true},
		"no key frames": {1 << 10, 360, false, 1 << 20, 1 << 20, true},
		"steady":        {1 << 10, 360, true, 1 << 20, 1 << 20, false},
	} {
		t.Run(name, func(t *testing.T) {
			segmenttest.Kinds(t, func(t *testing.T, s *hls.Stream) {
				defer s.Release()
				r := s.AddRendition("source", hls.Listing{})
				l := segment.NewLeader(r)
				follow := r.Follow(0)
				var all []media.Frame
				for n, f := range frames[:tt.frames] {
					f = padded(f, tt.frame)
					if f.Key && n > 0 && !tt.keys {
						continue
					}
					all = append(all, f)
				}
				segments, largest := 0, int64(0)
				for _, f := range all {
					done := r.Stats().Segments
					segmenttest.Write(t, l, []media.Frame{f})
					if r.Stats().Segments == done {
						continue
					}
					g, missed, err := follow.Next(t.Context())
					if err != nil || missed > 0 {
						t.Fatalf("%d segments are missed, %v", missed, err)
					}
					segments++
					for _, p := range g.Parts {
						largest = max(largest, p.Size)
					}
					if limit := r.MaxDuration() + 450*time.Millisecond + time.Second/30; g.Size > tt.segment || g.Duration > limit {
						t.Errorf("segment %d has %d bytes and %v, want at most %d and %v", g.Number, g.Size, g.Duration, tt.segment, limit)
					}
					g.Close()
				}
				if largest > tt.part || tt.frame == 1<<20 && largest < 8<<20 && !s.LowLatency {
					t.Errorf("the largest part has %d bytes, want at most %d", largest, tt.part)
				}
				if forced := r.Stats().Forced > 0; forced != tt.forced || segments == 0 {
					t.Errorf("of %d segments some are ended without a key frame: %t", segments, forced)
				}
			})
		})
	}
}

// padded is f with a NAL unit of filler data (ITU-T H.264, 7.3.2.7) that makes it
// that large.
func padded(f media.Frame, size int) media.Frame {
	filler := make([]byte, max(size-len(f.Data)-4, 8))
	for i := range filler {
		filler[i] = 0xff
	}
	filler[0], filler[len(filler)-1] = 12, 0x80
	data := append([]byte{}, f.Data...)
	data = binary.BigEndian.AppendUint32(data, uint32(len(filler)))
	f.Data = append(data, filler...)
	return f
}
