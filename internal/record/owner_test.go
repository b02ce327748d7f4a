package record_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/bucket"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/media/mediatest"
	"github.com/millrace/millrace/internal/store"
)

// anotherNode runs a second recorder with the same database and buckets, for
// which the first one is gone when it has been silent for some time.
func (w *world) anotherNode(gone time.Duration) *world {
	w.t.Helper()
	other := *w
	other.owner, other.spool, other.gone = "node2", filepath.Join(filepath.Dir(w.spool), "spool2"), gone
	other.start()
	return &other
}

// files are the entries of the only rendition's playlist; none before there is
// one.
func (w *world) files() []entry {
	w.t.Helper()
	all := w.recordings()
	if len(all) == 0 {
		return nil
	}
	r := all[0]
	f, _, err := w.buckets.Get(w.t.Context(), r.Bucket, r.Prefix+"/media/hls/90p30/playlist.m3u8")
	if err != nil {
		return nil
	}
	f.Close()
	entries, _ := w.playlist(r, "media/hls/90p30/playlist.m3u8")
	return entries
}

// The recordings of a node that does not come back are ended by another one, with
// what is in their buckets. When the node is back after all, it writes nothing
// more.
func TestNodeGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ivs.ContainerFMP4, func(c *ivs.RecordingConfiguration) { c.ReconnectWindowSeconds = 5 })
	w.grace = time.Millisecond
	w.fast, w.ago, w.closing = 5*time.Minute, time.Minute, 40*time.Second // its clock is wrong, and its session ends long after its media
	w.restart()
	n := 0
	b := w.goLive(testIngest)
	b.write(numbered(t, 24, &n))
	b.leave()
	w.wait("all of it", func() bool { return len(w.files()) == 3 && len(w.events(w.recordings()[0].Streams[0])) > 0 })
	w.check(w.recordings()[0], "90p30", false)
	w.wait("the end of the media", func() bool { return !w.recordings()[0].MediaEnd.IsZero() })
	w.stop()

	w.patience = time.Hour
	away := filepath.Join(w.place, bucketName)
	w.must(os.Rename(away, away+"-away")) // a folder that is mounted late
	other := w.anotherNode(3 * time.Second)
	w.wait("an attempt without the bucket", func() bool { return w.log.Count("cannot be ended") > 0 })
	w.must(os.Rename(away+"-away", away))
	r := other.ended()
	for _, e := range other.whole(r, "90p30", 0, n) {
		if e.gap {
			t.Errorf("%s is a gap", e.name)
		}
	}
	if r.Owner != other.owner || r.Failure != "" || r.Duration.Round(time.Second) != 24*time.Second || len(r.Renditions) != 1 || r.Renditions[0].Height != 90 {
		t.Errorf("the recording is %+v", r)
	}
	if got, want := w.events(b.id), []string{ivs.RecordingStart, ivs.RecordingEnd}; !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
	other.staysAsItIs(r, w.start)
}

// staysAsItIs checks that nothing is written into a recording that has ended when
// the node that had it is back.
func (w *world) staysAsItIs(r store.Recording, back func()) {
	w.t.Helper()
	before, err := w.buckets.List(w.t.Context(), r.Bucket, r.Prefix+"/")
	w.must(err)
	events := w.events(r.Streams[0])
	back()
	after, err := w.buckets.List(w.t.Context(), r.Bucket, r.Prefix+"/")
	w.must(err)
	if now := w.recordings()[0]; !slices.Equal(before, after) || !slices.Equal(events, w.events(r.Streams[0])) || !now.EndedAt.Equal(r.EndedAt) {
		w.t.Errorf("objects before: %v\nafter: %v; the recording is %+v", before, after, now)
	}
	for _, folder := range []string{"spool", "spool2"} {
		w.wait("an empty "+folder, func() bool { // a recording ends before its spool is removed
			left, err := os.ReadDir(filepath.Join(filepath.Dir(w.spool), folder))
			return err == nil && len(left) == 0
		})
	}
}

