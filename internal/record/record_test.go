package record_test

import (
	"bytes"
	"image/jpeg"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/bucket"
	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/media/mediatest"
	"github.com/millrace/millrace/internal/segment"
	"github.com/millrace/millrace/internal/store"
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
			begun := slices.IndexFunc(frames, func(f media.Frame) bool { return f.DTS > 12*time.Second })
			b.write(frames[:begun])
			w.wait("the start", func() bool { return len(w.events(b.id)) == 1 })
			w.check(w.recordings()[0], "90p30", false)
			if playable, _ := w.playlist(w.recordings()[0], "media/hls/90p30/playlist.m3u8"); len(playable) != 1 || playable[0].duration < 10*time.Second {
				t.Errorf("12 s after it went live, what can be played of a recording is %+v, want 10 s of it", playable)
			}
			b.write(frames[begun:])
			w.wait("three files while it grows", func() bool { return len(w.files()) == 3 })
			growing, _ := w.playlist(w.recordings()[0], "media/hls/90p30/byte-range-variant.m3u8")
			if len(growing) != 15 || growing[14].name != w.files()[2].name {
				t.Errorf("the byte-range playlist of three files is %+v", growing)
			}
			b.leave()
			r := w.ended()
			entries := w.whole(r, "90p30", 0, n)
			w.perGOP(r, "90p30")
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

// Streams that follow each other within the window are one recording, in which
// each frame of all of them is once, and which has one Recording End.
func TestMerge(t *testing.T) {
	w := newWorld(t, ivs.ContainerFMP4, func(c *ivs.RecordingConfiguration) { c.ReconnectWindowSeconds = 2 })
	n := 0
	var ids []string
	for range 3 {
		b := w.goLive(testIngest)
		ids = append(ids, b.id)
		b.write(numbered(t, 12, &n))
		b.leave() // and the next one comes at once
	}
	r := w.ended()
	if all := w.recordings(); len(all) != 1 || !slices.Equal(r.Streams, ids) {
		t.Fatalf("recordings %+v, want one of %q", all, ids)
	}
	discontinuities := 0
	for _, e := range w.whole(r, "90p30", 0, n) {
		if e.discontinuity {
			discontinuities++
		}
	}
	if discontinuities != 2 {
		t.Errorf("%d discontinuities between three streams", discontinuities)
	}
	for i, id := range ids {
		want := []string{ivs.RecordingStart}
		if i == len(ids)-1 {
			want = append(want, ivs.RecordingEnd)
		}
		if got := w.events(id); !slices.Equal(got, want) {
			t.Errorf("events of stream %d: %q, want %q", i, got, want)
		}
	}
}

// A stream that differs is not merged.
func TestNotMerged(t *testing.T) {
	w := newWorld(t, ivs.ContainerTS, func(c *ivs.RecordingConfiguration) { c.ReconnectWindowSeconds = 2 })
	n := 0
	b := w.goLive(testIngest)
	b.write(numbered(t, 12, &n))
	b.leave()
	other := testIngest
	other.Video = slices.Clone(other.Video)
	other.Video[0].TargetBitrate = 1_600_000
	b = w.goLive(other)
	b.write(numbered(t, 12, &n))
	b.leave()
	w.wait("two recordings to end", func() bool {
		all := w.recordings()
		return len(all) == 2 && !all[0].EndedAt.IsZero() && !all[1].EndedAt.IsZero()
	})
	all := w.recordings()
	w.whole(all[1], "90p30", 0, n/2)
	w.whole(all[0], "90p30", n/2, n)
}

// A recording whose bucket does not exist fails at its start; the stream continues.
func TestBucketGone(t *testing.T) {
	w := newWorld(t, ivs.ContainerTS, nil)
	w.must(os.Remove(filepath.Join(w.place, bucketName)))
	n := 0
	b := w.goLive(testIngest)
	b.write(numbered(t, 12, &n))
	r := w.ended()
	if got, want := w.events(b.id), []string{ivs.RecordingStartFailure}; !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
	if !strings.Contains(r.Failure, bucketName) {
		t.Errorf("the failure %q does not name the bucket", r.Failure)
	}
	b.write(mediatest.Shift(numbered(t, 12, &n), 12*time.Second))
	b.leave()
	if _, err := os.Stat(filepath.Join(w.place, bucketName)); err == nil {
		t.Error("recording makes a bucket")
	}
}

// While a bucket does not answer, segments wait; then they are all there.
func TestBucketAway(t *testing.T) {
	w := newWorld(t, ivs.ContainerTS, nil)
	n := 0
	b := w.goLive(testIngest)
	frames := numbered(t, 48, &n)
	b.write(frames[:len(frames)/4])
	w.wait("the start", func() bool { return len(w.events(b.id)) == 1 })
	w.buckets.Fail(bucketName, time.Hour)
	b.write(frames[len(frames)/4:])
	w.wait("a spool that holds something", func() bool { s := w.recorder.Stats(); return s.SpoolBytes > 0 && s.Lag > 0 })
	b.leave()
	w.buckets.Fail(bucketName, 0)
	w.whole(w.ended(), "90p30", 0, n)
}

// A bucket that keeps refusing ends the recording, with an error that names the
// operation and the bucket; what has been uploaded can be played.
func TestBucketRefuses(t *testing.T) {
	w := newWorld(t, ivs.ContainerTS, nil)
	n := 0
	b := w.goLive(testIngest)
	frames := numbered(t, 36, &n)
	b.write(frames[:len(frames)/2])
	w.wait("the start", func() bool { return len(w.events(b.id)) == 1 })
	bucketFolder := filepath.Join(w.place, bucketName)
	w.must(os.Rename(bucketFolder, bucketFolder+"-moved"))
	b.write(frames[len(frames)/2:])
	r := w.ended()
	if got, want := w.events(b.id), []string{ivs.RecordingStart, ivs.RecordingEndFailure}; !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
	if !strings.Contains(r.Failure, "write ") || !strings.Contains(r.Failure, bucketName) {
		t.Errorf("the failure is %q", r.Failure)
	}
	b.leave()
	w.must(os.Rename(bucketFolder+"-moved", bucketFolder))
	if files, frames := w.first(r); files != 1 || frames != 300 {
		t.Errorf("%d files with %d frames are left to play, want those of the first 10 s", files, frames)
	}
	w.wait("the room in the spool", func() bool { return w.recorder.Stats().SpoolBytes == 0 })
}

// A spool that is full ends the recording, also while the bucket takes nothing.
// What the spool holds is uploaded when it does, even after a restart.
func TestSpoolFull(t *testing.T) {
	w := newWorld(t, ivs.ContainerTS, nil)
	w.maxSpool, w.grace = 1_500_000, time.Millisecond // less than 36 s of the test video
	w.restart()
	n := 0
	b := w.goLive(testIngest)
	b.write(numbered(t, 12, &n))
	w.wait("the start", func() bool { return len(w.events(b.id)) == 1 })
	w.buckets.Fail(bucketName, time.Hour)
	b.write(mediatest.Shift(numbered(t, 36, &n), 12*time.Second))
	r := w.ended()
	if got, want := w.events(b.id), []string{ivs.RecordingStart, ivs.RecordingEndFailure}; !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
	if !strings.Contains(r.Failure, "--recording-spool") || r.Lost != 0 {
		t.Errorf("the failure is %q, %v are lost", r.Failure, r.Lost)
	}
	b.leave()
	w.restart()
	w.buckets.Fail(bucketName, 0)
	w.wait("recording-failed.json", func() bool {
		f, _, err := w.buckets.Get(t.Context(), bucketName, r.Prefix+"/events/recording-failed.json")
		if err == nil {
			f.Close()
		}
		return err == nil
	})
	if !strings.Contains(string(w.object(r, "events/recording-failed.json")), `"RECORDING_ENDED_WITH_FAILURE"`) {
		t.Error("recording-failed.json does not say that it failed")
	}
	frames := int(math.Round(r.Duration.Seconds() * 30))
	if frames < 600 || frames >= n || frames%gop != 0 {
		t.Errorf("%d frames of %d are recorded", frames, n)
	}
	w.whole(r, "90p30", 0, frames) // from the first, without a hole
	w.wait("an empty spool", func() bool { left, err := os.ReadDir(w.spool); return err == nil && len(left) == 0 })
	if got := w.events(b.id); len(got) != 2 {
		t.Errorf("events %q", got)
	}
}

// first checks that a recording whose end is not in the bucket can be played: the
// files of its playlist, of which it returns the number, have so many frames from the
// first on, each once.
func (w *world) first(r store.Recording) (files, frames int) {
	w.t.Helper()
	w.check(r, "90p30", false)
	var got []int
	entries, _ := w.playlist(r, "media/hls/90p30/playlist.m3u8")
	for _, e := range entries {
		got = append(got, numbers(w.channel.ContainerFormat, w.object(r, "media/hls/90p30/"+e.name))...)
	}
	slices.Sort(got) // B-frames
	for i, n := range got {
		if n != i {
			w.t.Fatalf("frame %d is in the place of %d", n, i)
		}
	}
	return len(entries), len(got)
}

// addChannel makes the world's channel another one, recorded into that bucket.
func (w *world) addChannel(bucketName string) {
	w.t.Helper()
	w.must(w.buckets.Check(w.t.Context(), bucketName))
	c, err := w.db.RecordingConfigurations().Get(w.t.Context(), w.channel.RecordingConfigurationARN)
	w.must(err)
	c.ARN += bucketName
	c.DestinationConfiguration.S3.BucketName = bucketName
	w.must(w.db.RecordingConfigurations().Create(w.t.Context(), c, 20, false))
	container := w.channel.ContainerFormat
	w.channel = ivs.NewChannel("111122223333", "us-west-2")
	w.channel.Name, w.channel.ContainerFormat, w.channel.RecordingConfigurationARN = "another", container, c.ARN
	w.must(w.db.CreateChannel(w.t.Context(), w.channel, ivs.NewStreamKey("111122223333", "us-west-2", w.channel.ARN)))
}

// A bucket that is down and fills the spool ends recordings into it, and no other,
// although each of them has only one file that waits.
func TestSpoolFullOfAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ivs.ContainerTS, nil)
	w.maxSpool, w.grace = 3_300_000, time.Millisecond // 53 s of the test video
	w.restart()
	var away []*broadcast
	var channels []ivs.Channel
	n := 0
	for i := range 4 {
		if i > 0 {
			w.addChannel(bucketName)
		}
		b := w.goLive(testIngest)
		b.write(numbered(t, 12, &n))
		w.wait("the start", func() bool { return len(w.events(b.id)) == 1 })
		away, channels = append(away, b), append(channels, w.channel)
	}
	w.buckets.Fail(bucketName, time.Hour)
	for _, b := range away {
		b.write(mediatest.Shift(numbered(t, 12, &n), 12*time.Second))
	}
	w.wait("12 s of each in the spool", func() bool { return w.recorder.Stats().SpoolBytes > 2_900_000 })

	w.addChannel("healthy")
	healthy := w.goLive(testIngest)
	first := n
	for i := range 6 {
		healthy.write(mediatest.Shift(numbered(t, 12, &n), time.Duration(i)*12*time.Second))
		w.wait("the files of the other recording", func() bool {
			list, err := w.buckets.List(t.Context(), "healthy", "ivs/")
			w.must(err)
			files := slices.DeleteFunc(list, func(o bucket.Object) bool { return !strings.HasSuffix(o.Key, ".ts") })
			return len(files) >= (6*(i+1)-1)/5 // five segments each; the last segment is not complete yet
		})
	}
	healthy.leave()
	r := w.ended()
	if r.Failure != "" || r.Lost != 0 {
		t.Errorf("the recording into the bucket that answers is %+v", r)
	}
	w.whole(r, "90p30", first, n)
	w.wait("the end of a recording into the other one", func() bool {
		return slices.ContainsFunc(channels, func(c ivs.Channel) bool {
			w.channel = c
			return strings.Contains(w.recordings()[0].Failure, "--recording-spool")
		})
	})
	for _, b := range away {
		b.leave()
	}
}

