package store_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/store/storetest"
)

var ingest = ivs.IngestConfigurations{
	Video: []ivs.VideoConfiguration{{Codec: "avc1.64002A", Profile: "High", Level: "4.2", Encoder: "obs", TargetBitrate: 6000000,
		TargetFramerate: 60, VideoWidth: 1920, VideoHeight: 1080, Track: "track0"}},
	Audio: []ivs.AudioConfiguration{{Codec: "mp4a.40.2", TargetBitrate: 160000, SampleRate: 48000, Channels: 2, Track: "track0"}},
}

func TestSessionFromFirstToLastEvent(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		c, _ := addChannel(t, db, here, "demo")
		_, err := db.Stream(t.Context(), c.ARN)
		wantKind(t, "Stream of an idle channel", err, ivs.NotBroadcasting)
		_, err = db.Stream(t.Context(), c.ARN+"x")
		wantKind(t, "Stream of no channel", err, ivs.NotFound)

		id := addSession(t, db, c.ARN, "node1", at(0))
		_, err = db.Stream(t.Context(), c.ARN)
		wantKind(t, "Stream before the start", err, ivs.NotBroadcasting)

		must(t, db.StartStream(t.Context(), id, at(7), ingest), db.StartStream(t.Context(), id, at(8), ingest))
		st, err := db.Stream(t.Context(), c.ARN)
		must(t, err)
		want := ivs.Stream{ChannelARN: c.ARN, StreamID: id, StartTime: ivs.Time{Time: at(7)}, State: ivs.StateLive, Health: ivs.HealthUnknown}
		if diff := cmp.Diff(want, st); diff != "" {
			t.Errorf("Stream (-want +got):\n%s", diff)
		}
		lost, err := db.Heartbeat(t.Context(), "node1", at(10), []store.SessionState{{StreamID: id, Health: ivs.HealthHealthy, ViewerCount: 3}})
		if err != nil || lost != nil {
			t.Errorf("Heartbeat = %v, %v", lost, err)
		}
		if st, _ := db.Stream(t.Context(), c.ARN); st.Health != ivs.HealthHealthy || st.ViewerCount != 3 {
			t.Errorf("after the heartbeat: %+v", st)
		}

		must(t, db.EndSession(t.Context(), id, at(20), ""), db.EndSession(t.Context(), id, at(21), ""))
		if _, err := db.Stream(t.Context(), c.ARN); err != nil {
			t.Errorf("Stream between the ends: %v", err)
		}
		must(t, db.WriteEnd(t.Context(), ended(id, at(22))), db.WriteEnd(t.Context(), ended(id, at(23))))
		_, err = db.Stream(t.Context(), c.ARN)
		wantKind(t, "Stream after the end", err, ivs.NotBroadcasting)
		wantEvents := []string{"Session Created@0", "Stream Start@7", "Session Ended@20", "Stream End@22"}
		if got := events(t, db, c.ARN, ""); !slices.Equal(got, wantEvents) {
			t.Errorf("events %v, want %v", got, wantEvents)
		}
		wantKind(t, "StartStream of an ended session", db.StartStream(t.Context(), id, at(30), ingest), ivs.Conflict)
	})
}

