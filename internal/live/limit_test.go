package live_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/audience"
	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/live"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/media/mediatest"
	"github.com/millrace/millrace/internal/store"
	"github.com/millrace/millrace/internal/store/storetest"
)

// details are the details of all IVS Limit Breach events, oldest first.
func (w *world) details() (list []string) {
	w.Helper()
	if _, err := w.Store.NumberEvents(w.Context()); err != nil {
		w.Fatal(err)
	}
	events, _, err := w.Store.Feed(w.Context(), store.FeedFilter{Scope: here, Type: ivs.EventLimitBreach}, 0, 100)
	if err != nil {
		w.Fatal(err)
	}
	for _, e := range events {
		b, err := json.Marshal(e.Extra)
		if err != nil {
			w.Fatal(err)
		}
		line := e.Name + " " + string(b)
		if e.StreamID == "" && e.ChannelARN == "" {
			line += " account"
		}
		list = append(list, line)
	}
	return list
}

// The encoder sends some 560 kbit/s.
func TestBitrateLimit(t *testing.T) {
	for _, tt := range []struct {
		name, channelType string
		limits            live.Limits
		over              bool
	}{
		{"STANDARD in its limit", ivs.TypeStandard, live.Limits{Bitrate: 2e6, BasicSDBitrate: 1, BasicHDBitrate: 1}, false},
		{"STANDARD", ivs.TypeStandard, live.Limits{Bitrate: 100e3}, true},
		{"BASIC has limits of its own", ivs.TypeBasic, live.Limits{Bitrate: 1, BasicHDBitrate: 1}, false},
		{"BASIC", ivs.TypeBasic, live.Limits{BasicSDBitrate: 100e3}, true},
	} {
		bubble(t, tt.channelType, tt.limits, func(w *world) {
			began := time.Now()
			e := w.publish(w.key, "")
			err := e.Send(15 * sec)
			if !tt.over {
				if err != nil || w.details() != nil {
					w.Errorf("%s: %v, %v", tt.name, err, w.details())
				}
				e.leave()
				return
			}
			w.refused(err, "this channel takes at most 0.10")
			if d := time.Since(began); d < 9*sec || d > 13*sec {
				w.Errorf("%s: cut off after %v", tt.name, d)
			}
			time.Sleep(sec)
			checkErrorEvent(w, true)
			want := []string{"Session Created 0", "Stream Start 0", "Ingest Bitrate 10", "Session Ended 10", "Stream End 10"}
			if diff := cmp.Diff(want, w.events(began)); diff != "" {
				w.Errorf("%s: %s", tt.name, diff)
			}
			var detail struct {
				Value int    `json:"limit_value"`
				Over  int    `json:"exceeded_by"`
				Unit  string `json:"limit_unit"`
			}
			s, err := w.Store.Stream(w.Context(), w.channel.ARN)
			if !ivs.Is(err, ivs.NotBroadcasting) {
				w.Errorf("%s: still live: %v, %v", tt.name, s, err)
			}
			list := w.details()
			if len(list) != 1 || json.Unmarshal([]byte(list[0][len("Ingest Bitrate "):]), &detail) != nil ||
				detail.Value != 100e3 || detail.Over < 100e3 || detail.Over > 1e6 || detail.Unit != "bits per second" {
				w.Errorf("%s: %v", tt.name, list)
			}
		})
	}
}

// By default the limits are those of IVS.
func TestDefaultLimits(t *testing.T) {
	want := live.Limits{
		Streams: 100, Views: 15_000, PerAddress: 1500, Takeovers: 100, Duration: 48 * time.Hour,
		BasicSDBitrate: 1_500_000, BasicHDBitrate: 3_500_000, Bitrate: 8_500_000, BitrateWindow: 10 * sec,
		Pixels: 2_100_000, Edge: 1920,
	}
	if diff := cmp.Diff(want, live.Limits{}.OrDefaults()); diff != "" {
		t.Error(diff)
	}
}

