package record

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/bucket"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/store/storetest"
)

// newTestRecording makes an empty recording in a folder of buckets. Nothing runs.
func newTestRecording(t *testing.T) (c *recording, bucketFolder string) {
	t.Helper()
	folder := t.TempDir()
	place, err := bucket.Open(t.Context(), filepath.Join(folder, "buckets"), "us-west-2")
	must(t, err, place.Check(t.Context(), "demo"))
	db := storetest.Open(t, storetest.SQLite(t))
	r, err := New(Config{Store: db, Buckets: place, Owner: "node1", Folder: filepath.Join(folder, "spool"), MaxSpool: 1 << 20, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	must(t, err)
	m := manifest{}
	m.ID, m.ChannelARN, m.Bucket, m.Prefix, m.Streams = "recording", "arn:aws:ivs:us-west-2:111122223333:channel/AbCdEfGhIjKl", "demo", "ivs/v1/recording", []string{"st-1"}
	c = r.newRecording(m)
	must(t, os.MkdirAll(c.folder, 0o700), db.CreateRecording(t.Context(), store.Recording{ID: m.ID, ChannelARN: m.ChannelARN, Owner: r.Owner, Bucket: m.Bucket, Prefix: m.Prefix, Streams: m.Streams}))
	return c, filepath.Join(folder, "buckets/demo/ivs/v1/recording")
}

var must = storetest.Must

// What a stream has added just before its end is in the bucket when the recording is
// passed on to another node.
func TestPassLastFile(t *testing.T) {
	c, folder := newTestRecording(t)
	db, owner := c.recorder.Store, c.recorder.Owner
	track, err := c.trackFor(variant{Name: "720p30", Width: 1280, Height: 720})
	must(t, err, keep4s(track, 5, strings.NewReader("media")), track.writer.close()) // and nothing has been uploaded
	must(t, db.WantRecording(t.Context(), c.ID, "node2"))
	wanted, err := db.WantedRecordings(t.Context(), owner)
	if err != nil || wanted[c.ID] != "node2" {
		t.Fatalf("wanted: %v, %v", wanted, err)
	}
	c.want(wanted[c.ID])
	u := &uploader{recording: c, announced: "st-1"}
	if passed, err := u.pass(t.Context()); err != nil || !passed {
		t.Fatalf("passed on: %v, %v", passed, err)
	}
	file, err := os.ReadFile(filepath.Join(folder, "media/hls/720p30/0.ts"))
	list, listErr := os.ReadFile(filepath.Join(folder, "media/hls/720p30/playlist.m3u8"))
	if err != nil || listErr != nil || string(file) != "media" || !strings.Contains(string(list), "\n0.ts\n") {
		t.Errorf("the bucket has %q, %v, and the playlist %s, %v", file, err, list, listErr)
	}
	if row, open, err := db.OpenRecording(t.Context(), c.ChannelARN); err != nil || !open || row.Owner != "node2" {
		t.Errorf("the recording is %+v, %v, %v", row, open, err)
	}
}

// A stream that is merged has its Recording Start when the bucket has a file of it, not
// for one of the stream before.
func TestUnannounced(t *testing.T) {
	c, _ := newTestRecording(t)
	c.progress.Streams = []string{"st-1", "st-2"}
	for _, tt := range []struct {
		announced, attached string
		begin               time.Time // of the last stream
		want                bool
	}{
		{"st-2", "st-2", testStart, false},                  // it has been announced
		{"st-1", "st-2", time.Time{}, false},                // nothing of it is recorded
		{"st-1", "st-2", testStart.Add(time.Second), false}, // the file is of the one before
		{"st-1", "st-2", testStart, true},
		{"st-1", "", time.Time{}, true},
	} {
		c.streams.attached, c.streams.last.begin = tt.attached, tt.begin
		if u := (&uploader{recording: c, announced: tt.announced}); u.unannounced(file{date: testStart}) != tt.want {
			t.Errorf("%+v: want the opposite", tt)
		}
	}
}

// After a kill the renditions that were behind, or have not begun with the stream, are
// filled, so that the next stream begins at the same time in each.
func TestLoadAligns(t *testing.T) {
	c, _ := newTestRecording(t)
	keep := func(w *writer, begin time.Duration, lines int) {
		t.Helper()
		w.begins = true
		for i := range lines {
			line := segmentLine{File: w.next, Size: 5, Duration: 4 * time.Second, Date: testStart.Add(begin + time.Duration(i)*4*time.Second), Begin: w.begin(), Init: -1}
			must(t, w.keep(strings.NewReader("media"), line))
		}
		must(t, w.closeFile())
	}
	var tracks []*track
	for _, name := range []string{"720p30", "480p30", "360p30"} {
		track, err := c.trackFor(variant{Name: name})
		must(t, err)
		tracks = append(tracks, track)
	}
	keep(tracks[0].writer, 0, 3)
	keep(tracks[0].writer, time.Minute, 2)
	keep(tracks[1].writer, 0, 3)
	keep(tracks[1].writer, time.Minute, 1)
	keep(tracks[2].writer, 0, 1)
	row, err := c.recorder.Store.Recording(t.Context(), c.ChannelARN, c.ID)
	must(t, err)
	for range 2 { // the second time nothing is left to be filled
		r, err := New(c.recorder.Config)
		must(t, err)
		u, err := r.load(row)
		must(t, err)
		for _, track := range u.all() {
			var text strings.Builder
			for _, f := range track.queue.waiting {
				fmt.Fprintf(&text, "%v at %v, discontinuity %v, gap %v; ", f.duration, f.date.Sub(testStart), f.discontinuity, f.gap)
			}
			want := map[string]string{
				"720p30": "12s at 0s, discontinuity false, gap false; 8s at 1m0s, discontinuity false, gap false; ",
				"480p30": "12s at 0s, discontinuity false, gap false; 4s at 1m0s, discontinuity false, gap false; 4s at 1m4s, discontinuity false, gap true; ",
				"360p30": "4s at 0s, discontinuity false, gap false; 8s at 4s, discontinuity false, gap true; 8s at 1m0s, discontinuity true, gap true; ",
			}[track.name()]
			if text.String() != want {
				t.Errorf("%s has\n%s, want\n%s", track.name(), text.String(), want)
			}
		}
	}
}

// A bucket that does not answer keeps no stream waiting longer than its first segments
// are in the window.
func TestTakeUpBefore(t *testing.T) {
	r, row, _ := newElsewhere(t)
	r.Buckets.Slow("demo", time.Hour)
	if _, err := r.takeUpBefore(t.Context(), row, time.Now().Add(100*time.Millisecond)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("what a slow bucket has is read after the deadline: %v", err)
	}
	r.Buckets.Slow("demo", 0)
	u, err := r.takeUpBefore(t.Context(), row, time.Now().Add(time.Hour))
	if must(t, err); u.ID != row.ID {
		t.Errorf("the recording is %s", u.ID)
	}
}

// newElsewhere makes the row of a recording of which the recorder has nothing in its
// spool. Its folder in the bucket is to be made.
func newElsewhere(t *testing.T) (r *Recorder, row store.Recording, folder string) {
	t.Helper()
	c, folder := newTestRecording(t)
	db := c.recorder.Store
	channel := ivs.NewChannel("111122223333", "us-west-2")
	row = store.Recording{ID: "another", ChannelARN: channel.ARN, Owner: c.recorder.Owner, Bucket: "demo", Prefix: "ivs/v1/another", Streams: []string{ivs.NewStreamID()}}
	must(t, db.CreateChannel(t.Context(), channel, ivs.NewStreamKey("111122223333", "us-west-2", channel.ARN)),
		db.CreateSession(t.Context(), store.NewSession{ChannelARN: channel.ARN, StreamID: row.Streams[0], Owner: row.Owner, At: testStart}),
		db.CreateRecording(t.Context(), row))
	return c.recorder, row, filepath.Join(filepath.Dir(folder), "another")
}

// Of a stream that was cut off with its node, what no rendition has is lost: not what a
// rendition lacks that had ended before.
func TestRestoreShorter(t *testing.T) {
	r, row, folder := newElsewhere(t)
	for name, files := range map[string]int64{"720p30": 3, "480p30": 1} {
		track := filepath.Join(folder, mediaFolder, name)
		must(t, os.MkdirAll(track, 0o700))
		plain, ranges := []byte(playlistHead(false, false)), []byte(playlistHead(false, true))
		for n := range files {
			var f file
			f.add(segmentLine{File: n, Size: 5, Duration: target, Date: testStart.Add(time.Duration(n) * target), Init: -1, Cuts: []cut{{Size: 5, Duration: target}}}, false)
			plain, ranges = appendFile(plain, f, false), appendCuts(ranges, f, false)
			must(t, os.WriteFile(filepath.Join(track, f.name()), []byte("media"), 0o600))
		}
		must(t, os.WriteFile(filepath.Join(track, playlistName), plain, 0o600), os.WriteFile(filepath.Join(track, byteRangePlaylistName), ranges, 0o600))
	}
	started := filepath.Join(folder, startedName)
	must(t, os.MkdirAll(filepath.Dir(started), 0o700), os.WriteFile(started, nil, 0o600))
	must(t, r.Store.StartRecording(t.Context(), row.ID, row.Owner, row.Streams[0], testStart, store.RecordingResult{}),
		r.Store.RecordingProgress(t.Context(), row.Owner, map[string]store.RecordingResult{row.ID: {MediaEnd: testStart.Add(3*target + 6*time.Second)}}))
	u, err := r.takeUp(t.Context(), row, true)
	must(t, err)
	if result := u.result(); result.Lost != 6*time.Second || !strings.HasSuffix(u.failure(), ": 6s of the stream") {
		t.Errorf("%v are lost, and the failure is %q", result.Lost, u.failure())
	}
	for _, track := range u.all() {
		if end := track.spans[0].end; !end.Equal(testStart.Add(3*target + 6*time.Second)) {
			t.Errorf("%s ends at %v", track.name(), end)
		}
	}
}