func TestStreamSession(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		c, _ := addChannel(t, db, here, "demo")
		_, err := db.StreamSession(t.Context(), c.ARN, "")
		wantKind(t, "no sessions", err, ivs.NotFound)
		first := addSession(t, db, c.ARN, "n", at(0))
		must(t, db.StartStream(t.Context(), first, at(7), ivs.IngestConfigurations{}), db.ChangeSessions(t.Context(), []store.SessionChange{{StreamID: first, Ingest: &ingest}}),
			db.WriteEnd(t.Context(), ended(first, at(9))))
		renamed, err := db.UpdateChannel(t.Context(), c.ARN, func(c *ivs.Channel) error { c.Name = "renamed"; return nil })
		must(t, err)
		second := addSession(t, db, c.ARN, "n", at(20))

		got, err := db.StreamSession(t.Context(), c.ARN, first)
		must(t, err)
		video := ingest.Video[0]
		video.AVCProfile, video.AVCLevel = "High", "4.2"
		want := ivs.StreamSession{StreamID: first, StartTime: ivs.Time{Time: at(7)}, EndTime: ivs.Time{Time: at(9)}, Channel: c,
			IngestConfigurations: &ingest, IngestConfiguration: &ivs.IngestConfiguration{Video: video, Audio: ingest.Audio[0]},
			TruncatedEvents: []ivs.StreamEvent{
				{Name: "Stream End", Type: ivs.EventStreamState, EventTime: ivs.Time{Time: at(9)}},
				{Name: "Session Ended", Type: ivs.EventStreamState, EventTime: ivs.Time{Time: at(9)}},
				{Name: "Stream Start", Type: ivs.EventStreamState, EventTime: ivs.Time{Time: at(7)}},
				{Name: "Session Created", Type: ivs.EventStreamState, EventTime: ivs.Time{Time: at(0)}},
			}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("first session (-want +got):\n%s", diff)
		}
		latest, err := db.StreamSession(t.Context(), c.ARN, "")
		must(t, err)
		if latest.StreamID != second || latest.Channel.Name != renamed.Name || !latest.StartTime.IsZero() || !latest.EndTime.IsZero() || latest.IngestConfigurations != nil {
			t.Errorf("latest session = %+v", latest)
		}
		other, _ := addChannel(t, db, here, "")
		_, err = db.StreamSession(t.Context(), other.ARN, first)
		wantKind(t, "another channel's session", err, ivs.NotFound)
	})
}

// The snapshot is of the channel at go-live, not of when the encoder came.
func TestSnapshotIsTakenAtGoLive(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		c, _ := addChannel(t, db, here, "demo")
		id := addSession(t, db, c.ARN, "n", at(0))
		must(t, db.UpdateTags(t.Context(), c.ARN, func(tags map[string]string) error { tags["late"] = "yes"; return nil }),
			db.StartStream(t.Context(), id, at(1), ivs.IngestConfigurations{}),
			db.UpdateTags(t.Context(), c.ARN, func(tags map[string]string) error { tags["late"] = "no"; return nil }))
		s, err := db.StreamSession(t.Context(), c.ARN, id)
		if err != nil || s.Channel.Tags["late"] != "yes" {
			t.Errorf("snapshot tags %v, %v", s.Channel.Tags, err)
		}
		if in := s.IngestConfigurations; in == nil || in.Video == nil || in.Audio == nil || s.IngestConfiguration != nil {
			t.Errorf("no tracks are shown as %+v and %+v, want empty lists and nothing", in, s.IngestConfiguration)
		}
	})
}

// The recording configuration is kept in the session as it was, whatever becomes
// of it.
func TestSnapshotOfRecording(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		rec := newRecording(ivs.RecordingActive)
		must(t, db.RecordingConfigurations().Create(ctx, rec, 9, false))
		c := ivs.NewChannel(here.Account, here.Region)
		c.RecordingConfigurationARN = rec.ARN
		must(t, db.CreateChannel(ctx, c, newKey(here, c.ARN)))
		id := addSession(t, db, c.ARN, "n", at(0))
		must(t, db.StartStream(ctx, id, at(1), ingest), db.WriteEnd(ctx, ended(id, at(2))))
		_, err := db.UpdateChannel(ctx, c.ARN, func(c *ivs.Channel) error { c.RecordingConfigurationARN = ""; return nil })
		must(t, err, db.RecordingConfigurations().Delete(ctx, rec.ARN))
		without := addSession(t, db, c.ARN, "n", at(3))
		must(t, db.StartStream(ctx, without, at(4), ingest))

		s, err := db.StreamSession(ctx, c.ARN, id)
		must(t, err)
		if diff := cmp.Diff(&rec, s.RecordingConfiguration); diff != "" || s.Channel.RecordingConfigurationARN != rec.ARN {
			t.Errorf("channel with %q; -want +got:\n%s", s.Channel.RecordingConfigurationARN, diff)
		}
		if s, err = db.StreamSession(ctx, c.ARN, without); err != nil || s.RecordingConfiguration != nil {
			t.Errorf("%+v of a channel that does not record, %v", s.RecordingConfiguration, err)
		}
	})
}

