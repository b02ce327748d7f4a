package live

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
)

// ask calls one of the two GET routes of a channel.
func (w *world) ask(serve func(*httptest.ResponseRecorder, string, store.Scope) error, name string, out any) error {
	w.Helper()
	r := httptest.NewRecorder()
	if err := serve(r, name, here); err != nil {
		return err
	}
	if err := json.Unmarshal(r.Body.Bytes(), out); err != nil {
		w.Fatalf("%s: %v", r.Body.Bytes(), err)
	}
	return nil
}

func metricsOf(h *Hub, query string) func(*httptest.ResponseRecorder, string, store.Scope) error {
	return func(r *httptest.ResponseRecorder, name string, scope store.Scope) error {
		req := httptest.NewRequest("GET", "/?"+query, nil)
		req.SetPathValue("channel", name)
		return h.ServeMetrics(r, req, scope)
	}
}

func healthOf(h *Hub) func(*httptest.ResponseRecorder, string, store.Scope) error {
	return func(r *httptest.ResponseRecorder, name string, scope store.Scope) error {
		req := httptest.NewRequest("GET", "/", nil)
		req.SetPathValue("channel", name)
		return h.ServeHealth(r, req, scope)
	}
}

// at returns a metric's values by the second since began.
func (o metricsOutput) at(metric string, began time.Time) map[int]float64 {
	values := map[int]float64{}
	for _, v := range o.Metrics[metric] {
		values[int(int64(v[0])-began.Unix())] = v[1]
	}
	return values
}

// The series tell what came, second by second, while it comes and afterwards,
// and to another program that has the database.
func TestMetricsSeries(t *testing.T) {
	bubble(t, ivs.TypeStandard, Limits{}, func(w *world) {
		began := time.Now() // midnight
		e := w.publish(w.key, "")
		e.mustSend(130 * sec)
		check := func(when string, h *Hub) {
			var out metricsOutput
			if err := w.ask(metricsOf(h, "start=0"), w.channel.ARN, &out); err != nil {
				w.Fatal(err)
			}
			rates := out.at("IngestFramerate", began)
			for i := 1; i < 128; i++ {
				if r := rates[i]; r < 29 || r > 31 {
					w.Errorf("%s: %v pictures in second %d", when, r, i)
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
			var minutes metricsOutput
			if err := w.ask(metricsOf(h, "period=60"), w.channel.ARN[strings.LastIndex(w.channel.ARN, "/")+1:], &minutes); err != nil {
				w.Fatal(err)
			}
			if d := minutes.at("LiveInputTime", began)[60]; d < 59.9 || d > 60.1 {
				w.Errorf("%s: %v s of input in a minute", when, d)
			}
			if r := minutes.at("IngestFramerate", began); r[0] < 29.5 || r[60] != 30 {
				w.Errorf("%s: pictures by the minute: %v", when, r)
			}
		}
		check("live", w.Hub)
		// What a program has written that is killed now.
		another := &Hub{Store: w.Store, Log: slog.New(slog.DiscardHandler)}
		var killed metricsOutput
		if err := w.ask(metricsOf(another, "end=4000000000&start=0"), w.channel.ARN, &killed); err != nil {
			w.Fatal(err)
		}
		if n := len(killed.Metrics["IngestBitrate"]); n != 120 {
			w.Errorf("%d seconds of 130 are in the database, want those of two minutes", n)
		}
		e.leave()
		time.Sleep(sec)
		check("over", w.Hub)
		check("other program", another)
	})
}

// Series are kept for as long as they should be, and no longer.
func TestMetricsAreDeleted(t *testing.T) {
	bubble(t, ivs.TypeStandard, Limits{}, func(w *world) {
		e := w.publish(w.key, "")
		e.mustSend(65 * sec)
		e.leave()
		time.Sleep(sec)
		count := func(period string) int {
			var out metricsOutput
			if err := w.ask(metricsOf(w.Hub, "start=0&period="+period), w.channel.ARN, &out); err != nil {
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

// The health of a channel is told with what was announced and what comes. Of
// channels of others nothing is told.
func TestHealthReport(t *testing.T) {
	bubble(t, ivs.TypeStandard, Limits{}, func(w *world) {
		var out healthOutput
		if err := w.ask(healthOf(w.Hub), w.channel.ARN, &out); err != nil || out.State != "OFFLINE" || out.Health != "" {
			w.Errorf("before the broadcast: %+v, %v", out, err)
		}
		e := w.publish(w.key, "")
		e.mustSend(12 * sec)
		if err := w.ask(healthOf(w.Hub), w.channel.ARN, &out); err != nil {
			w.Fatal(err)
		}
		if out.State != "LIVE" || out.Health != ivs.HealthHealthy || out.StreamID != w.session().StreamID || out.Announced.Framerate != 30 ||
			out.Announced.VideoBitrate != 400e3 || out.Measured.Framerate < 29 || out.Measured.KeyframeInterval < 1.9 || !strings.HasPrefix(out.Sentence, "The pictures come in time") {
			w.Errorf("%+v", out)
		}
		time.Sleep(8 * sec)
		if err := w.ask(healthOf(w.Hub), w.channel.ARN, &out); err != nil || out.Health != ivs.HealthStarving || !strings.HasPrefix(out.Sentence, "Nothing has come") {
			w.Errorf("8 s into a stall: %+v, %v", out, err)
		}
		for _, name := range []string{
			"nosuchchannel", "arn:aws:ivs:eu-west-1:123456789012:channel/" + w.channel.ARN[len(w.channel.ARN)-12:],
			strings.Replace(w.channel.ARN, "123456789012", "210987654321", 1), strings.Replace(w.channel.ARN, "channel/", "stream-key/", 1), "../x",
		} {
			if err := w.ask(healthOf(w.Hub), name, &out); !ivs.Is(err, ivs.NotFound) {
				w.Errorf("%s: %v", name, err)
			}
			if err := w.ask(metricsOf(w.Hub, ""), name, &out); !ivs.Is(err, ivs.NotFound) {
				w.Errorf("%s: %v", name, err)
			}
		}
		e.conn.Close()
	})
}

// A database that takes nothing for a while stops no stream, and misses no
// event and no figure in the end.
func TestDatabaseAway(t *testing.T) {
	bubble(t, ivs.TypeStandard, Limits{}, func(w *world) {
		began := time.Now()
		e := w.publish(w.key, "")
		e.mustSend(50 * sec)
		s := w.Channel(w.channel.ARN)
		away, cancel := context.WithCancel(w.Context())
		cancel()
		s.record(store.Event{Type: ivs.EventStreamHealth, Name: ivs.StarvationStart, At: time.Now()})
		w.writeChanges(away, []change{{s, s.journal.tryTake()}})
		w.save(away, []store.Metrics{{StreamID: s.StreamID, ChannelARN: w.channel.ARN, Period: 1, Start: 60, Data: []byte{1, 0, 0}}})
		e.mustSend(3 * sec)
		e.mustSend(10 * sec)
		rows, err := w.Store.Metrics(w.Context(), w.channel.ARN, 1, 60, 61)
		if err != nil || len(rows) != 1 {
			w.Errorf("%d rows of figures, %v", len(rows), err)
		}
		e.leave()
		time.Sleep(sec)
		want := []string{"Session Created 0", "Stream Start 0", "Starvation Start 50", "Session Ended 63", "Stream End 63"}
		if diff := cmp.Diff(want, w.events(began)); diff != "" {
			w.Error(diff)
		}
	})
}