// A bucket that is slow keeps no other from its objects.
func TestSlowBucket(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ivs.ContainerTS, nil)
	n := 0
	frames := numbered(t, 12, &n)
	w.buckets.Slow(bucketName, time.Hour)
	var channels []ivs.Channel
	for range 17 {
		c := w.channel
		c.ARN = ivs.NewChannel("111122223333", "us-west-2").ARN
		w.must(w.db.CreateChannel(t.Context(), c, ivs.NewStreamKey("111122223333", "us-west-2", c.ARN)))
		channels = append(channels, c)
		w.channel = c
		b := w.goLive(testIngest)
		b.write(frames)
		b.leave()
	}
	w.addChannel("quick")
	b := w.goLive(testIngest)
	b.write(frames)
	b.leave()
	w.ended()
	for _, w.channel = range channels {
		if r := w.recordings(); len(r) > 0 && !r[0].EndedAt.IsZero() {
			t.Errorf("a recording into the slow bucket has ended first: %+v", r[0])
		}
	}
	w.buckets.Slow(bucketName, 0)
	for _, w.channel = range channels {
		if r := w.ended(); r.Failure != "" {
			t.Errorf("a recording into a slow bucket: %+v", r)
		}
	}
}

// A recorder that stops before its bucket answers finishes at the next start;
// one that waits for another stream continues with it. A bucket that refuses then,
// such as a folder that is mounted late, gets as much time as before.
func TestRecover(t *testing.T) {
	for _, window := range []int{0, 5} {
		w := newWorld(t, ivs.ContainerFMP4, func(c *ivs.RecordingConfiguration) { c.ReconnectWindowSeconds = window })
		w.grace = time.Millisecond
		w.restart()
		n := 0
		b := w.goLive(testIngest)
		b.write(numbered(t, 12, &n))
		w.wait("the start", func() bool { return len(w.events(b.id)) == 1 })
		w.buckets.Fail(bucketName, time.Hour)
		more := mediatest.Shift(numbered(t, 12, &n), 12*time.Second)
		b.write(more)
		b.leave()
		w.stop()
		if all := w.recordings(); !all[0].EndedAt.IsZero() {
			t.Fatal("the recording has ended without its bucket")
		}
		w.buckets.Fail(bucketName, 0)
		w.patience = time.Hour
		before := w.log.Count("writing to the bucket failed")
		folder := filepath.Join(w.place, bucketName)
		w.must(os.Rename(folder, folder+"-away"))
		w.start()
		w.wait("a write that is refused", func() bool {
			return w.log.Count("writing to the bucket failed") > before || !w.recordings()[0].EndedAt.IsZero()
		})
		w.must(os.Rename(folder+"-away", folder))
		if window > 0 {
			b := w.goLive(testIngest)
			b.write(numbered(t, 12, &n))
			b.leave()
		}
		w.whole(w.ended(), "90p30", 0, n)
		if all := w.recordings(); len(all) != 1 {
			t.Errorf("window %d: %d recordings", window, len(all))
		}
		w.stop()
	}
}