func TestSessionThatNeverWentLive(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		c, _ := addChannel(t, db, here, "")
		id := addSession(t, db, c.ARN, "n", at(0))
		must(t, db.EndSession(t.Context(), id, at(1), "MultitrackInputRequired"), db.WriteEnd(t.Context(), ended(id, at(1))))
		want := []string{"Session Created@0", "Session Ended@1/MultitrackInputRequired"}
		if got := events(t, db, c.ARN, id); !slices.Equal(got, want) {
			t.Errorf("events %v, want %v", got, want)
		}
		list, _, err := db.ListStreamSessions(t.Context(), c.ARN, store.Page{Max: 5})
		must(t, err)
		if diff := cmp.Diff([]ivs.StreamSessionSummary{{StreamID: id, EndTime: ivs.Time{Time: at(1)}}}, list); diff != "" {
			t.Errorf("ListStreamSessions (-want +got):\n%s", diff)
		}
		addSession(t, db, c.ARN, "n", at(2)) // the lease is free
	})
}

func TestOnlyOnePublisherWins(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		c, _ := addChannel(t, db, here, "")
		var won atomic.Int32
		var all sync.WaitGroup
		for i := range 16 {
			all.Go(func() {
				err := db.CreateSession(t.Context(), store.NewSession{ChannelARN: c.ARN, StreamID: ivs.NewStreamID(), Owner: fmt.Sprint(i), At: at(i)})
				if err == nil {
					won.Add(1)
				} else if !ivs.Is(err, ivs.Conflict) {
					t.Errorf("a loser got %v", err)
				}
			})
		}
		all.Wait()
		if won.Load() != 1 {
			t.Errorf("%d publishers won", won.Load())
		}
		wantKind(t, "session of no channel", db.CreateSession(t.Context(), store.NewSession{ChannelARN: c.ARN + "x", StreamID: "st-1"}), ivs.NotFound)
	})
}

// A channel is never deleted under a session, in whatever order they come.
func TestDeleteRacesWithPublish(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		for range 20 {
			c, _ := addChannel(t, db, here, "")
			var both sync.WaitGroup
			var created, deleted error
			both.Go(func() {
				created = db.CreateSession(t.Context(), store.NewSession{ChannelARN: c.ARN, StreamID: ivs.NewStreamID(), Owner: "n", At: at(0)})
			})
			both.Go(func() { deleted = db.DeleteChannel(t.Context(), c.ARN) })
			both.Wait()
			switch {
			case created == nil && ivs.Is(deleted, ivs.Conflict):
			case deleted == nil && ivs.Is(created, ivs.NotFound):
			default:
				t.Fatalf("CreateSession = %v, DeleteChannel = %v", created, deleted)
			}
		}
	})
}

func TestLiveChannelIsNotChanged(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		c, k := addChannel(t, db, here, "")
		id := addSession(t, db, c.ARN, "n", at(0))
		for _, state := range []string{"connecting", "live", "encoder gone"} {
			_, err := db.UpdateChannel(t.Context(), c.ARN, func(*ivs.Channel) error { return errors.New("called") })
			wantKind(t, "UpdateChannel while "+state, err, ivs.Conflict)
			wantKind(t, "DeleteChannel while "+state, db.DeleteChannel(t.Context(), c.ARN), ivs.Conflict)
			if state == "connecting" {
				must(t, db.StartStream(t.Context(), id, at(1), ingest))
			} else {
				must(t, db.EndSession(t.Context(), id, at(2), ""))
			}
		}
		must(t, db.DeleteStreamKey(t.Context(), k.ARN), db.WriteEnd(t.Context(), ended(id, at(3))), db.DeleteChannel(t.Context(), c.ARN))
		if s, err := db.StreamSession(t.Context(), c.ARN, ""); err != nil || s.StreamID != id {
			t.Errorf("the session of a deleted channel = %v, %v", s.StreamID, err)
		}
		if list, _, err := db.ListStreamSessions(t.Context(), c.ARN, store.Page{Max: 1}); err != nil || len(list) != 1 {
			t.Errorf("the sessions of a deleted channel = %v, %v", list, err)
		}
		_, _, err := db.ListStreamSessions(t.Context(), c.ARN+"x", store.Page{Max: 1})
		wantKind(t, "sessions of no channel", err, ivs.NotFound)
	})
}

