package record

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/bucket"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/store/storetest"
)

// What a stream has added just before its end is in the bucket when the recording is
// passed on to another node.
func TestPassLastFile(t *testing.T) {
	folder := t.TempDir()
	must := func(errs ...error) {
		t.Helper()
		for _, err := range errs {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	place, err := bucket.Open(t.Context(), filepath.Join(folder, "buckets"), "us-west-2")
	must(err, place.Check(t.Context(), "demo"))
	db := storetest.Open(t, storetest.SQLite(t))
	r, err := New(Config{Store: db, Buckets: place, Owner: "node1", Folder: filepath.Join(folder, "spool"), MaxSpool: 1 << 20, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	must(err)
	m := manifest{}
	m.ID, m.ChannelARN, m.Bucket, m.Prefix, m.Streams = "recording", "arn:aws:ivs:us-west-2:111122223333:channel/AbCdEfGhIjKl", "demo", "ivs/v1/recording", []string{"st-1"}
	c := r.newRecording(m)
	must(os.MkdirAll(c.folder, 0o700), db.CreateRecording(t.Context(), store.Recording{ID: m.ID, ChannelARN: m.ChannelARN, Owner: r.Owner, Bucket: m.Bucket, Prefix: m.Prefix, Streams: m.Streams}))
	track, err := c.trackFor(variant{Name: "720p30", Width: 1280, Height: 720})
	must(err, keep4s(track, 5, strings.NewReader("media")), track.writer.close()) // and nothing has been uploaded
	must(db.WantRecording(t.Context(), m.ID, "node2"))
	wanted, err := db.WantedRecordings(t.Context(), r.Owner)
	if err != nil || wanted[m.ID] != "node2" {
		t.Fatalf("wanted: %v, %v", wanted, err)
	}
	c.want(wanted[m.ID])
	u := &uploader{recording: c, announced: "st-1"}
	if passed, err := u.pass(t.Context()); err != nil || !passed {
		t.Fatalf("passed on: %v, %v", passed, err)
	}
	media := filepath.Join(folder, "buckets/demo/ivs/v1/recording/media/hls/720p30")
	file, err := os.ReadFile(filepath.Join(media, "0.ts"))
	list, listErr := os.ReadFile(filepath.Join(media, "playlist.m3u8"))
	if err != nil || listErr != nil || string(file) != "media" || !strings.Contains(string(list), "\n0.ts\n") {
		t.Errorf("the bucket has %q, %v, and the playlist %s, %v", file, err, list, listErr)
	}
	if row, open, err := db.OpenRecording(t.Context(), m.ChannelARN); err != nil || !open || row.Owner != "node2" {
		t.Errorf("the recording is %+v, %v, %v", row, open, err)
	}
}