// The size of its video decides what bit rate an encoder may send on a BASIC channel, and
// whether it may send it at all.
func TestLimitsOfSizes(t *testing.T) {
	bubble(t, ivs.TypeStandard, live.Limits{}, func(w *world) {
		for _, tt := range []struct {
			width, height, breaches int
			basic                   string // Mbit/s
		}{
			{852, 480, 0, "1.50"},
			{480, 852, 0, "1.50"},
			{854, 481, 0, "3.50"},
			{1920, 1080, 0, "3.50"},
			{1080, 1920, 0, "3.50"},
			{1922, 800, 1, ""},
			{1500, 1500, 1, ""},
			{2560, 1440, 2, ""},
		} {
			for channelType, most := range map[string]string{ivs.TypeBasic: tt.basic, ivs.TypeStandard: "8.50"} {
				before := len(w.details())
				c, key := w.addChannel(channelType)
				e, err := w.dial(key, "", mediatest.Ordered)
				if err != nil {
					w.Fatal(err)
				}
				e.Frames = resized(e.Frames, tt.width, tt.height)
				if tt.breaches > 0 {
					w.refused(e.Send(3*sec), fmt.Sprintf("The video is %dx%d; ", tt.width, tt.height))
				} else {
					e.mustSend(3 * sec)
					if err := w.LiveSession(c.ARN).Inject(live.FaultBitrateLimit, 5*sec); err != nil {
						w.Fatal(err)
					}
					w.refused(e.Send(5*sec), "this channel takes at most "+most)
				}
				time.Sleep(sec)
				if n := len(w.details()) - before; n != max(tt.breaches, 1) {
					w.Errorf("%dx%d on a channel of type %s: %d breaches, want %d", tt.width, tt.height, channelType, n, max(tt.breaches, 1))
				}
			}
		}
	})
}

// resized returns frames whose video is of another size, by its decoder configuration.
func resized(frames []media.Frame, width, height int) []media.Frame {
	var video *media.Track
	for i, f := range frames {
		if !f.Track.IsVideo() {
			continue
		}
		if video == nil {
			track, config := *f.Track, *f.Track.Video
			config.Width, config.Height = width, height
			track.Video, video = &config, &track
		}
		frames[i].Track = video
	}
	return frames
}

// A database that takes nothing does not keep limits from being judged.
func TestLimitWhileDatabaseHangs(t *testing.T) {
	bubble(t, ivs.TypeStandard, live.Limits{Bitrate: 100e3}, func(w *world) {
		began := time.Now()
		e := w.publish(w.key, "")
		e.mustSend(3 * sec)
		write := w.holdDatabase()
		err := e.Send(12 * sec)
		if d := time.Since(began); err == nil || d > 13*sec {
			w.Errorf("%v after %v, want to be cut off within 13 s", err, d)
		}
		write()
		w.refused(err, "this channel takes at most 0.10")
	})
}

// Video that is too large ends the session before it goes live; each of the
// two limits is a breach of its own.
func TestResolutionLimit(t *testing.T) {
	bubble(t, ivs.TypeStandard, live.Limits{Edge: 159, Pixels: 160*120 - 1}, func(w *world) {
		began := time.Now()
		w.refused(w.publish(w.key, "").Send(5*sec), "The video is 160x120")
		time.Sleep(sec) // virtual: the encoder need not wait for the end of its session
		want := []string{"Session Created 0", "Ingest Resolution 0", "Ingest Resolution 0", "Session Ended 0"}
		if diff := cmp.Diff(want, w.events(began)); diff != "" {
			w.Error(diff)
		}
		checkErrorEvent(w, true)
		want = []string{
			`Ingest Resolution {"exceeded_by":1,"limit_unit":"total pixels","limit_value":19199}`,
			`Ingest Resolution {"exceeded_by":1,"limit_unit":"pixels per edge","limit_value":159}`,
		}
		if diff := cmp.Diff(want, w.details()); diff != "" {
			w.Error(diff)
		}
	})
}

