package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/meter"
	"github.com/millrace/millrace/internal/store"
)

// hostile is a text that must not become markup. The API accepts it in no name, so it is
// in the database before the server starts.
const hostile = `<img src=x onerror="window.hacked=1">`

// A past is the content of a database when its server starts: two channels, one of them
// with sessions.
type past struct {
	channel, quiet string // ARNs
	key            string // the stream key of the first
	failed         string // the stream id of the oldest session, which never went live
	bad            string // of the latest, in which much went wrong
	start, end     time.Time
}

var testScope = store.Scope{Account: "000000000000", Region: "us-west-2"}

// writePast makes the database of a new data folder. The latest session is of an hour two
// days ago, from 40 minutes past the hour: what was measured of it is kept by the hour, and
// in the five minutes after the full hour nothing was.
func writePast(t *testing.T, data string) past {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(data, 0o700))
	db, err := store.Open(t.Context(), filepath.Join(data, "millrace.db"))
	must(err)
	defer db.Close()
	add := func(name, key string) string {
		c := ivs.NewChannel(testScope.Account, testScope.Region)
		c.Name, c.InsecureIngest = name, true
		k := ivs.NewStreamKey(testScope.Account, testScope.Region, c.ARN)
		if key != "" {
			k.Value = key
		}
		must(db.CreateChannel(t.Context(), c, k))
		return c.ARN
	}
	p := past{key: `sk_us-west-2_liveLIVElive_it's;$(id)`}
	p.channel, p.quiet = add(hostile, p.key), add("a-quiet-one", "")
	p.start = time.Now().Add(-48 * time.Hour).Truncate(time.Hour).Add(40 * time.Minute)
	p.end = p.start.Add(59*time.Minute + 40*time.Second)

	session := func(start, end time.Time, live bool, events ...store.Event) (id string) {
		id = ivs.NewStreamID()
		must(db.CreateSession(t.Context(), store.NewSession{ChannelARN: p.channel, StreamID: id, Owner: "n", At: start.Add(-3 * time.Second)}))
		if live {
			must(db.StartStream(t.Context(), id, start, ivs.IngestConfigurations{
				Video: []ivs.VideoConfiguration{{Codec: "avc1.64002A", VideoWidth: 640, VideoHeight: 360, TargetBitrate: 2_500_000, TargetFramerate: 25}},
				Audio: []ivs.AudioConfiguration{{Codec: "mp4a.40.2", Channels: 2, SampleRate: 48000, TargetBitrate: 160_000}},
			}))
		}
		must(db.WriteEnd(t.Context(), store.End{StreamID: id, Events: events, Left: end, Ended: end}))
		return id
	}
	p.failed = session(p.start.Add(-24*time.Hour), p.start.Add(-24*time.Hour), false)
	for n := range 19 { // with the live one they are more than the console lists at first
		at := p.start.Add(time.Duration(n-19) * time.Minute)
		session(at, at.Add(30*time.Second), true)
	}
	event := func(minute int, typ, name, code string) store.Event {
		return store.Event{Type: typ, Name: name, Code: code, At: p.start.Add(time.Duration(minute) * time.Minute)}
	}
	p.bad = session(p.start, p.end, true,
		event(1, ivs.EventStreamState, ivs.StreamTakeoverFailure, "StreamTakeoverInvalidPriority"+hostile),
		event(9, ivs.EventStreamHealth, ivs.StarvationStart, ""), event(11, ivs.EventStreamHealth, ivs.StarvationEnd, ""),
		event(30, ivs.EventLimitBreach, ivs.LimitIngestBitrate, ""))
	must(db.PutMetrics(t.Context(), p.measured(0, 20)))
	must(db.PutMetrics(t.Context(), p.measured(25, 59)))
	return p
}

// measured returns the metrics of some minutes of the bad session, as a meter makes them.
// It starves for two, and there is a rush in one.
func (p past) measured(from, to int) (rows []store.Metrics) {
	const fps = 25
	m, data := meter.Meter{}, make([]byte, 1<<20)
	video, audio := &media.Track{Video: &media.VideoConfig{}}, &media.Track{Audio: &media.AudioConfig{}}
	begin, length := p.start.Add(time.Duration(from)*time.Minute), time.Duration(to-from)*time.Minute
	tick := func(at time.Duration, last bool) {
		for _, b := range m.Tick(begin.Add(at), meter.Totals{Views: 3}, last) {
			rows = append(rows, store.Metrics{StreamID: p.bad, Period: b.Period, Start: b.Start, Data: b.Data})
		}
	}
	for frame := range int(length.Seconds()) * fps {
		at := time.Duration(frame) * time.Second / fps
		bitrate := 2_400_000
		switch minute := from + frame/fps/60; {
		case minute == 9 || minute == 10:
			bitrate = 600_000
		case minute == 30:
			bitrate = 171_000_000
		}
		m.Frame(media.Frame{Track: video, DTS: at, Key: frame%(2*fps) == 0, Data: data[:bitrate/8/fps]}, begin.Add(at))
		m.Frame(media.Frame{Track: audio, DTS: at, Data: data[:128_000/8/fps]}, begin.Add(at))
		if frame%fps == 0 {
			tick(at, false)
		}
	}
	tick(length-time.Second/fps, true)
	return rows
}