// What a crash of the machine has lost of the spool is a gap; the rest is there.
func TestRecoverShort(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ivs.ContainerFMP4, nil)
	w.grace = time.Millisecond
	w.restart()
	n := 0
	b := w.goLive(testIngest)
	b.write(numbered(t, 12, &n))
	w.wait("the start", func() bool { return len(w.events(b.id)) == 1 })
	w.buckets.Fail(bucketName, time.Hour)
	b.write(mediatest.Shift(numbered(t, 36, &n), 12*time.Second))
	b.leave()
	w.stop()
	waiting, err := filepath.Glob(filepath.Join(w.spool, "*", "90p30", "[0-9]*.mp4"))
	w.must(err)
	slices.Sort(waiting)
	info, err := os.Stat(waiting[1])
	w.must(err, os.Truncate(waiting[1], info.Size()-1))
	w.buckets.Fail(bucketName, 0)
	w.start()
	r := w.ended()
	w.check(r, "90p30", true)
	var gap, length time.Duration
	interrupted := false
	entries, _ := w.playlist(r, "media/hls/90p30/playlist.m3u8")
	for i, e := range entries {
		length += e.duration
		if e.gap {
			gap += e.duration
			interrupted = i+1 < len(entries) && entries[i+1].discontinuity
		}
	}
	if length.Round(time.Second) != 48*time.Second || gap == 0 || gap > 5*time.Second || !interrupted || (r.Lost-gap).Abs() > time.Millisecond || r.Failure != "" {
		t.Errorf("%v with a gap of %v; the recording is %+v", length, gap, r)
	}
	if w.log.Count(missedLog) != 1 {
		t.Error("the log does not say that the disk has lost media")
	}
}

