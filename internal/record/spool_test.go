package record

import (
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
)

// A recording whose last file has just reached its bucket is not ended for nothing where
// the spool is full, nor is the one that needs the room: it gets it as soon as the file
// has left.
func TestSpoolFullForAMoment(t *testing.T) {
	c, _ := newTestRecording(t)
	track, err := c.trackFor(variant{Name: "720p30"})
	must(t, err, keep4s(track, 5, strings.NewReader("media")), track.writer.close())
	c.recorder.spool.max = 5
	f, _ := track.queue.first()
	if !track.queue.take(f) {
		t.Fatal("the file is not there")
	}
	if freed := c.giveUp(5); freed != 0 || c.failure() != "" {
		t.Errorf("%d bytes are given up, and the recording ends: %q", freed, c.failure())
	}
	other := c.recorder.spool.share(&recording{identity: identity{Bucket: "other"}})
	synctest.Test(t, func(t *testing.T) {
		if err := other.take(5); !errors.Is(err, errFull) {
			t.Errorf("the room of a file that stays is taken: %v", err)
		}
		took := make(chan error, 1)
		go func() { took <- other.take(5) }()
		synctest.Wait() // it pauses
		must(t, track.uploads.uploaded(f), <-took)
	})
	if c.failure() != "" {
		t.Errorf("the recording ends: %s", c.failure())
	}
}

// A recording that had given something up when the process was killed ends after all.
func TestGivenUpBeforeAKill(t *testing.T) {
	c, _ := newTestRecording(t)
	track, err := c.trackFor(variant{Name: "720p30"})
	must(t, err, c.save(c.progress))
	must(t, keep4s(track, 5, strings.NewReader("media")), track.writer.closeFile(), keep4s(track, 5, strings.NewReader("media")), track.writer.close())
	if freed, _, err := c.giveUpNewest(); freed != 5 || err != nil {
		t.Fatalf("%d bytes are given up, %v", freed, err)
	}
	row, err := c.recorder.Store.Recording(t.Context(), c.ChannelARN, c.ID)
	must(t, err)
	r, err := New(c.recorder.Config)
	must(t, err)
	u, err := r.load(row)
	must(t, err)
	if u.failure() != errFull.Error() {
		t.Errorf("the recording has the failure %q", u.failure())
	}
	if _, err := os.Stat(track.path(0)); err != nil {
		t.Error(err)
	}
}