// If something is missing in the bucket, the recording of a node that is gone ends
// with a failure, and a gap for what is missing: up to the last media of the stream, or,
// where the node was killed, to its last heartbeat.
func TestNodeGoneWithMedia(t *testing.T) {
	for name, killed := range map[string]bool{"after the stream": false, "killed": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, ivs.ContainerTS, nil)
			w.grace, w.ago = time.Millisecond, time.Minute
			w.restart()
			n := 0
			b := w.goLive(testIngest)
			b.write(numbered(t, 24, &n))
			w.wait("two files", func() bool { return len(w.events(b.id)) == 1 && len(w.files()) == 2 })
			w.check(w.recordings()[0], "90p30", false)
			w.buckets.Fail(bucketName, time.Hour) // what comes now is lost with the node
			minGap, maxGap := 30*time.Second, time.Minute
			if killed {
				t.Cleanup(b.stream.Release)
			} else {
				b.leave()
				w.wait("the end of the media", func() bool { return !w.recordings()[0].MediaEnd.IsZero() })
				minGap, maxGap = 3900*time.Millisecond, 4200*time.Millisecond
			}
			w.stop()
			_, err := w.db.EndSessionsOf(t.Context(), owner)
			w.must(err)
			w.buckets.Fail(bucketName, 0)

			other := w.anotherNode(3 * time.Second)
			r := other.ended()
			other.check(r, "90p30", true)
			var length, gap time.Duration
			for _, e := range other.files() {
				length += e.duration
				if e.gap {
					gap += e.duration
				}
			}
			if gap < minGap || gap > maxGap || (length-gap).Round(10*time.Millisecond) != 20*time.Second || (r.Lost-gap).Abs() > time.Millisecond || r.Duration != 20*time.Second || !strings.Contains(r.Failure, "node node1 is gone") {
				t.Errorf("%v with a gap of %v; the recording is %+v", length, gap, r)
			}
			if got, want := w.events(b.id), []string{ivs.RecordingStart, ivs.RecordingEndFailure}; !slices.Equal(got, want) {
				t.Errorf("events %q, want %q", got, want)
			}
			w.object(r, "events/recording-failed.json")
			other.staysAsItIs(r, w.start)
		})
	}
}

// What another node lists of a recording is what it has by now.
func TestListedElsewhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ivs.ContainerTS, nil)
	n := 0
	b := w.goLive(testIngest)
	b.write(numbered(t, 12, &n))
	w.wait("the start", func() bool { return len(w.events(b.id)) == 1 })
	other := w.anotherNode(time.Hour)
	first := other.listed(other.handler())
	b.write(mediatest.Shift(numbered(t, 24, &n), 12*time.Second))
	w.wait("what came after Recording Start", func() bool {
		l := other.listed(other.handler())
		return l.State == "RECORDING" && l.DurationMS >= 30_000 && l.Bytes > 2*first.Bytes
	})
	b.leave()
	w.whole(w.ended(), "90p30", 0, n)
}