// What the disk has lost of the spool while the server runs is a gap too, and what
// comes after it does not wait: files that are gone, and one that is cut short.
func TestLostFiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ivs.ContainerFMP4, nil)
	n := 0
	b := w.goLive(testIngest)
	b.write(numbered(t, 12, &n))
	w.wait("the start", func() bool { return len(w.events(b.id)) == 1 })
	w.buckets.Fail(bucketName, time.Hour)
	b.write(mediatest.Shift(numbered(t, 48, &n), 12*time.Second))
	var waiting []string
	w.wait("four files", func() (complete bool) { // the last one is still being filled
		var err error
		waiting, err = filepath.Glob(filepath.Join(w.spool, "*", "90p30", "[0-9]*.mp4"))
		w.must(err)
		return len(waiting) >= 5
	})
	slices.Sort(waiting)
	info, err := os.Stat(waiting[2])
	w.must(err, os.Remove(waiting[1]), os.Truncate(waiting[2], info.Size()-1))
	w.buckets.Fail(bucketName, 0)
	b.leave()
	r := w.ended()
	w.check(r, "90p30", true)
	var gap time.Duration
	var got []int
	entries, _ := w.playlist(r, "media/hls/90p30/playlist.m3u8")
	for i, e := range entries {
		if e.gap {
			gap += e.duration
			continue
		}
		if lost := i > 0 && entries[i-1].gap; e.discontinuity != lost {
			t.Errorf("%s begins with a discontinuity: %v", e.name, e.discontinuity)
		}
		got = append(got, numbers(w.channel.ContainerFormat, w.object(r, "media/hls/90p30/"+e.name))...)
	}
	if gap.Round(10*time.Millisecond) != 20*time.Second || len(got) != n-20*30 || (r.Lost-gap).Abs() > time.Millisecond || r.Failure != "" {
		t.Errorf("%d of %d frames with gaps of %v; the recording is %+v", len(got), n, gap, r)
	}
}