func TestEndOrphans(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		live := func(owner string, heartbeat int) (channelARN, id string) {
			c, _ := addChannel(t, db, here, owner)
			id = addSession(t, db, c.ARN, owner, at(0))
			must(t, db.StartStream(t.Context(), id, at(1), ingest))
			_, err := db.Heartbeat(t.Context(), owner, at(heartbeat), []store.SessionState{{StreamID: id, Health: ivs.HealthHealthy}})
			must(t, err)
			return c.ARN, id
		}
		mineARN, mine := live("me", 50)
		_, fresh := live("fresh", 100)
		staleARN, stale := live("stale", 10)
		connecting, _ := addChannel(t, db, here, "connecting")
		never := addSession(t, db, connecting.ARN, "me", at(60))

		open, err := db.OpenSessions(t.Context())
		must(t, err)
		if len(open) != 4 {
			t.Errorf("open: %v", open)
		}
		_, err = db.Heartbeat(t.Context(), "fresh", at(100), []store.SessionState{{StreamID: fresh, Health: ivs.HealthHealthy}})
		must(t, err)
		expired := slices.DeleteFunc(open, func(s store.OpenSession) bool { return s.StreamID == mine || s.StreamID == never })
		ended, err := db.EndExpired(t.Context(), expired)
		must(t, err)
		own, err := db.EndSessionsOf(t.Context(), "me")
		must(t, err)
		ended = append(ended, own...)
		slices.Sort(ended)
		if want := slices.Sorted(slices.Values([]string{mine, stale, never})); !slices.Equal(ended, want) {
			t.Errorf("ended %v, want %v (and not %s)", ended, want, fresh)
		}
		for arn, want := range map[string][]string{
			mineARN:        {"Session Created@0", "Stream Start@1", "Session Ended@50", "Stream End@50"},
			staleARN:       {"Session Created@0", "Stream Start@1", "Session Ended@10", "Stream End@10"},
			connecting.ARN: {"Session Created@60", "Session Ended@60"},
		} {
			if got := events(t, db, arn, ""); !slices.Equal(got, want) {
				t.Errorf("events %v, want %v", got, want)
			}
		}
		if again, err := db.EndSessionsOf(t.Context(), "me"); err != nil || len(again) != 0 {
			t.Errorf("second time: %v, %v", again, err)
		}
		lost, err := db.Heartbeat(t.Context(), "stale", at(101), []store.SessionState{{StreamID: stale}, {StreamID: fresh}})
		if err != nil || !slices.Equal(lost, []string{stale, fresh}) {
			t.Errorf("Heartbeat of a session taken away, and of another's = %v, %v", lost, err)
		}
		addSession(t, db, mineARN, "me", at(102)) // it can go live again
	})
}

// Nodes that look for orphans at the same time end each of them once. Where
// the encoder had left before the crash, that is when the stream ended.
func TestEndOrphansConcurrently(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		var channels []string
		for range 20 {
			c, _ := addChannel(t, db, here, "")
			id := addSession(t, db, c.ARN, "dead", at(0))
			must(t, db.StartStream(t.Context(), id, at(1), ingest), db.EndSession(t.Context(), id, at(5), ""))
			channels = append(channels, c.ARN)
		}
		open, err := db.OpenSessions(t.Context())
		must(t, err)
		var total atomic.Int64
		var all sync.WaitGroup
		for range 6 {
			all.Go(func() {
				ended, err := db.EndExpired(t.Context(), open)
				if err != nil {
					t.Error(err)
				}
				total.Add(int64(len(ended)))
			})
		}
		all.Wait()
		if total.Load() != 20 {
			t.Errorf("20 sessions were ended %d times", total.Load())
		}
		want := []string{"Session Created@0", "Stream Start@1", "Session Ended@5", "Stream End@5"}
		for _, arn := range channels {
			if got := events(t, db, arn, ""); !slices.Equal(got, want) {
				t.Errorf("events %v, want %v", got, want)
			}
		}
	})
}

