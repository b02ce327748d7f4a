package store_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/goldentest"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/store/storetest"
)

func TestRecording(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		c, _ := addChannel(t, db, here, "demo")
		first := addSession(t, db, c.ARN, "node1", at(0))
		r := store.Recording{ID: "k72FMYp8Qpec", SessionID: "eLqlaOSLZPTn", ChannelARN: c.ARN, Owner: "node1", Bucket: "b",
			Prefix: "ivs/v1/1/c/2026/5/1/9/3/k72FMYp8Qpec", Streams: []string{first}, CreatedAt: at(1)}
		must(t, db.CreateRecording(ctx, r))
		held := func(owner string, want bool) {
			t.Helper()
			if got, err := db.RecordingHeld(ctx, r.ID, owner); err != nil || got != want {
				t.Errorf("RecordingHeld(%s) = %v, %v", owner, got, err)
			}
		}
		held("node1", true)
		held("node2", false)
		must(t, db.StartRecording(ctx, r.ID, "node2", first, at(9), store.RecordingResult{}), db.EndRecording(ctx, r.ID, "node2", at(9), store.RecordingResult{}, ""))
		must(t, db.StartRecording(ctx, r.ID, "node1", first, at(10), store.RecordingResult{}), db.StartRecording(ctx, r.ID, "node1", first, at(11), store.RecordingResult{}), db.WriteEnd(ctx, ended(first, at(20))))

		second := addSession(t, db, c.ARN, "node1", at(30))
		soFar := store.RecordingResult{Duration: 10 * time.Second, Bytes: 1234, Renditions: []store.RecordedRendition{{Path: "720p30", Width: 1280, Height: 720}}}
		must(t, db.StartRecording(ctx, r.ID, "node1", second, at(40), soFar))
		r.Streams = append(r.Streams, second)
		r.StartedAt = at(10)
		open, err := db.OpenRecordings(ctx, "node1")
		must(t, err)
		r.RecordingResult = soFar
		if diff := cmp.Diff([]store.Recording{r}, open); diff != "" {
			t.Errorf("OpenRecordings (-want +got):\n%s", diff)
		}
		soFar.Duration, soFar.Bytes, soFar.Thumbnails = 20*time.Second, 2345, 2
		must(t, db.RecordingProgress(ctx, "node1", map[string]store.RecordingResult{r.ID: soFar, "another": {}}), db.RecordingProgress(ctx, "node2", map[string]store.RecordingResult{r.ID: {}}))
		r.RecordingResult = soFar
		if got, ok, err := db.OpenRecording(ctx, c.ARN); err != nil || !ok || !cmp.Equal(got, r) {
			t.Errorf("with progress: %+v, %v, %v", got, ok, err)
		}
		result := store.RecordingResult{Duration: 90 * time.Second, Bytes: 12345, Renditions: []store.RecordedRendition{{Path: "720p30", Width: 1280, Height: 720}},
			Thumbnails: 9, ThumbnailInterval: 10 * time.Second, Lost: 3 * time.Second}
		must(t, db.EndRecording(ctx, r.ID, "node1", at(100), result, ""), db.EndRecording(ctx, r.ID, "node1", at(101), result, "InternalServerException"))
		held("node1", true)
		must(t, db.RecordingProgress(ctx, "node1", map[string]store.RecordingResult{r.ID: soFar})) // too late
		r.RecordingResult, r.EndedAt = result, at(100)
		all, err := db.Recordings(ctx, c.ARN)
		must(t, err)
		if diff := cmp.Diff([]store.Recording{r}, all); diff != "" {
			t.Errorf("Recordings (-want +got):\n%s", diff)
		}
		_, err = db.Recording(ctx, c.ARN, "other")
		wantKind(t, "an unknown recording", err, ivs.NotFound)
		checkRecordingEvents(t, db, c.ARN, first, second)

		if _, err := db.Cleanup(ctx, at(100).Add(store.Retention+time.Second)); err != nil {
			t.Error(err)
		}
		if all, err := db.Recordings(ctx, c.ARN); err != nil || len(all) != 0 {
			t.Errorf("after the retention: %v, %v", all, err)
		}
	})
}

