package meter

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/media"
)

// feed brings a video frame of 1,000 bytes every 40 ms, a key frame every two
// seconds, and an audio frame of 100 bytes with each, and collects the blocks.
func feed(m *Meter, begin time.Time, length time.Duration) (blocks []Block) {
	video, audio := &media.Track{Video: &media.VideoConfig{}}, &media.Track{Audio: &media.AudioConfig{}}
	for at := time.Duration(0); at < length; at += 40 * time.Millisecond {
		m.Frame(media.Frame{Track: video, DTS: second + at, Key: at%(2*second) == 0, Data: make([]byte, 1000)}, begin.Add(at))
		m.Frame(media.Frame{Track: audio, DTS: second + at, Key: true, Data: make([]byte, 100)}, begin.Add(at))
		if at%second == 0 {
			n := int64(at / second)
			blocks = append(blocks, m.Tick(begin.Add(at), Totals{Views: 7, Reporting: 4, Stalled: 1, Startup: 500 * time.Millisecond, Repairs: n, Parts: 3 * n, PartBytes: 3000 * n, PartDelay: time.Duration(n) * second}, false)...)
		}
	}
	return append(blocks, m.Tick(begin.Add(length), Totals{Views: 7, Repairs: int64(length / second)}, true)...)
}

// A session leaves a block for each minute and hour that it was in, and the
// points in them say what came.
func TestSeries(t *testing.T) {
	m := &Meter{}
	begin := time.Date(2026, 7, 1, 12, 58, 30, 0, time.UTC)
	newest := map[[2]int64]Block{} // the last of those with the same start replaces the others
	for _, b := range feed(m, begin, 150*second) {
		newest[[2]int64{b.Period, b.Start}] = b
	}
	hour := begin.Truncate(time.Hour).Unix()
	counts := map[[2]int64]int{}
	for key, b := range newest {
		points, err := b.Points()
		if err != nil {
			t.Fatal(err)
		}
		counts[[2]int64{key[0], key[1] - hour}] = len(points)
	}
	want := map[[2]int64]int{{Second, 3480}: 30, {Second, 3540}: 60, {Second, 3600}: 60, {Minute, 0}: 2, {Minute, 3600}: 1}
	want[[2]int64{Second, 3660}], want[[2]int64{Minute, 3600}] = 1, 2 // the second in which it ended
	if diff := cmp.Diff(want, counts); diff != "" {
		t.Error(diff)
	}
	for _, key := range [][2]int64{{Second, hour + 3540}, {Minute, hour}} {
		points, _ := newest[key].Points()
		p := points[1]
		repairs, parts, input, delivered := float32(1), float32(1000), float32(1), float32(7)
		if key[0] == Minute {
			repairs, input, delivered = 60, 60, 420 // they add up
		}
		got := []float32{p.Values[IngestVideoBitrate], p.Values[IngestAudioBitrate], p.Values[IngestBitrate], p.Values[IngestFramerate],
			p.Values[ConcurrentViews], p.Values[TimelineRepairs], p.Values[PartSize], p.Values[LiveInputTime], p.Values[LiveDeliveredTime],
			p.Values[StalledViewers], p.Values[StartupTime]}
		if diff := cmp.Diff([]float32{200e3, 20e3, 220e3, 25, 7, repairs, parts, input, delivered, 25, 0.5}, got); diff != "" {
			t.Errorf("period %d: %s", key[0], diff)
		}
	}
}

// The interval between key frames is shown in the second in which one comes, and
// once in the mean of a minute.
func TestKeyframeInterval(t *testing.T) {
	m := &Meter{}
	begin := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	var seen []float32
	for _, b := range feed(m, begin, 61*second) {
		points, err := b.Points()
		if err != nil {
			t.Fatal(err)
		}
		if b.Period == Minute && points[0].Values[KeyframeInterval] != 2 {
			t.Errorf("of the minute: %v", points[0].Values[KeyframeInterval])
		}
		for _, p := range points[:min(6, len(points))] {
			if b.Period == Second && b.Start == begin.Unix() {
				seen = append(seen, p.Values[KeyframeInterval])
			}
		}
	}
	none := float32(math.NaN())
	if diff := cmp.Diff([]float32{none, none, 2, none, 2, none}, seen, cmp.Comparer(func(a, b float32) bool { return a == b || a != a && b != b })); diff != "" {
		t.Error(diff)
	}
}

// Seconds without a frame are zeros, not holes.
func TestSilentSeconds(t *testing.T) {
	m := &Meter{}
	begin := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	feed(m, begin, 3*second)
	m.Tick(begin.Add(10*second), Totals{}, false)
	points := m.Recent(Second)
	if len(points) != 10 {
		t.Fatalf("%d points of 10 seconds", len(points))
	}
	for i, p := range points {
		if p.Time != begin.Unix()+int64(i) || (p.Values[IngestBitrate] > 0) != (i < 3) {
			t.Errorf("point %d: %v at %d", i, p.Values[IngestBitrate], p.Time)
		}
	}
}

// What was lost is no input, though the timeline advances by it.
func TestLiveInputTime(t *testing.T) {
	m := &Meter{}
	begin := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	feed(m, begin, 10*second)
	f := media.Frame{Track: &media.Track{Video: &media.VideoConfig{}}, Data: make([]byte, 10)}
	for at := 20 * second; at < 30*second; at += 2 * second { // a slide show
		f.DTS = second + at
		m.Frame(f, begin.Add(at))
	}
	m.Tick(begin.Add(30*second), Totals{}, true)
	sum := float32(0)
	for _, p := range m.Recent(Second) {
		sum += p.Values[LiveInputTime]
	}
	if sum < 17.9 || sum > 18 {
		t.Errorf("%v s of input in 10 s of video, 10 s of nothing, and five frames in 10 s", sum)
	}
}

// Memory keeps at most two minutes of seconds and an hour of minutes.
func TestRecentIsBounded(t *testing.T) {
	m := &Meter{}
	feed(m, time.Date(2026, 7, 1, 12, 30, 0, 0, time.UTC), 100*time.Minute)
	if s, mins := len(m.Recent(Second)), len(m.Recent(Minute)); s > 121 || mins > 60 {
		t.Errorf("%d seconds and %d minutes in memory", s, mins)
	}
}

// A damaged block is an error; one of a version with fewer metrics is not.
func TestBlock(t *testing.T) {
	good := encode(60, Second, []Point{{Time: 61}, {Time: 119}})
	for name, b := range map[string][]byte{
		"empty": nil, "short": good[:2], "cut": good[:len(good)-1], "long": append(good[:len(good):len(good)], 0),
		"other version": append([]byte{9}, good[1:]...), "too many points": append([]byte{1, 0, 61}, make([]byte, 61)...),
	} {
		if _, err := (Block{Second, 60, b}).Points(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	points, err := Block{Second, 60, []byte{1, 1, 1, 5, 0, 0, 128, 63}}.Points()
	if err != nil || points[0].Time != 65 || points[0].Values[0] != 1 || points[0].Values[1] == points[0].Values[1] {
		t.Errorf("old block: %v, %v", points, err)
	}
}

// A minute costs two blocks and no more.
func BenchmarkTick(b *testing.B) {
	b.ReportAllocs()
	m := &Meter{}
	begin := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	f := media.Frame{Track: &media.Track{Video: &media.VideoConfig{}}}
	for i := 0; b.Loop(); i++ {
		now := begin.Add(time.Duration(i) * second)
		f.DTS = now.Sub(begin)
		m.Frame(f, now)
		m.Judge(now)
		m.Tick(now, Totals{}, false)
	}
}