// A node that has lost its session writes no object more.
func TestLostSession(t *testing.T) {
	w := newWorld(t, ivs.ContainerTS, nil)
	n := 0
	b := w.goLive(testIngest)
	b.write(numbered(t, 24, &n))
	w.wait("the start", func() bool { return len(w.events(b.id)) == 1 })
	w.wait("the last closed file", func() bool { return w.recorder.Stats().SpoolBytes < 1_000_000 && w.recorder.Stats().Lag == 0 })
	before, err := w.buckets.List(t.Context(), bucketName, w.recordings()[0].Prefix+"/")
	w.must(err)
	_, err = w.db.EndSessionsOf(t.Context(), owner) // as another node does
	w.must(err)
	b.write(mediatest.Shift(numbered(t, 24, &n), 24*time.Second))
	b.end(true)
	w.must(b.source.Close())
	r := w.ended()
	after, err := w.buckets.List(t.Context(), bucketName, r.Prefix+"/")
	w.must(err)
	if !slices.Equal(before, after) {
		t.Errorf("objects before: %v\nafter: %v", before, after)
	}
	if got, want := w.events(b.id), []string{ivs.RecordingStart, ivs.RecordingEndFailure}; !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
}

// Thirty streams that end in the same second are all complete, while two at a time of
// their thumbnails are made.
func TestManyEndAtOnce(t *testing.T) {
	w := newWorld(t, ivs.ContainerTS, func(c *ivs.RecordingConfiguration) {
		c.ThumbnailConfiguration = ivs.ThumbnailConfiguration{RecordingMode: ivs.ThumbnailsInterval, TargetIntervalSeconds: 1, Storage: []string{ivs.ThumbnailsLatest}}
	})
	w.images = time.Second
	w.restart()
	n := 0
	frames := numbered(t, 12, &n)
	first := w.channel
	var channels []ivs.Channel
	var streams []*broadcast
	for i := range 30 {
		c := first
		if i > 0 {
			c = ivs.NewChannel("111122223333", "us-west-2")
			c.Name, c.ContainerFormat, c.RecordingConfigurationARN = "another", first.ContainerFormat, first.RecordingConfigurationARN
			w.must(w.db.CreateChannel(t.Context(), c, ivs.NewStreamKey("111122223333", "us-west-2", c.ARN)))
		}
		w.channel = c
		channels = append(channels, c)
		streams = append(streams, w.goLive(testIngest))
		streams[i].write(frames)
	}
	began := time.Now()
	for i, b := range streams {
		w.channel = channels[i]
		b.leave()
	}
	for _, c := range channels {
		w.channel = c
		w.whole(w.ended(), "90p30", 0, n)
	}
	t.Logf("30 recordings were complete after %v", time.Since(began).Round(time.Millisecond))
}

