package monitor

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/internal/audience"
	"github.com/millrace/millrace/internal/ingest"
	"github.com/millrace/millrace/internal/ingest/ingesttest"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/live"
	"github.com/millrace/millrace/internal/media/mediatest"
	"github.com/millrace/millrace/internal/store"
)

var here = store.Scope{Account: "123456789012", Region: "us-west-2"}

// A node is a server in virtual time with one channel.
type node struct {
	*testing.T
	*Handler
	channel ivs.Channel
	key     string
	running *sync.WaitGroup // what belongs to the node
}

func inNode(t *testing.T, test func(*node)) {
	t.Helper()
	mediatest.Ordered.Frames(t) // ffmpeg's time is real
	dsn := filepath.Join(t.TempDir(), "millrace.db")
	synctest.Test(t, func(t *testing.T) {
		db, err := store.Open(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		log := slog.New(slog.DiscardHandler)
		n := &node{T: t, channel: ivs.NewChannel(here.Account, here.Region), running: &sync.WaitGroup{}}
		k := ivs.NewStreamKey(here.Account, here.Region, n.channel.ARN)
		n.key = k.Value
		if err := db.CreateChannel(t.Context(), n.channel, k); err != nil {
			t.Fatal(err)
		}
		n.Handler = &Handler{Hub: &live.Hub{Store: db, Owner: "node", Log: log, Linger: time.Second}, Store: db, Faults: true}
		ctx, stop := context.WithCancel(t.Context())
		n.running.Go(func() { n.Hub.Run(ctx) })
		defer func() {
			stop()
			n.running.Wait()
			time.Sleep(2 * time.Second) // Linger
		}()
		test(n)
	})
}

// publish sends seconds of a test broadcast, and returns when they have
// been sent. The encoder stays until leave is called, which waits for the end.
func (n *node) publish(seconds int) (leave func()) {
	e, err := ingesttest.Publish(n.Context(), n.running, n.Hub.Publish, ingest.Info{Protocol: "memory", StreamKey: n.key, Secure: true})
	if err != nil {
		n.Fatal(err)
	}
	e.Announce(ingest.Metadata{VideoBitrate: 400e3, AudioBitrate: 64e3, FrameRate: 30})
	loop := ingesttest.Loop{Encoder: e, Frames: mediatest.Ordered.Frames(n), Length: time.Minute}
	if err := loop.Send(time.Duration(seconds) * time.Second); err != nil {
		n.Fatal(err)
	}
	return func() {
		n.Helper()
		if err := e.Close(); err != nil {
			n.Error(err)
		}
	}
}

func (n *node) ask(call func(http.ResponseWriter, *http.Request, store.Scope) error, query, name string, out any) error {
	n.Helper()
	req := httptest.NewRequest("GET", "/?"+query, nil)
	req.SetPathValue("channel", name)
	r := httptest.NewRecorder()
	if err := call(r, req, here); err != nil {
		return err
	}
	if err := json.Unmarshal(r.Body.Bytes(), out); err != nil {
		n.Fatalf("%s: %v", r.Body.Bytes(), err)
	}
	return nil
}

func (n *node) session() ivs.StreamSession {
	n.Helper()
	s, err := n.Store.StreamSession(n.Context(), n.channel.ARN, "")
	if err != nil {
		n.Fatal(err)
	}
	return s
}

// at returns a metric's values by the second since began.
func (o MetricsOutput) at(metric string, began time.Time) map[int]float64 {
	values := map[int]float64{}
	for _, v := range o.Metrics[metric] {
		values[int(int64(v[0])-began.Unix())] = v[1]
	}
	return values
}

// The series show what came, second by second, while it comes and afterwards,
// and to another program that has the database.
func TestMetricsSeries(t *testing.T) {
	inNode(t, func(w *node) {
		began := time.Now() // midnight
		leave := w.publish(130)
		check := func(when string, h *Handler) {
			var out MetricsOutput
			if err := w.ask(h.Metrics, "start=0", w.channel.ARN, &out); err != nil {
				w.Fatal(err)
			}
			rates := out.at("IngestFramerate", began)
			for i := 1; i < 128; i++ {
				if r := rates[i]; r < 29 || r > 31 {
					w.Errorf("%s: %v frames in second %d", when, r, i)
				}
			}
			if out.StreamID != w.session().StreamID || out.ChannelARN != w.channel.ARN {
				w.Errorf("%s: stream %s of %s", when, out.StreamID, out.ChannelARN)
			}
			for second, v := range out.at("KeyframeInterval", began) {
				if v < 1.99 || v > 2.01 {
					w.Errorf("%s: key frames %v s apart in second %d", when, v, second)
				}
			}
			for _, name := range []string{"IngestVideoBitrate", "IngestAudioBitrate", "IngestBitrate", "ConcurrentViews", "TimelineRepairs", "DroppedFrames", "PartSize", "PartDelay", "LiveInputTime", "LiveDeliveredTime"} {
				if n := len(out.Metrics[name]); n < 120 {
					w.Errorf("%s: %d values of %s", when, n, name)
				}
			}
			if n := len(out.Metrics["SegmentDelay"]); n < 60 || n != len(out.Metrics["SegmentSize"]) {
				w.Errorf("%s: %d delays of %d segments", when, n, len(out.Metrics["SegmentSize"]))
			}
			for second, v := range out.at("SegmentDelay", began) {
				if v < -0.05 || v > 0.1 {
					w.Errorf("%s: a segment was published %v s after its end, in second %d", when, v, second)
				}
			}
			video, audio, all := out.at("IngestVideoBitrate", began)[60], out.at("IngestAudioBitrate", began)[60], out.at("IngestBitrate", began)[60]
			if video <= audio || audio < 40e3 || audio > 80e3 || video+audio != all {
				w.Errorf("%s: %v + %v = %v bit/s", when, video, audio, all)
			}
			var minutes MetricsOutput
			if err := w.ask(h.Metrics, "period=60", w.channel.ARN[strings.LastIndex(w.channel.ARN, "/")+1:], &minutes); err != nil {
				w.Fatal(err)
			}
			if d := minutes.at("LiveInputTime", began)[60]; d < 59.9 || d > 60.1 {
				w.Errorf("%s: %v s of input in a minute", when, d)
			}
			if r := minutes.at("IngestFramerate", began); r[0] < 29.5 || r[60] != 30 {
				w.Errorf("%s: frames by the minute: %v", when, r)
			}
		}
		check("live", w.Handler)
		// What a program has written that is killed now.
		another := &Handler{Hub: &live.Hub{Store: w.Store, Log: slog.New(slog.DiscardHandler)}, Store: w.Store}
		var killed MetricsOutput
		if err := w.ask(another.Metrics, "end=4000000000&start=0", w.channel.ARN, &killed); err != nil {
			w.Fatal(err)
		}
		if n := len(killed.Metrics["IngestBitrate"]); n != 120 {
			w.Errorf("%d seconds of 130 are in the database, want those of two minutes", n)
		}
		leave()
		time.Sleep(time.Second)
		check("over", w.Handler)
		check("other program", another)
	})
}

// Series are kept for as long as they should be, and no longer.
func TestMetricsAreDeleted(t *testing.T) {
	inNode(t, func(w *node) {
		w.publish(65)()
		time.Sleep(time.Second)
		count := func(period string) int {
			var out MetricsOutput
			if err := w.ask(w.Metrics, "start=0&period="+period, w.channel.ARN, &out); err != nil {
				w.Fatal(err)
			}
			return len(out.Metrics["IngestBitrate"])
		}
		rows := func() (n int) {
			for _, period := range []int64{1, 60} {
				all, err := w.Store.Metrics(w.Context(), w.channel.ARN, period, 0, 1<<40)
				if err != nil {
					w.Fatal(err)
				}
				n += len(all)
			}
			return n
		}
		if s, m, n := count("1"), count("60"), rows(); s < 60 || m != 2 || n != 3 {
			w.Errorf("%d seconds, %d minutes, %d rows", s, m, n)
		}
		time.Sleep(4 * time.Hour)
		if s, m, n := count("1"), count("60"), rows(); s != 0 || m != 2 || n != 1 {
			w.Errorf("after 4 hours: %d seconds, %d minutes, %d rows", s, m, n)
		}
	})
}

func TestMetricsRange(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for _, tt := range []struct {
		query   string
		want    [3]int64 // period, and start and end from now
		wantErr bool
	}{
		{"", [3]int64{1, -299, 1}, false},
		{"period=60", [3]int64{60, -10799, 1}, false},
		{"start=0", [3]int64{1, -10800, 1}, false},
		{"start=0&period=60&end=1800000000", [3]int64{60, -15 * 86400, 0}, false},
		{"start=1799999990&end=1799999999", [3]int64{1, -10, -1}, false},
		{"period=5", [3]int64{}, true},
		{"start=x", [3]int64{}, true},
		{"end=-1", [3]int64{}, true},
		{"end=99999999999999999999", [3]int64{}, true},
	} {
		q, err := url.ParseQuery(tt.query)
		if err != nil {
			t.Fatal(err)
		}
		period, start, end, err := metricsRange(q, now)
		if (err != nil) != tt.wantErr {
			t.Errorf("%s: %v", tt.query, err)
		}
		if got := [3]int64{period, start - now.Unix(), end - now.Unix()}; err == nil && got != tt.want {
			t.Errorf("%s: %v, want %v", tt.query, got, tt.want)
		}
	}
}

// The health of a channel is shown with what was announced and what comes. Of
// channels of other accounts nothing is shown.
func TestHealthReport(t *testing.T) {
	inNode(t, func(w *node) {
		var out HealthOutput
		if err := w.ask(w.Health, "", w.channel.ARN, &out); err != nil || out.State != "OFFLINE" || out.Health != "" {
			w.Errorf("before the broadcast: %+v, %v", out, err)
		}
		leave := w.publish(12)
		if err := w.ask(w.Health, "", w.channel.ARN, &out); err != nil {
			w.Fatal(err)
		}
		if out.State != "LIVE" || out.Health != ivs.HealthHealthy || out.StreamID != w.session().StreamID || out.Announced.Framerate != 30 ||
			out.Announced.VideoBitrate != 400e3 || out.Measured.Framerate < 29 || out.Measured.KeyframeInterval < 1.9 || !strings.HasPrefix(out.Sentence, "Video arrives in time") {
			w.Errorf("%+v", out)
		}
		if r := out.Renditions; len(r) != 1 || r[0].Width != 160 || r[0].Height != 120 || !strings.Contains(r[0].Codecs, "avc1") || !r[0].Playing || r[0].AverageBandwidth <= 0 {
			w.Errorf("renditions: %+v", r)
		}
		all := w.Streams(here)
		if len(all) != 1 {
			w.Fatalf("streams: %+v", all)
		}
		if s := all[0]; s.ChannelARN != w.channel.ARN || s.StreamID != out.StreamID || s.Health != ivs.HealthHealthy || s.Bitrate <= 0 || s.Framerate < 29 {
			w.Errorf("%+v", s)
		}
		if none := w.Streams(store.Scope{Account: here.Account, Region: "eu-west-1"}); none == nil || len(none) != 0 {
			w.Errorf("another region sees %+v", none)
		}
		time.Sleep(8 * time.Second)
		if err := w.ask(w.Health, "", w.channel.ARN, &out); err != nil || out.Health != ivs.HealthStarving || !strings.HasPrefix(out.Sentence, "Nothing has come") {
			w.Errorf("8 s into a stall: %+v, %v", out, err)
		}
		for _, name := range []string{
			"nosuchchannel", "arn:aws:ivs:eu-west-1:123456789012:channel/" + w.channel.ARN[len(w.channel.ARN)-12:],
			strings.Replace(w.channel.ARN, "123456789012", "210987654321", 1), strings.Replace(w.channel.ARN, "channel/", "stream-key/", 1), "../x",
		} {
			if err := w.ask(w.Health, "", name, &out); !ivs.Is(err, ivs.NotFound) {
				w.Errorf("%s: %v", name, err)
			}
			if err := w.ask(w.Metrics, "", name, &out); !ivs.Is(err, ivs.NotFound) {
				w.Errorf("%s: %v", name, err)
			}
		}
		leave()
	})
}

// Stalls are said in a sentence, with the rendition where it is one rendition's.
func TestPlaybackSentence(t *testing.T) {
	for _, tt := range []struct {
		playback audience.Playback
		want     string
	}{
		{audience.Playback{}, ""},
		{audience.Playback{Reporting: 10}, ""},
		{audience.Playback{Reporting: 100, Stalled: 7, Renditions: map[string]int{"720p30": 7}}, " Of the viewers whose players report playback, 7 % stalled in the last minute, all on the 720p30 rendition."},
		{audience.Playback{Reporting: 4, Stalled: 2, Renditions: map[string]int{"720p30": 1, "360p30": 1}}, " Of the viewers whose players report playback, 50 % stalled in the last minute."},
		{audience.Playback{Reporting: 2, Stalled: 2, Renditions: map[string]int{"": 2}}, " Of the viewers whose players report playback, 100 % stalled in the last minute."},
		{audience.Playback{Reporting: 1000, Stalled: 1, Renditions: map[string]int{"source": 1}}, " Of the viewers whose players report playback, 1 % stalled in the last minute, all on the source rendition."},
	} {
		if got := newPlayback(tt.playback).sentence(); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.playback, got, tt.want)
		}
	}
}
