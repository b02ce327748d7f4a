package record_test

import (
	"os"
	"slices"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/ivs"
)

// A stream of some time is in the bucket from its first frame to its last, in
// both containers.
func TestRecording(t *testing.T) {
	for _, container := range []string{ivs.ContainerTS, ivs.ContainerFMP4} {
		t.Run(container, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, container, nil)
			n := 0
			frames := numbered(t, 36, &n)
			b := w.goLive(testIngest)
			b.write(frames)
			b.leave()
			r := w.ended()
			entries := w.whole(r, "90p30", 0, n)
			if len(entries) != 4 {
				t.Errorf("36 s are in %d files: %+v", len(entries), entries)
			}
			if r.Duration.Seconds() < 35.9 || r.Duration.Seconds() > 36.1 || r.Failure != "" {
				t.Errorf("the recording is %+v", r)
			}
			if got, want := w.events(b.id), []string{ivs.RecordingStart, ivs.RecordingEnd}; !slices.Equal(got, want) {
				t.Errorf("events %q, want %q", got, want)
			}
			w.wait("the spool to be empty", func() bool {
				left, err := os.ReadDir(w.spool)
				return err == nil && len(left) == 0
			})
			if s := w.recorder.Stats(); s.SpoolBytes != 0 || s.Recorded.Round(time.Second) != 36*time.Second {
				t.Errorf("Stats = %+v", s)
			}
		})
	}
}