// Thumbnails of a stream that is not transcoded come from its key frames.
func TestThumbnails(t *testing.T) {
	for _, container := range []string{ivs.ContainerTS, ivs.ContainerFMP4} {
		w := newWorld(t, container, func(c *ivs.RecordingConfiguration) {
			c.ThumbnailConfiguration = ivs.ThumbnailConfiguration{RecordingMode: ivs.ThumbnailsInterval, TargetIntervalSeconds: 4,
				Storage: []string{ivs.ThumbnailsSequential, ivs.ThumbnailsLatest}}
		})
		n := 0
		b := w.goLive(testIngest)
		b.write(numbered(t, 12, &n))
		b.leave()
		r := w.ended()
		list, err := w.buckets.List(t.Context(), bucketName, r.Prefix+"/media/thumbnails/")
		w.must(err)
		if len(list) != 3 {
			t.Errorf("%s: %d thumbnails of 12 s, one each 4 s", container, len(list))
		}
		if l := w.listed(w.handler()); l.Thumbnails != 3 || l.ThumbnailIntervalMS != 4000 {
			t.Errorf("%s: the recording is listed as %+v", container, l)
		}
		for _, name := range []string{"media/thumbnails/thumb0.jpg", "media/latest_thumbnail/thumb.jpg"} {
			if size, err := jpeg.DecodeConfig(bytes.NewReader(w.object(r, name))); err != nil || size.Width != 160 || size.Height != 90 {
				t.Errorf("%s is %v, %v", name, size, err)
			}
		}
	}
}

// Where ffmpeg is too slow for the thumbnails, the recording ends without the last of
// them, and the media is whole.
func TestSlowThumbnails(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ivs.ContainerTS, func(c *ivs.RecordingConfiguration) {
		c.ThumbnailConfiguration = ivs.ThumbnailConfiguration{RecordingMode: ivs.ThumbnailsInterval, TargetIntervalSeconds: 2, Storage: []string{ivs.ThumbnailsSequential}}
	})
	w.ffmpeg, w.images = filepath.Join(t.TempDir(), "ffmpeg"), 6*time.Second // longer than it takes for the next write
	w.must(os.WriteFile(w.ffmpeg, []byte("#!/bin/sh\nexec sleep 600\n"), 0o700))
	w.restart()
	n := 0
	b := w.goLive(testIngest)
	b.write(numbered(t, 24, &n))
	w.wait("the start", func() bool { return len(w.events(b.id)) == 1 })
	b.leave()
	r := w.ended()
	w.whole(r, "90p30", 0, n)
	if r.Failure != "" || r.Thumbnails != 0 {
		t.Errorf("the recording is %+v", r)
	}
}