// The stream that is one too many is refused, and told to the account once a
// minute at most.
func TestStreamsLimit(t *testing.T) {
	bubble(t, ivs.TypeStandard, live.Limits{Streams: 1}, func(w *world) {
		first := w.publish(w.key, "")
		first.mustSend(2 * sec)
		_, key := w.addChannel(ivs.TypeStandard)
		for range 5 {
			_, err := w.dial(key, "", mediatest.Ordered)
			w.refused(err, "1 streams are live")
			first.mustSend(5 * sec)
		}
		want := []string{`Concurrent Broadcasts {"exceeded_by":1,"limit_unit":"active streams","limit_value":1} account`}
		if diff := cmp.Diff(want, w.details()); diff != "" {
			w.Error(diff)
		}
		first.leave()
		w.publish(key, "").leave()
	})
}

// Beyond the limit no more viewers are let in.
func TestViewsLimit(t *testing.T) {
	bubble(t, ivs.TypeStandard, live.Limits{Views: 2}, func(w *world) {
		e := w.publish(w.key, "")
		e.mustSend(2 * sec)
		s := w.LiveSession(w.channel.ARN)
		for i := range uint64(2) {
			if !w.AdmitView(w.Context(), s.Channel.ARN) {
				w.Errorf("viewer %d is not let in", i)
			}
			s.Viewers.Seen(i, audience.Client(i), time.Now())
		}
		e.mustSend(2 * sec)
		for range 3 {
			if w.AdmitView(w.Context(), s.Channel.ARN) {
				w.Error("a viewer too many is let in")
			}
		}
		want := []string{`Concurrent Viewers {"exceeded_by":1,"limit_unit":"viewers","limit_value":2} account`}
		if diff := cmp.Diff(want, w.details()); diff != "" {
			w.Error(diff)
		}
		if st, err := w.Store.Stream(w.Context(), w.channel.ARN); err != nil || st.ViewerCount != 2 {
			w.Errorf("viewerCount %d, %v", st.ViewerCount, err)
		}
		e.mustSend(15 * sec)
		if !w.AdmitView(w.Context(), s.Channel.ARN) {
			w.Error("a viewer is not let in though the others have gone")
		}
		e.leave()
	})
}

// The limit is for the viewers of all nodes: those of streams of others are looked up every
// few seconds, and while the database cannot say, those that it last said stay counted.
func TestViewsLimitOfAllNodes(t *testing.T) {
	bubble(t, ivs.TypeStandard, live.Limits{Views: 5}, func(w *world) {
		c, _ := w.addChannel(ivs.TypeStandard)
		id := storetest.Session(w.T, w.Store, c.ARN, "other", time.Now())
		elsewhere := func(viewers int) {
			w.Helper()
			if _, err := w.Store.Heartbeat(w.Context(), "other", time.Now(), []store.SessionState{{StreamID: id, Health: ivs.HealthHealthy, ViewerCount: viewers}}); err != nil {
				w.Fatal(err)
			}
		}
		admitted := func(when string, want bool) {
			w.Helper()
			if got := w.AdmitView(w.Context(), w.channel.ARN); got != want {
				w.Errorf("%s a viewer is let in: %v", when, got)
			}
		}
		e := w.publish(w.key, "")
		e.mustSend(2 * sec)
		viewers := &w.LiveSession(w.channel.ARN).Viewers
		elsewhere(3)
		viewers.Seen(1, audience.Client(1), time.Now())
		e.mustSend(6 * sec)
		viewers.Seen(1, audience.Client(1), time.Now())
		admitted("with 4 of 5", true)
		elsewhere(4)
		e.mustSend(6 * sec)
		viewers.Seen(1, audience.Client(1), time.Now())
		admitted("with 5, 4 of which are on another node,", false)

		db := w.other()
		w.exec(db, "ALTER TABLE sessions RENAME COLUMN viewer_count TO away")
		e.mustSend(6 * sec)
		viewers.Seen(1, audience.Client(1), time.Now())
		admitted("while the database does not say how many there are", false)
		w.exec(db, "ALTER TABLE sessions RENAME COLUMN away TO viewer_count")
		elsewhere(2)
		e.mustSend(6 * sec)
		viewers.Seen(1, audience.Client(1), time.Now())
		admitted("when two of them have left", true)
		e.leave()
	})
}

// A testMachine has room as a test says.
type testMachine struct {
	admit         func() (release func(), err error)
	room, crowded atomic.Bool
	ended         atomic.Pointer[[]ivs.Channel]
}