// A recording goes to another node where its owner gives it, or is gone.
func TestRecordingChangesOwner(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		c, _ := addChannel(t, db, here, "demo")
		epoch, err := db.RegisterNode(ctx, store.Node{Name: "node1", Place: "here"})
		must(t, err)
		must(t, db.CreateRecording(ctx, store.Recording{ID: "k72FMYp8Qpec", SessionID: "s", ChannelARN: c.ARN, Owner: "node1", Bucket: "b", Prefix: "p", Streams: []string{"st-1"}, CreatedAt: at(1)}))
		owner := func(want string) {
			t.Helper()
			if r, ok, err := db.OpenRecording(ctx, c.ARN); err != nil || !ok || r.Owner != want || r.WantedBy != "" {
				t.Errorf("the open recording is %+v, %v, %v, want that of %s", r, ok, err, want)
			}
		}
		pass := func(from string, want bool) {
			t.Helper()
			if passed, err := db.PassRecording(ctx, "k72FMYp8Qpec", from); err != nil || passed != want {
				t.Errorf("PassRecording(%s) = %v, %v", from, passed, err)
			}
		}
		pass("node1", false)
		must(t, db.WantRecording(ctx, "k72FMYp8Qpec", "node2"), db.ForgoRecording(ctx, "k72FMYp8Qpec", "node2"))
		pass("node1", false)
		owner("node1")
		must(t, db.WantRecording(ctx, "k72FMYp8Qpec", "node2"))
		pass("node3", false)
		pass("node1", true)
		owner("node2")
		must(t, db.WantRecording(ctx, "k72FMYp8Qpec", "node1"))
		pass("node2", true)
		owner("node1")

		owners, err := db.RecordingOwners(ctx, "node2")
		must(t, err)
		if len(owners) != 1 || owners[0].Name != "node1" || owners[0].Epoch != epoch {
			t.Fatalf("RecordingOwners = %+v", owners)
		}
		if none, err := db.RecordingOwners(ctx, "node1"); err != nil || len(none) != 0 {
			t.Errorf("RecordingOwners but for node1 = %+v, %v", none, err)
		}
		older := owners[0]
		older.Epoch--
		take := func(from store.RecordingOwner, channel string, want int) {
			t.Helper()
			if taken, err := db.TakeRecordings(ctx, from, channel, "node2"); err != nil || len(taken) != want || want > 0 && taken[0].Owner != "node2" {
				t.Errorf("TakeRecordings(%+v, %q) = %+v, %v", from, channel, taken, err)
			}
		}
		take(older, "", 0)
		take(owners[0], "arn:other", 0)
		take(owners[0], c.ARN, 1)
		take(owners[0], "", 0)
		owner("node2")
		take(store.RecordingOwner{Name: "node2"}, "", 1) // a node that has no row
	})
}

func checkRecordingEvents(t *testing.T, db *store.DB, arn string, streams ...string) {
	t.Helper()
	want := map[string][]string{streams[0]: {"Recording Start@10"}, streams[1]: {"Recording Start@40", "Recording End@100"}}
	for _, id := range streams {
		var got []string
		for _, e := range events(t, db, arn, id) {
			if len(e) > 9 && e[:9] == "Recording" {
				got = append(got, e)
			}
		}
		if diff := cmp.Diff(want[id], got); diff != "" {
			t.Errorf("events of %s (-want +got):\n%s", id, diff)
		}
	}
}

// A recording that has written nothing fails at its start, and its session has
// an error.
func TestRecordingStartFailure(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		c, _ := addChannel(t, db, here, "demo")
		id := addSession(t, db, c.ARN, "node1", at(0))
		must(t, db.StartStream(ctx, id, at(1), ingest))
		must(t, db.CreateRecording(ctx, store.Recording{ID: "k72FMYp8Qpec", SessionID: "s", ChannelARN: c.ARN, Owner: "node1", Bucket: "gone", Prefix: "p", Streams: []string{id}, CreatedAt: at(1)}))
		must(t, db.EndRecording(ctx, "k72FMYp8Qpec", "node1", at(3), store.RecordingResult{Failure: "write p/0.ts in bucket gone: no \x00such bucket\xc3"}, "ValidationException"))
		list, _, err := db.ListStreamSessions(ctx, c.ARN, store.Page{Max: 1})
		must(t, err)
		if len(list) != 1 || !list[0].HasErrorEvent {
			t.Errorf("hasErrorEvent is not set: %+v", list)
		}
	})
}