// A configuration that selects no rendition has thumbnails alone.
func TestNoRenditions(t *testing.T) {
	w := newWorld(t, ivs.ContainerTS, func(c *ivs.RecordingConfiguration) {
		c.RenditionConfiguration.RenditionSelection = ivs.RenditionsNone
		c.ThumbnailConfiguration = ivs.ThumbnailConfiguration{RecordingMode: ivs.ThumbnailsInterval, TargetIntervalSeconds: 60, Storage: []string{ivs.ThumbnailsSequential}}
	})
	n := 0
	b := w.goLive(testIngest)
	b.write(numbered(t, 12, &n))
	w.wait("the start", func() bool { return len(w.events(b.id)) == 1 })
	b.leave()
	r := w.ended()
	list, err := w.buckets.List(t.Context(), bucketName, r.Prefix+"/media/")
	w.must(err)
	if len(list) != 1 || !strings.HasSuffix(list[0].Key, "media/thumbnails/thumb0.jpg") {
		t.Errorf("the recording has %v", list)
	}
	if !strings.Contains(string(w.object(r, "events/recording-ended.json")), `"renditions": []`) {
		t.Error("recording-ended.json names renditions")
	}
}

// Timed metadata and captions stay in the media, ad breaks in the playlists, and
// a rendition of audio alone is recorded beside the others.
func TestCues(t *testing.T) {
	for _, container := range []string{ivs.ContainerTS, ivs.ContainerFMP4} {
		t.Run(container, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, container, nil)
			n := 0
			b := w.goLive(testIngest)
			audio := segment.NewFollower(b.stream.AddRendition("audio", hls.Listing{Label: "audio_only", AudioOnly: true}), b.source, true)
			b.followers = append(b.followers, audio)
			frames := numbered(t, 24, &n)
			for i, f := range frames {
				if f.Track.IsVideo() {
					frames[i].Data = slices.Concat(mediatest.Caption(mediatest.NoCaption), f.Data)
				}
			}
			b.write(frames[:len(frames)/4])
			w.must(b.stream.AddMetadata("a word of the host"))
			_, err := b.stream.AddAdBreak("wFDQ2ygc1Km6", 4*time.Second)
			w.must(err)
			b.write(frames[len(frames)/4:])
			b.leave()
			r := w.ended()
			files := w.whole(r, "90p30", 0, n)
			list := string(w.object(r, "media/hls/90p30/playlist.m3u8"))
			if strings.Count(list, "SCTE35-OUT=0x") != 1 || strings.Count(list, "SCTE35-IN=0x") != 1 {
				t.Errorf("the playlist has no ad break:\n%s", list)
			}
			first := w.object(r, "media/hls/90p30/"+files[0].name)
			if !bytes.Contains(first, []byte("a word of the host")) {
				t.Error("the first file has no metadata")
			}
			if got := bytes.Count(first, []byte("GA94")); got < 200 {
				t.Errorf("%d of 300 captions are in the first file", got)
			}
			master := string(w.object(r, "media/hls/master.m3u8"))
			if strings.Count(master, `TYPE=CLOSED-CAPTIONS`) != 1 || !strings.Contains(master, `CLOSED-CAPTIONS="captions"`) {
				t.Errorf("captions are not announced:\n%s", master)
			}
			if !strings.Contains(master, `CODECS="mp4a.40.2",VIDEO="audio_only"`) {
				t.Errorf("the rendition of audio is not listed:\n%s", master)
			}
			w.check(r, "audio_only", true)
			var length time.Duration
			entries, _ := w.playlist(r, "media/hls/audio_only/playlist.m3u8")
			for _, e := range entries {
				length += e.duration
			}
			if (length - 24*time.Second).Abs() > 100*time.Millisecond {
				t.Errorf("24 s of audio are %v", length)
			}
			if !strings.Contains(string(w.object(r, "events/recording-ended.json")), `"path": "audio_only",
          "playlist": "playlist.m3u8",
          "byte_range_playlist": "byte-range-variant.m3u8"
        }`) {
				t.Error("recording-ended.json has no rendition without a resolution")
			}
		})
	}
}