func (m *testMachine) Admit(ivs.Channel) (hls.Share, func(), error) {
	release, err := m.admit()
	return nil, release, err
}

func (m *testMachine) RoomWithout(_ ivs.Channel, ended []ivs.Channel) bool {
	m.ended.Store(&ended)
	return m.room.Load()
}

func (m *testMachine) Crowded(ivs.Channel) bool { return m.crowded.Load() }

// without returns the channels whose streams RoomWithout was last told have ended.
func (m *testMachine) without() []ivs.Channel { return *m.ended.Load() }

// A machine that has no capacity left refuses new streams. It does not refuse
// encoders of a stream that it carries: one that takes over needs none, and
// another one is told that the channel is live.
func TestMachineIsFull(t *testing.T) {
	bubble(t, ivs.TypeStandard, live.Limits{}, func(w *world) {
		other, otherKey := w.addChannel(ivs.TypeStandard)
		_, thirdKey := w.addChannel(ivs.TypeStandard)
		var free atomic.Int32
		free.Store(2)
		machine := &testMachine{admit: func() (func(), error) {
			if free.Add(-1) < 0 {
				free.Add(1)
				return nil, errors.New("its processor is busy")
			}
			return func() { free.Add(1) }, nil
		}}
		machine.room.Store(true)
		w.Machine = machine
		first := w.publish(w.key, "?priority=1")
		first.mustSend(3 * sec)
		ended := w.publish(otherKey, "")
		ended.mustSend(3 * sec)
		id := w.OpenSession(other.ARN).StreamID
		_, err := w.dial(thirdKey, "", mediatest.Ordered)
		w.refused(err, "cannot take another stream: its processor is busy")
		_, err = w.dial(w.key, "", mediatest.Ordered)
		w.refused(err, "live already")
		ended.leave()
		second, err := w.dial(w.key, "?priority=2", mediatest.Ordered)
		if err != nil {
			w.Fatalf("taking over: %v", err)
		}
		second.mustSend(sec / 2)
		if w.PlayableSession(id) == nil {
			w.Error("the end of the stream cannot be fetched")
		}
		machine.room.Store(false)
		_, err = w.dial(thirdKey, "", mediatest.Ordered)
		w.refused(err, "cannot take another stream: its processor is busy")
		if w.PlayableSession(id) == nil {
			w.Error("a stream that has ended is forgotten where that gives no room")
		}
		if got := machine.without(); len(got) != 1 || got[0].ARN != other.ARN {
			w.Errorf("room was asked for without the streams of %v, want that of %s", got, other.ARN)
		}
		machine.room.Store(true)
		third := w.publish(thirdKey, "") // in its place
		if w.PlayableSession(id) != nil {
			w.Error("a stream that has ended keeps the place of one that begins")
		}
		second.leave()
		third.mustSend(3 * sec)
		third.leave()
		time.Sleep(3 * sec) // Linger, in virtual time
		synctest.Wait()
		if n := free.Load(); n != 2 {
			w.Errorf("%d streams have room after the end, want 2", n)
		}
	})
}

// Streams that have ended give way to one that is admitted where they have more than they
// reserved, and not otherwise.
func TestEndedStreamsGiveWay(t *testing.T) {
	bubble(t, ivs.TypeStandard, live.Limits{}, func(w *world) {
		other, otherKey := w.addChannel(ivs.TypeStandard)
		_, thirdKey := w.addChannel(ivs.TypeStandard)
		machine := &testMachine{admit: func() (func(), error) { return func() {}, nil }}
		w.Machine = machine
		ended := w.publish(otherKey, "")
		ended.mustSend(3 * sec)
		id := w.OpenSession(other.ARN).StreamID
		ended.leave()
		second := w.publish(w.key, "")
		if w.PlayableSession(id) == nil {
			w.Error("a stream that has ended is forgotten although there is room")
		}
		machine.crowded.Store(true)
		third := w.publish(thirdKey, "")
		if w.PlayableSession(id) != nil {
			w.Error("a stream that has ended keeps more than it reserved")
		}
		second.leave()
		third.leave()
	})
}