// More sessions than one statement holds.
func TestHeartbeatOfMany(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		var states []store.SessionState
		var gone []string
		for i := range 600 {
			b := store.SessionState{StreamID: ivs.NewStreamID(), Health: ivs.HealthStarving, ViewerCount: i}
			if i%200 == 199 {
				c, _ := addChannel(t, db, here, "")
				b.StreamID = addSession(t, db, c.ARN, "n", at(0))
				must(t, db.StartStream(t.Context(), b.StreamID, at(0), ingest))
			} else {
				gone = append(gone, b.StreamID)
			}
			states = append(states, b)
		}
		lost, err := db.Heartbeat(t.Context(), "n", at(1), states)
		if err != nil || !slices.Equal(lost, gone) {
			t.Errorf("Heartbeat = %d lost, %v; want %d", len(lost), err, len(gone))
		}
		list, _, err := db.ListStreams(t.Context(), here, ivs.HealthStarving, store.Page{Max: 9})
		if err != nil || len(list) != 3 || list[0].ViewerCount != 199 || list[2].ViewerCount != 599 {
			t.Errorf("streams %+v, %v", list, err)
		}
	})
}

func TestListStreams(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		var want []string
		for i := range 5 {
			c, _ := addChannel(t, db, here, "")
			id := addSession(t, db, c.ARN, "n", at(i))
			switch i {
			case 0: // never starts
			case 1:
				must(t, db.StartStream(t.Context(), id, at(i), ingest), db.WriteEnd(t.Context(), ended(id, at(9))))
			default:
				must(t, db.StartStream(t.Context(), id, at(i), ingest))
				want = append(want, id)
			}
		}
		elsewhere, _ := addChannel(t, db, store.Scope{Account: here.Account, Region: "us-east-1"}, "")
		must(t, db.StartStream(t.Context(), addSession(t, db, elsewhere.ARN, "n", at(0)), at(0), ingest))
		_, err := db.Heartbeat(t.Context(), "n", at(10), []store.SessionState{{StreamID: want[1], Health: ivs.HealthStarving, ViewerCount: -1}})
		must(t, err)

		var got []string
		for p := (store.Page{Max: 2}); ; {
			list, next, err := db.ListStreams(t.Context(), here, "", p)
			must(t, err)
			for _, s := range list {
				got = append(got, s.StreamID)
			}
			if p.Token = next; next == "" {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("streams %v, want %v", got, want)
		}
		starving, _, err := db.ListStreams(t.Context(), here, ivs.HealthStarving, store.Page{Max: 9})
		if err != nil || len(starving) != 1 || starving[0].StreamID != want[1] || starving[0].ViewerCount != -1 {
			t.Errorf("starving streams %+v, %v", starving, err)
		}
	})
}

func TestListStreamSessionsNewestFirst(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		c, _ := addChannel(t, db, here, "")
		var want, got []string
		for i := range 5 {
			id := addSession(t, db, c.ARN, "n", at(10*i))
			must(t, db.StartStream(t.Context(), id, at(10*i+1), ingest), db.WriteEnd(t.Context(), ended(id, at(10*i+2))))
			want = append([]string{id}, want...)
		}
		for p := (store.Page{Max: 2}); ; {
			list, next, err := db.ListStreamSessions(t.Context(), c.ARN, p)
			must(t, err)
			for _, s := range list {
				got = append(got, s.StreamID)
			}
			if p.Token = next; next == "" {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("sessions %v, want %v", got, want)
		}
	})
}