// A transcoder that dies, and comes back after seconds, leaves a discontinuity
// and a gap in its rendition, which is as long as the source all the same; the
// source has neither. One that restarts at once, while the first file is being
// filled, leaves a discontinuity alone.
func TestTranscoderDies(t *testing.T) {
	for _, container := range []string{ivs.ContainerTS, ivs.ContainerFMP4} {
		t.Run(container, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, container, nil)
			n := 0
			source := numbered(t, 48, &n)
			rung := mediatest.Repeat(mediatest.Source{Seconds: 4, Size: "96x54"}.Frames(t), 4*time.Second, 12)
			b := w.goLive(testIngest)
			transcoded := segment.NewFollower(b.stream.AddRendition("rung", hls.Listing{Label: "54p30"}), b.source, false)
			for second := range 48 {
				if second == 4 || second == 20 {
					transcoded.Discontinuity()
				}
				for _, f := range within(source, second) {
					w.must(b.source.WriteFrame(f))
				}
				if second < 20 || second >= 32 {
					for _, f := range within(rung, second) {
						w.must(transcoded.WriteFrame(f))
					}
				}
			}
			w.must(b.source.Close(), transcoded.Close())
			b.leave()
			r := w.ended()
			marks := func(entries []entry) (discontinuities, gaps int, length time.Duration) {
				for _, e := range entries {
					length += e.duration
					if e.discontinuity {
						discontinuities++
					}
					if e.gap {
						gaps++
					}
				}
				return discontinuities, gaps, length
			}
			if d, g, length := marks(w.whole(r, "90p30", 0, n)); d != 0 || g != 0 || length.Round(time.Second) != 48*time.Second {
				t.Errorf("the source has %d discontinuities, %d gaps and %v", d, g, length)
			}
			w.check(r, "54p30", true)
			entries, _ := w.playlist(r, "media/hls/54p30/playlist.m3u8")
			if d, g, length := marks(entries); d != 2 || g == 0 || length.Round(time.Second) != 48*time.Second {
				t.Errorf("the other rendition has %d discontinuities, %d gaps and %v", d, g, length)
			}
		})
	}
}

// When the transcoder gives up, the source continues under the name of the rendition
// of the same resolution: each frame is recorded once.
func TestTranscoderGivesUp(t *testing.T) {
	for _, container := range []string{ivs.ContainerTS, ivs.ContainerFMP4} {
		t.Run(container, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, container, nil)
			n := 0
			first := numbered(t, 24, &n)
			rest := mediatest.Shift(numbered(t, 24, &n), 24*time.Second)
			b := w.goLive(testIngest)
			b.source.Rendition().SetFallback(true)
			rung := b.stream.AddRendition("rung", hls.Listing{Label: "90p30"})
			b.followers = append(b.followers, segment.NewFollower(rung, b.source, false))
			b.write(first)
			w.wait("the start", func() bool { return len(w.events(b.id)) == 1 })
			rung.Remove()
			b.source.Rendition().SetFallback(false)
			b.followers = nil
			b.write(rest)
			b.leave()
			r := w.ended()
			var before time.Time
			for _, e := range w.whole(r, "90p30", 0, n) {
				if !e.date.IsZero() && e.date.Before(before) {
					t.Errorf("%s begins at %v, before what is before it", e.name, e.date)
				}
				before = e.date
			}
			if r.Lost != 0 {
				t.Errorf("%v are lost", r.Lost)
			}
		})
	}
}

// within are the frames of a second.
func within(frames []media.Frame, second int) (some []media.Frame) {
	for _, f := range frames {
		if int(f.DTS/time.Second) == second {
			some = append(some, f)
		}
	}
	return some
}