// A stream that comes to another node within the window continues the recording
// of the first one, whether that node is alive, has sent no heartbeat for long, or
// is known to be lost. The recording survives a restart there. Wrong clocks do not matter, and
// what a node that lives has passed on lacks nothing, although its stream had no media
// at its end.
func TestMergeAcrossNodes(t *testing.T) {
	for name, first := range map[string]struct {
		lives, lost bool
		gone        time.Duration
		fast, ago   time.Duration
	}{
		"the first lives":   {lives: true, gone: time.Hour, ago: time.Minute},
		"the first is gone": {gone: 3 * time.Second, fast: 5 * time.Minute},
		"the first is lost": {lost: true, gone: time.Hour, fast: -5 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			w := newWorldIn(t, dir, ivs.ContainerFMP4, func(c *ivs.RecordingConfiguration) { c.ReconnectWindowSeconds = 12 })
			w.grace, w.fast, w.ago = time.Millisecond, first.fast, first.ago
			w.restart()
			n := 0
			one := w.goLive(testIngest)
			one.write(numbered(t, 24, &n))
			one.leave()
			w.wait("all of it", func() bool { return len(w.files()) == 3 && len(w.events(w.recordings()[0].Streams[0])) > 0 })
			w.check(w.recordings()[0], "90p30", false)
			if !first.lives {
				w.stop()
			}
			w.lost = func(node string) bool { return first.lost && node == w.owner }
			other := w.anotherNode(first.gone)
			other.fast, other.ago = 0, 0
			if l := other.listed(other.handler()); l.State != "WAITING" || l.DurationMS == 0 || l.PlaylistURL == "" {
				t.Errorf("on the other node the recording is listed as %+v", l)
			}
			change := w.database(dir)
			change("ALTER TABLE recordings RENAME TO away") // the database does not answer for a while
			second := other.goLive(testIngest)
			w.wait("an attempt that failed", func() bool { return w.log.Count("looking for a recording of another node failed") > 0 })
			change("ALTER TABLE away RENAME TO recordings")
			second.write(numbered(t, 12, &n))
			w.wait("the start", func() bool { return len(w.events(second.id)) == 1 })
			second.leave()
			other.restart()
			third := other.goLive(testIngest)
			third.write(numbered(t, 12, &n))
			third.leave()
			r := other.ended()
			discontinuities := 0
			for _, e := range other.whole(r, "90p30", 0, n) {
				if e.gap {
					t.Errorf("%s is a gap", e.name)
				}
				if e.discontinuity {
					discontinuities++
				}
			}
			if want := []string{one.id, second.id, third.id}; len(w.recordings()) != 1 || !slices.Equal(r.Streams, want) || r.Owner != other.owner || r.Failure != "" || r.Lost != 0 || discontinuities != 2 {
				t.Errorf("%d discontinuities in %+v, want 2 and the streams %q", discontinuities, r, want)
			}
			if got, want := w.events(third.id), []string{ivs.RecordingStart, ivs.RecordingEnd}; !slices.Equal(got, want) {
				t.Errorf("events %q, want %q", got, want)
			}
		})
	}
}

// A stream that comes to a node which cannot read the recording of another one, or not
// soon, has a recording of its own, and the other one ends as if there were no such
// stream: its node lives.
func TestUnreadableElsewhere(t *testing.T) {
	for name, slow := range map[string]bool{"a folder of its own": false, "a slow bucket": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, ivs.ContainerTS, func(c *ivs.RecordingConfiguration) { c.ReconnectWindowSeconds = 10 })
			n := 0
			one := w.goLive(testIngest)
			one.write(numbered(t, 12, &n))
			w.wait("the start", func() bool { return len(w.events(one.id)) == 1 })
			elsewhere := *w
			elsewhere.grace = time.Millisecond
			if !slow {
				elsewhere.place = t.TempDir()
			}
			var err error
			elsewhere.buckets, err = bucket.Open(t.Context(), elsewhere.place, "us-west-2")
			w.must(err, elsewhere.buckets.Check(t.Context(), bucketName))
			if slow {
				elsewhere.buckets.Slow(bucketName, time.Hour)
			}
			other := elsewhere.anotherNode(time.Hour)
			one.leave()
			second := other.goLive(testIngest)
			w.wait("a recording of the other node", func() bool { return len(w.recordings()) == 2 })
			second.write(numbered(t, 4, new(int)))
			second.leave()
			r := w.recordings()[1]
			w.wait("the end of the first", func() bool {
				r = w.recordings()[1]
				return !r.EndedAt.IsZero()
			})
			if r.Owner != w.owner || r.Failure != "" || !slices.Equal(r.Streams, []string{one.id}) || w.log.Count("this node cannot read it") != 1 {
				t.Errorf("the recording is %+v", r)
			}
			w.whole(r, "90p30", 0, n)
			w.object(r, "events/recording-ended.json")
		})
	}
}