func TestEventsOfASession(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		c, _ := addChannel(t, db, here, "demo")
		id := addSession(t, db, c.ARN, "n", at(0))
		hasError := func() bool {
			list, _, err := db.ListStreamSessions(t.Context(), c.ARN, store.Page{Max: 1})
			must(t, err)
			return list[0].HasErrorEvent
		}
		for i := range ivs.MaxSessionEvents {
			must(t, db.ChangeSessions(t.Context(), happened(id, store.Event{Type: ivs.EventStreamHealth, Name: ivs.StarvationStart, At: at(i)})))
		}
		if hasError() {
			t.Error("starvation counts as an error")
		}
		must(t, db.ChangeSessions(t.Context(), happened(id, store.Event{Type: ivs.EventLimitBreach, Name: "Ingest Bitrate", At: at(999),
			Detail: map[string]any{"limit_value": 8500000, "limit_unit": "bits per second"}})))
		if !hasError() {
			t.Error("a limit breach does not count as an error")
		}
		got := events(t, db, c.ARN, id)
		if len(got) != ivs.MaxSessionEvents || got[len(got)-1] != "Ingest Bitrate@999" || got[0] != "Starvation Start@1" {
			t.Errorf("%d events, first %s, last %s", len(got), got[0], got[len(got)-1])
		}
		wantKind(t, "change of no session", db.ChangeSessions(t.Context(), []store.SessionChange{{StreamID: "st-1"}}), ivs.NotFound)
	})
}

func TestCleanupAfterSixtyDays(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		c, _ := addChannel(t, db, here, "")
		for i := range 250 { // more than one batch
			id := addSession(t, db, c.ARN, "n", at(i))
			must(t, db.WriteEnd(t.Context(), ended(id, at(i))))
		}
		open := addSession(t, db, c.ARN, "n", at(300))
		count := func() int {
			n := 0
			for p := (store.Page{Max: 100}); ; {
				list, next, err := db.ListStreamSessions(t.Context(), c.ARN, p)
				must(t, err)
				n += len(list)
				if p.Token = next; next == "" {
					return n
				}
			}
		}
		day60 := at(0).Add(60 * 24 * time.Hour)
		for _, tt := range []struct {
			now     time.Time
			deleted int64
			left    int
		}{
			{day60, 0, 251},                         // exactly 60 days is kept
			{day60.Add(time.Millisecond), 1, 250},   // the first one
			{day60.Add(1000 * time.Second), 249, 1}, // all that ended
			{day60.Add(9999 * time.Hour), 0, 1},     // an open one stays for ever
		} {
			n, err := db.Cleanup(t.Context(), tt.now)
			if err != nil || n != tt.deleted || count() != tt.left {
				t.Errorf("Cleanup(%v) = %d, %v and %d left; want %d and %d", tt.now, n, err, count(), tt.deleted, tt.left)
			}
		}
		if got := events(t, db, c.ARN, open); len(got) != 1 {
			t.Errorf("the open session's events: %v", got)
		}
	})
}

// Of a channel with many sessions the newest are kept, and whatever has not ended.
func TestTrimHistory(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		busy, _ := addChannel(t, db, here, "busy")
		idle, _ := addChannel(t, db, here, "idle")
		var ids []string
		for i := range 230 { // more than one batch
			ids = append(ids, addSession(t, db, busy.ARN, "n", at(i)))
			must(t, db.WriteEnd(t.Context(), ended(ids[i], at(i))))
		}
		kept := addSession(t, db, idle.ARN, "n", at(0))
		must(t, db.WriteEnd(t.Context(), ended(kept, at(1))))
		open := addSession(t, db, busy.ARN, "n", at(500))
		for _, want := range []map[string]int64{{busy.ARN: 221}, {}} {
			if got, err := db.TrimHistory(t.Context(), 10); err != nil || !maps.Equal(got, want) {
				t.Errorf("dropped %v, %v; want %v", got, err, want)
			}
		}
		list, _, err := db.ListStreamSessions(t.Context(), busy.ARN, store.Page{Max: 100})
		must(t, err)
		if len(list) != 10 || list[0].StreamID != open || list[9].StreamID != ids[221] {
			t.Errorf("kept %v", list)
		}
		if got := events(t, db, idle.ARN, kept); len(got) != 2 {
			t.Errorf("the events of the other channel: %v", got)
		}
		if got, err := db.TrimHistory(t.Context(), 0); err != nil || got[busy.ARN] != 9 {
			t.Errorf("dropped %v, %v; want all that have ended", got, err)
		}
	})
}