// The four events about a recording, as they are stored and as their targets
// get them.
func TestRecordingEvents(t *testing.T) {
	const (
		account, region = "111122223333", "us-west-2"
		arn             = "arn:aws:ivs:us-west-2:111122223333:channel/AbCdEfGhIjK1"
		first, second   = "st-1AaAaAaAaAaAaAaAaAaAaAa", "st-1BbBbBbBbBbBbBbBbBbBbBb"
	)
	db := storetest.Open(t, storetest.SQLite(t))
	ctx := t.Context()
	c := ivs.NewChannel(account, region)
	c.ARN, c.Name = arn, "demo"
	must(t, db.CreateChannel(ctx, c, ivs.NewStreamKey(account, region, arn)))
	recording := func(id, stream string) {
		must(t, db.CreateSession(ctx, store.NewSession{ChannelARN: arn, StreamID: stream, Owner: "node1", At: at(0)}),
			db.CreateRecording(ctx, store.Recording{ID: id, SessionID: "SeSsIoN00001", ChannelARN: arn, Owner: "node1", Bucket: "recordings",
				Prefix: "ivs/v1/111122223333/AbCdEfGhIjK1/2026/5/1/9/3/" + id, Streams: []string{stream}, CreatedAt: at(1)}))
	}
	recording("ReCoRdInG001", first)
	must(t, db.StartRecording(ctx, "ReCoRdInG001", "node1", first, at(10), store.RecordingResult{}), db.WriteEnd(ctx, ended(first, at(20))))
	must(t, db.CreateSession(ctx, store.NewSession{ChannelARN: arn, StreamID: second, Owner: "node1", At: at(25)}),
		db.StartRecording(ctx, "ReCoRdInG001", "node1", second, at(30), store.RecordingResult{}), db.WriteEnd(ctx, ended(second, at(40))),
		db.EndRecording(ctx, "ReCoRdInG001", "node1", at(50), store.RecordingResult{Duration: 25_400 * time.Millisecond}, ""))
	recording("ReCoRdInG002", "st-1CcCcCcCcCcCcCcCcCcCcCc")
	must(t, db.EndRecording(ctx, "ReCoRdInG002", "node1", at(60), store.RecordingResult{Failure: "find bucket recordings: it is not there"}, "ValidationException"),
		db.WriteEnd(ctx, ended("st-1CcCcCcCcCcCcCcCcCcCcCc", at(61))))
	recording("ReCoRdInG003", "st-1DdDdDdDdDdDdDdDdDdDdDd")
	must(t, db.StartRecording(ctx, "ReCoRdInG003", "node1", "st-1DdDdDdDdDdDdDdDdDdDdDd", at(70), store.RecordingResult{}),
		db.EndRecording(ctx, "ReCoRdInG003", "node1", at(80), store.RecordingResult{Duration: 6 * time.Second, Failure: "the spool is full"}, "InternalServerException"))

	_, err := db.NumberEvents(ctx)
	must(t, err)
	events, _, err := db.Feed(ctx, store.FeedFilter{Scope: store.Scope{Account: account, Region: region}, Type: ivs.EventRecordingState}, 0, 100)
	must(t, err)
	var got bytes.Buffer
	for _, e := range events {
		e.ID = "0b3e3c5e-6f5f-4a35-9d0e-6a1f4f1c2d3e"
		b, err := json.MarshalIndent(e.Event, "", "  ")
		must(t, err)
		got.Write(append(b, '\n'))
	}
	goldentest.Check(t, "testdata/recording-events.json", got.Bytes())
}
