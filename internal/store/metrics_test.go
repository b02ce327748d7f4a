package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/store/storetest"
)

// Rows are replaced, found by channel, period and time, and deleted when old.
// Those of a session that was lost are left out.
func TestMetrics(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		a, _ := addChannel(t, db, here, "a")
		b, _ := addChannel(t, db, here, "b")
		begin := func(channelARN, streamID string) {
			must(t, db.CreateSession(ctx, store.NewSession{ChannelARN: channelARN, StreamID: streamID, Owner: "n", At: at(0)}))
		}
		begin(a.ARN, "st-1")
		must(t, db.WriteEnd(ctx, ended("st-1", at(1)))) // its last rows come after that
		begin(a.ARN, "st-2")
		begin(b.ARN, "st-3")
		row := func(stream string, period, start int64, data string) store.Metrics {
			return store.Metrics{StreamID: stream, Period: period, Start: start, Data: []byte(data)}
		}
		must(t, db.PutMetrics(ctx, []store.Metrics{
			row("st-2", 1, 60, "\x00\xff second"), row("st-1", 1, 0, "old"), row("st-1", 60, 0, "hour"),
			row("st-3", 1, 60, "other channel"), row("st-2", 1, 120, "third"), row("st-unknown", 1, 60, "of no session")}))
		must(t, db.PutMetrics(ctx, []store.Metrics{row("st-1", 1, 0, "first\x00")}))
		channel := a
		check := func(period, from, to int64, want ...string) {
			t.Helper()
			rows, err := db.Metrics(ctx, channel.ARN, period, from, to)
			must(t, err)
			var got []string
			for _, m := range rows {
				got = append(got, m.StreamID+" "+string(m.Data))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("Metrics(%d, %d, %d):\n%s", period, from, to, diff)
			}
		}
		check(1, 0, 121, "st-1 first\x00", "st-2 \x00\xff second", "st-2 third")
		check(1, 60, 120, "st-2 \x00\xff second")
		check(60, 0, 100, "st-1 hour")
		n, err := db.DeleteMetrics(ctx, 1, time.Unix(100, 0))
		must(t, err)
		if n != 3 {
			t.Errorf("DeleteMetrics deleted %d rows, want 3", n)
		}
		check(1, 0, 1000, "st-2 third")
		check(60, 0, 100, "st-1 hour")

		lost, err := db.EndSessionsOf(ctx, "n")
		if err != nil || len(lost) != 2 {
			t.Fatalf("EndSessionsOf = %v, %v", lost, err)
		}
		channel = b
		begin(b.ARN, "st-4")
		must(t, db.PutMetrics(ctx, []store.Metrics{row("st-3", 1, 120, "of a lost session"), row("st-4", 1, 120, "of the next"), row("st-3", 1, 60, "again")}))
		check(1, 0, 1000, "st-4 of the next") // the row of st-3 was deleted
	})
}

// A change of a session is recorded as a whole; nothing is once the encoder has
// left.
func TestChangeSessions(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		c, _ := addChannel(t, db, here, "a")
		id := addSession(t, db, c.ARN, "n", at(0))
		change := func(health, encoder string, events ...store.Event) {
			in := ivs.IngestConfigurations{Video: []ivs.VideoConfiguration{{Encoder: encoder}}}
			must(t, db.ChangeSessions(ctx, []store.SessionChange{{StreamID: id, Health: health, Events: events, Ingest: &in}}))
		}
		must(t, db.StartStream(ctx, id, at(1), ivs.IngestConfigurations{}))
		change(ivs.HealthStarving, "second", store.Event{Type: ivs.EventStreamHealth, Name: ivs.StarvationStart, At: at(5)},
			store.Event{Type: ivs.EventStreamState, Name: ivs.StreamTakeover, At: at(6)})
		list, _, err := db.ListStreams(ctx, here, ivs.HealthStarving, store.Page{Max: 10})
		must(t, err)
		if len(list) != 1 {
			t.Errorf("%d streams are STARVING, want 1", len(list))
		}
		must(t, db.ChangeSessions(ctx, []store.SessionChange{{StreamID: id, Health: ivs.HealthHealthy}}), db.EndSession(ctx, id, at(9), ""))
		change(ivs.HealthStarving, "third", store.Event{Type: ivs.EventStreamHealth, Name: ivs.StarvationStart, At: at(10)})
		must(t, db.WriteEnd(ctx, ended(id, at(10))))
		want := []string{"Session Created@0", "Stream Start@1", "Starvation Start@5", "Stream Takeover@6", "Session Ended@9", "Stream End@10"}
		if diff := cmp.Diff(want, events(t, db, c.ARN, id)); diff != "" {
			t.Error(diff)
		}
		s, err := db.StreamSession(ctx, c.ARN, id)
		must(t, err)
		if got := s.IngestConfigurations.Video[0].Encoder; got != "second" {
			t.Errorf("the session shows encoder %q, want the last that was recorded before its end", got)
		}
	})
}

// The limit on open sessions is that of an account and region, and counts no
// session that has ended. A channel that is live is in Conflict before that.
func TestMaxStreams(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		there := store.Scope{Account: here.Account, Region: "us-east-1"}
		open := func(s store.Scope, limit int) (channelARN, id string, err error) {
			c, _ := addChannel(t, db, s, "x")
			id = ivs.NewStreamID()
			return c.ARN, id, db.CreateSession(ctx, store.NewSession{ChannelARN: c.ARN, StreamID: id, Owner: "n", At: at(0), MaxStreams: limit})
		}
		first, id, err := open(here, 1)
		must(t, err)
		_, _, err = open(here, 1)
		wantKind(t, "CreateSession over the limit", err, ivs.QuotaExceeded)
		_, _, err = open(there, 1)
		must(t, err)
		wantKind(t, "CreateSession of a live channel", db.CreateSession(ctx,
			store.NewSession{ChannelARN: first, StreamID: ivs.NewStreamID(), Owner: "n", At: at(0), MaxStreams: 1}), ivs.Conflict)
		must(t, db.WriteEnd(ctx, ended(id, at(1))))
		_, id, err = open(here, 1)
		must(t, err)

		_, err = db.Heartbeat(ctx, "n", at(2), []store.SessionState{{StreamID: id, Health: ivs.HealthHealthy, ViewerCount: 7}})
		must(t, err)
		views, err := db.Views(ctx, "other")
		must(t, err)
		if diff := cmp.Diff(store.ScopeCount{here: 7, there: 0}, views); diff != "" {
			t.Error(diff)
		}
		if views, err = db.Views(ctx, "n"); err != nil || len(views) != 0 {
			t.Errorf("views of nodes other than the only one: %v, %v", views, err)
		}
	})
}
