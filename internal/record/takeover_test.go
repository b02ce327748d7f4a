package record_test

import (
	"slices"
	"testing"
	"time"

	onair "github.com/millrace/millrace/internal/broadcast"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/media/mediatest"
)

// What an encoder sends that takes over in the middle of a GOP, with a clock of its own,
// follows what the first one has sent: each frame once, and without a discontinuity.
func TestTakeover(t *testing.T) {
	for _, container := range []string{ivs.ContainerTS, ivs.ContainerFMP4} {
		w := newWorld(t, container, nil)
		b := w.connect()
		cast := onair.New(b.stream, nil)
		at := time.Now()
		write := func(frames []media.Frame) {
			t.Helper()
			begin := frames[0].DTS
			for _, f := range frames {
				w.must(cast.WriteFrame(f, nil, at.Add(f.DTS-begin)))
			}
			at = at.Add(frames[len(frames)-1].DTS - begin + time.Second/30)
		}
		b.begin(testIngest)
		n := 0
		first := numbered(t, 16, &n)
		n = 400 // of 480: 20 frames of the last GOP are left
		left := 0
		write(first[:slices.IndexFunc(first, func(f media.Frame) bool {
			if f.Track.IsVideo() {
				left++
			}
			return left > n
		})])
		w.wait("the start", func() bool { return len(w.events(b.id)) == 1 })
		second := mediatest.Shift(numbered(t, 16, &n), time.Hour)
		second = second[slices.IndexFunc(second, func(f media.Frame) bool { return f.Track.IsVideo() }):]
		cast.Splice(at)
		write(second)
		cast.CloseSource()
		cast.Close()
		b.finish()
		r := w.ended()
		var length time.Duration
		for i, e := range w.whole(r, "90p30", 0, n) {
			if length += e.duration; i > 0 && e.discontinuity {
				t.Errorf("the takeover is a discontinuity before %s", e.name)
			}
		}
		if want := time.Duration(n) * time.Second / 30; (length-want).Abs() > 500*time.Millisecond || r.Lost != 0 {
			t.Errorf("the recording lasts %v, want %v; %v are lost", length, want, r.Lost)
		}
		w.stop()
	}
}