// showsPast looks at past sessions of a channel that is live, and comes back.
func (p past) showsPast(b *consoleTest) {
	b.open("about:blank")
	b.open(b.consoleLink(p.channel))
	b.until(`document.querySelectorAll('#sessions li').length == 20`)
	b.enter(`#sessions li:nth-child(2) .row`)
	b.until(fmt.Sprintf(`document.querySelector('#stream-id').textContent == %q && document.activeElement.id == 'channel-name'`, p.bad))
	p.checkPast(b)

	// The address leads to it, and it has no video.
	if eval[bool](b.browser, `document.querySelector('#playback').checkVisibility() || document.querySelector('#video').readyState > 0`) {
		b.t.Error("the live video is there, or still plays")
	}
	b.look("console-past")
	if got, want := b.texts(`[location.hash]`)[0], "#channel="+p.channel+"&session="+p.bad; got != want {
		b.t.Errorf("the address ends in %q, want %q", got, want)
	}
	b.until(`(location.reload(), true)`)
	b.until(fmt.Sprintf(`document.querySelector('#stream-id').textContent == %q && `, p.bad) + allCharts(lineRuns("f")+".length > 0"))

	b.enter(`#older`)
	b.until(`document.querySelectorAll('#sessions li').length == 22 && !document.querySelector('#older')`)
	b.enter(`#sessions li:nth-child(22) .row`)
	b.until(fmt.Sprintf(`document.querySelector('#stream-id').textContent == %q && document.querySelector('#verdict').textContent == 'This session never went live.'`, p.failed))
	b.until(chart("Viewers") + `.querySelector('.chart-summary').textContent == 'Nothing was measured in this time.'`)
	b.look("console-never-live")

	b.enter(`#back`)
	b.until(`(delete window.from, true)`)
	b.until(consolePlays)
	if got := b.texts(`[location.hash]`)[0]; got != "#channel="+p.channel {
		b.t.Errorf("the address ends in %q after the way back", got)
	}
}

// checkPast checks what the page says and draws of the bad session.
func (p past) checkPast(b *consoleTest) {
	const verdict = "The encoder sent more bits a second than the channel allows. Another encoder tried to take over the stream and was refused " +
		"(StreamTakeoverInvalidPriority" + hostile + "). The encoder fell behind once, for 2 min: viewers saw the video stall. " +
		"Meanwhile it delivered 600 kbit/s of the announced 2.5 Mbit/s."
	b.until(`document.querySelector('#verdict').textContent.endsWith('of the announced 2.5 Mbit/s.')`)
	if diff := cmp.Diff(verdict, b.texts(`[document.querySelector('#verdict').textContent]`)[0]); diff != "" {
		b.t.Errorf("-want +got:\n%s", diff)
	}
	events := b.texts(`[...document.querySelectorAll('#events li')].map(li => li.querySelector('.event-kind').textContent + ':' + li.querySelector('.event-type').textContent)`)
	const state, health = ":IVS Stream State Change", ":IVS Stream Health Change"
	if diff := cmp.Diff([]string{state, state, "Error:IVS Limit Breach", health, "Warning" + health, "Warning" + state, state, state}, events); diff != "" {
		b.t.Errorf("events: -want +got:\n%s", diff)
	}

	// The line is interrupted where nothing was measured, and leaves the chart in the rush,
	// whose height would flatten the rest. The charts are shaded where the session starved,
	// from the 9th to the 11th of 60 minutes.
	b.until(lineRuns(chart("Frame rate")) + `.length == 2 && ` + lineRuns(chart("Video bitrate")) + `.length == 3`)
	b.until(allCharts(shadeRuns("f")+".length == 1") + ` && !document.querySelector('#range').checkVisibility()`)
	shade := eval[[][2]float64](b.browser, shadeRuns(chart("Viewers")))[0]
	if from, width := shade[0], shade[1]-shade[0]; from < 0.14 || from > 0.16 || width < 0.03 || width > 0.037 {
		b.t.Errorf("starvation is shaded at %.3f for %.3f of the chart", from, width)
	}
	summaries := b.texts(`[...document.querySelectorAll('#charts figure .chart-summary')].map(e => e.textContent)`)
	if video := summaries[0]; !strings.HasPrefix(video, "600 kbit/s to 171 Mbit/s, ") || !strings.HasSuffix(video, "Mbit/s on average; announced: 2.5 Mbit/s") {
		b.t.Errorf("video: %q", video)
	}
	want := []string{"25 fps throughout; announced: 25 fps", "128 kbit/s throughout; announced: 160 kbit/s", "2 s throughout", "3 throughout"}
	if diff := cmp.Diff(want, summaries[1:]); diff != "" {
		b.t.Errorf("-want +got:\n%s", diff)
	}
	if now := strings.Join(b.texts(`[...document.querySelectorAll('#charts .chart-now')].map(e => e.textContent)`), ""); now != "" {
		b.t.Errorf("beside the names of the charts: %q", now)
	}
}