// The times of a session's events are in order, whatever the clocks of nodes
// do, and so are those of the session.
func TestClockSetBack(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		c, _ := addChannel(t, db, here, "demo")
		id := addSession(t, db, c.ARN, "n", at(3600))
		must(t, db.StartStream(t.Context(), id, at(10), ingest),
			db.ChangeSessions(t.Context(), []store.SessionChange{{StreamID: id, Health: ivs.HealthStarving, Events: []store.Event{
				{Type: ivs.EventStreamHealth, Name: ivs.StarvationStart, At: at(20)}, {Type: ivs.EventStreamHealth, Name: ivs.StarvationEnd, At: at(3700)}}}}),
			db.ChangeSessions(t.Context(), []store.SessionChange{{StreamID: id, Events: []store.Event{{Type: ivs.EventStreamState, Name: ivs.StreamTakeover, At: at(30)}}}}),
			db.EndSession(t.Context(), id, at(40), ""), db.WriteEnd(t.Context(), ended(id, at(3800))))
		want := []string{"Session Created@3600", "Stream Start@3600", "Starvation Start@3600", "Starvation End@3700", "Stream Takeover@3700", "Session Ended@3700", "Stream End@3800"}
		if got := events(t, db, c.ARN, ""); !slices.Equal(got, want) {
			t.Errorf("events %v, want %v", got, want)
		}
		if s, err := db.StreamSession(t.Context(), c.ARN, id); err != nil || !s.StartTime.Equal(at(3600)) || !s.EndTime.Equal(at(3800)) {
			t.Errorf("from %v to %v, %v", s.StartTime, s.EndTime, err)
		}
	})
}

// An end that is written late has the times at which things happened, once, and
// leaves alone what another node has ended.
func TestWriteEnd(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		c, _ := addChannel(t, db, here, "demo")
		id := addSession(t, db, c.ARN, "n", at(0))
		must(t, db.StartStream(t.Context(), id, at(1), ingest))
		end := store.End{StreamID: id, Events: []store.Event{{Type: ivs.EventStreamHealth, Name: ivs.StarvationStart, At: at(5)}}, Left: at(7), Code: "x", Reason: "\x00too big\xc3", Ended: at(8)}
		held := func(want bool) {
			t.Helper()
			if got, err := db.SessionHeld(t.Context(), id, "n"); err != nil || got != want {
				t.Errorf("held: %v, %v", got, err)
			}
		}
		held(true)
		if got, err := db.SessionHeld(t.Context(), id, "other"); err != nil || got {
			t.Errorf("held by another: %v, %v", got, err)
		}
		must(t, db.WriteEnd(t.Context(), end), db.WriteEnd(t.Context(), end))
		held(false)
		want := []string{"Session Created@0", "Stream Start@1", "Starvation Start@5", "Session Ended@7/x", "Stream End@8"}
		if got := events(t, db, c.ARN, ""); !slices.Equal(got, want) {
			t.Errorf("events %v, want %v", got, want)
		}
		reason := func(streamID, want string) {
			t.Helper()
			r, ok, err := db.EndReason(t.Context(), c.ARN, streamID)
			if err != nil || ok != (want != "") || ok && (r.Text != want || !r.At.Equal(at(8)) || !r.WasLive || r.StreamID != end.StreamID) {
				t.Errorf("reason %+v, %v, %v; want %q", r, ok, err, want)
			}
		}
		ended := id
		reason("", "too big")
		reason("st-unknown", "")

		id = addSession(t, db, c.ARN, "n", at(10)) // whose node dies as far as another one sees
		reason("", "")
		reason(ended, "too big")
		open, err := db.OpenSessions(t.Context())
		must(t, err)
		if ended, err := db.EndExpired(t.Context(), []store.OpenSession{{StreamID: id, Renewals: open[0].Renewals + 1}}); err != nil || len(ended) != 0 {
			t.Errorf("a session that was renewed is ended: %v, %v", ended, err)
		}
		if ended, err := db.EndExpired(t.Context(), open); err != nil || !slices.Equal(ended, []string{id}) {
			t.Errorf("ended %v, %v", ended, err)
		}
		end.StreamID = id
		must(t, db.WriteEnd(t.Context(), end))
		if got := events(t, db, c.ARN, id); !slices.Equal(got, []string{"Session Created@10", "Session Ended@10"}) {
			t.Errorf("events %v", got)
		}
	})
}
