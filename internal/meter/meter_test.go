package meter

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/clocktest"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/media/mediatest"
)

// noon is not at the beginning of a second, as nothing ever is.
var noon = time.Date(2026, 7, 1, 12, 0, 0, 300e6, time.UTC)

const second = time.Second

// encoded is a minute of real H.264 and AAC at that frame rate, with the bits that
// the rate control of the encoder gives them. It begins at 1 s.
func encoded(t testing.TB, video string) []media.Frame {
	t.Helper()
	return mediatest.Shift(mediatest.Encode(t, "-f lavfi -i sine=sample_rate=48000 -f lavfi -i "+video+" -t 60 -preset ultrafast -c:a aac -b:a 64k"), second)
}

const (
	busy  = "testsrc2=size=320x240:rate=30 -c:v libx264 -b:v 800k -maxrate 800k -bufsize 400k -g 60"
	busy2 = "testsrc2=size=320x240:rate=25 -c:v libx264 -b:v 800k -g 50"
	talk  = "color=size=320x240:rate=30 -c:v libx264 -b:v 800k -g 60" // an image without change
)

var announced = Announced{VideoBitrate: 800e3, AudioBitrate: 64e3, Framerate: 30}

// A delivery says when a frame of the given DTS arrives, both since the start;
// false if never.
type delivery func(f media.Frame, dts time.Duration) (at time.Duration, ok bool)

// uplink returns the delivery of a slow uplink, whose
// bytes queue up from since to until, and then arrive at once.
func uplink(bitsPerSecond float64, since, until time.Duration) delivery {
	var free time.Duration
	return func(f media.Frame, dts time.Duration) (time.Duration, bool) {
		free = max(free, dts)
		rate := 20e6
		if free >= since && free < until {
			rate = bitsPerSecond
		}
		free += time.Duration(float64(len(f.Data)*8) / rate * 1e9)
		return free, true
	}
}

// run lets frames arrive and judges once a second, as a session does. The
// changes are noted as "STARVING from 10.0", in seconds of the broadcast.
func run(t *testing.T, a Announced, frames []media.Frame, d delivery, until time.Duration) (m *Meter, changes []string, health []Health) {
	t.Helper()
	m = &Meter{}
	m.Announce(a)
	next := time.Duration(0)
	tick := func(to time.Duration) {
		for ; next <= to; next += second {
			now := noon.Add(next)
			h, cs := m.Judge(now)
			for _, c := range cs {
				changes = append(changes, []string{"?", "HEALTHY", "STARVING"}[c.Health]+" from "+c.At.Sub(noon).Round(100*time.Millisecond).String())
			}
			health = append(health, h)
			m.Tick(now, Totals{}, false)
		}
	}
	for _, f := range frames {
		at, ok := d(f, f.DTS-second)
		if !ok || at > until {
			continue
		}
		tick(at)
		m.Frame(f, noon.Add(at))
	}
	tick(until)
	return m, changes, health
}

func inTime(_ media.Frame, dts time.Duration) (time.Duration, bool) { return dts, true }

// deliveries are how a minute of video arrives, and what health it has.
var deliveries = []struct {
	name      string
	tape      string
	announced Announced
	delivery  delivery
	want      []string
	sentence  string // what the report says at the end
}{
	{"in time", busy, announced, inTime, nil, "Video arrives in time"},
	{"nothing announced", busy, Announced{}, inTime, nil, "Video arrives in time"},
	{"25 frames announced as 30", busy2, announced, inTime, nil, "The encoder announced 30 frames per second"},
	{"talk show with a twentieth of the bits", talk, announced, inTime, nil, "Video arrives in time: 0.0 Mbit/s, 30 frames per second"},
	{"jitter of a second", busy, announced, func(f media.Frame, dts time.Duration) (time.Duration, bool) {
		return (dts + second - 1).Truncate(second), true
	}, nil, "in time"},
	{"each GOP in one piece", busy, announced, func(f media.Frame, dts time.Duration) (time.Duration, bool) {
		return dts.Truncate(2*second) + 2*second, true
	}, nil, "in time"},
	{"clock that loses 0.02 %", busy, announced, func(f media.Frame, dts time.Duration) (time.Duration, bool) {
		return dts + dts/5000, true
	}, nil, "in time"},
	{"uplink of half the bits for 20 s", busy, announced, uplink(430e3, 20*second, 40*second),
		[]string{"STARVING from 20.9s", "HEALTHY from 40s"}, "in time"},
	{"uplink of half the bits to the end", busy, announced, uplink(430e3, 20*second, time.Hour),
		[]string{"STARVING from 20.9s"}, "The encoder announced 0.8 Mbit/s and delivers 0.4 Mbit/s; the video will stall."},
	{"20 s of nothing, then what had queued up", busy, announced, func(f media.Frame, dts time.Duration) (time.Duration, bool) {
		if dts > 20*second {
			return max(40*second, dts), true
		}
		return dts, true
	}, []string{"STARVING from 20s", "HEALTHY from 40s"}, "in time"},
	{"20 s of nothing, then the encoder continues where it was", busy, announced, func(f media.Frame, dts time.Duration) (time.Duration, bool) {
		if dts > 20*second {
			return dts + 20*second, true
		}
		return dts, true
	}, []string{"STARVING from 20s", "HEALTHY from 40s"}, "in time"},
	{"20 s of nothing, which is lost", busy, announced, func(f media.Frame, dts time.Duration) (time.Duration, bool) {
		return dts, dts < 20*second || dts > 40*second
	}, []string{"STARVING from 20s", "HEALTHY from 40s"}, "in time"},
	{"frozen to the end", busy, announced, func(f media.Frame, dts time.Duration) (time.Duration, bool) {
		return dts, dts < 20*second
	}, []string{"STARVING from 20s"}, "Nothing has come from the encoder for 40 seconds"},
	{"video frozen, audio continues", busy, announced, func(f media.Frame, dts time.Duration) (time.Duration, bool) {
		return dts, dts < 20*second || !f.Track.IsVideo()
	}, []string{"STARVING from 20s"}, "No video has come for 40 seconds while audio continues"},
	{"two stalls of a second", busy, announced, func(f media.Frame, dts time.Duration) (time.Duration, bool) {
		for _, s := range []time.Duration{20 * second, 30 * second} {
			if dts > s && dts < s+second {
				return s + second, true
			}
		}
		return dts, true
	}, nil, "in time"},
	{"frames dropped for want of bandwidth", busy, announced, func() delivery {
		n := 0
		return func(f media.Frame, dts time.Duration) (time.Duration, bool) {
			if f.Track.IsVideo() {
				n++
			}
			return dts, !f.Track.IsVideo() || dts < 15*second || dts > 40*second || n%4 == 0
		}
	}(), []string{"STARVING from 14.7s", "HEALTHY from 40s"}, "in time"},
}

// Whatever arrives in time is HEALTHY, and whatever does not is STARVING from
// when it began to be late until it is in time again; nothing flaps.
func TestHealth(t *testing.T) {
	for _, tt := range deliveries {
		t.Run(tt.name, func(t *testing.T) {
			m, changes, health := run(t, tt.announced, encoded(t, tt.tape), tt.delivery, 60*second)
			if diff := cmp.Diff(tt.want, changes); diff != "" {
				t.Error(diff)
			}
			if health[1] != Unknown || health[4] != Healthy {
				t.Errorf("health by the second begins %v", health[:6])
			}
			if got := m.Report(noon.Add(60 * second)).Sentence; !strings.Contains(got, tt.sentence) {
				t.Errorf("sentence %q, want %q in it", got, tt.sentence)
			}
		})
	}
}

// Starvation is known 4 s after the last video frame, and its end 6 s after the
// first one, at the latest.
func TestHealthIsKnownSoon(t *testing.T) {
	_, _, health := run(t, announced, encoded(t, busy), func(f media.Frame, dts time.Duration) (time.Duration, bool) {
		return dts, dts < 20*second || dts > 30*second
	}, 50*second)
	var starving []int
	for i, h := range health {
		if h == Starving {
			starving = append(starving, i)
		}
	}
	if first, last := starving[0], starving[len(starving)-1]; first > 24 || last > 35 || len(starving) != last-first+1 {
		t.Errorf("STARVING in the seconds %v, of a pause from 20 to 30", starving)
	}
}

// The frame after a silence reports it, even if the meter was not read meanwhile.
func TestLateTick(t *testing.T) {
	m := &Meter{}
	for _, f := range encoded(t, busy) {
		at := f.DTS - second
		if at < 10*second || at > 20*second && at < 30*second {
			m.Frame(f, noon.Add(at))
		}
		if at < 3*second {
			m.Judge(noon.Add(at))
		}
	}
	_, changes := m.Judge(noon.Add(30 * second))
	if len(changes) != 2 || changes[0].Health != Starving || changes[1].At.Sub(noon).Round(second) != 20*second {
		t.Errorf("changes %+v", changes)
	}
}

// A new encoder has a schedule of its own, whatever the timeline does.
func TestNewEncoder(t *testing.T) {
	m := &Meter{}
	for _, f := range encoded(t, busy) {
		at := f.DTS - second
		if at > 30*second {
			break
		}
		if at > 15*second && m.schedule.dts < 16*second {
			m.NewEncoder()
		}
		if at > 15*second {
			at += 5 * second
		}
		m.Frame(f, noon.Add(at))
		if h, changes := m.Judge(noon.Add(at)); len(changes) > 0 || at > 3*second && h != Healthy {
			t.Fatalf("%v, %v at %v", h, changes, at)
		}
	}
}

// Bits are counted over a window: a burst is no breach, nor is what comes in a
// rush after a stall, and too much is.
func TestBitrate(t *testing.T) {
	all := encoded(t, busy)
	highest := func(d delivery) (top int64) {
		m := &Meter{}
		for _, f := range all {
			at, _ := d(f, f.DTS-second)
			m.Frame(f, noon.Add(at))
			if bits, ok := m.Bitrate(noon.Add(at), 10*second); ok {
				top = max(top, bits)
			}
		}
		return top
	}
	plain := highest(inTime)
	if plain < 700e3 || plain > 1000e3 {
		t.Errorf("measured %d bit/s of an encoder that was told 864,000", plain)
	}
	rush := highest(func(f media.Frame, dts time.Duration) (time.Duration, bool) {
		if dts > 20*second {
			return max(40*second, dts), true
		}
		return dts, true
	})
	if rush > plain*11/10 {
		t.Errorf("measured %d bit/s in a rush after a stall, %d without", rush, plain)
	}
	if _, ok := new(Meter).Bitrate(noon, 10*second); ok {
		t.Error("a bit rate of nothing")
	}
}

// A wall clock that is set back, or far forward, without a monotonic clock beside
// it, does no lasting harm: what comes after it is measured and judged as before.
func TestWallClockSet(t *testing.T) {
	frames := encoded(t, busy)
	last := frames[len(frames)-1].DTS
	for _, step := range []time.Duration{0, -time.Hour, time.Hour, 1000 * time.Hour} {
		m := &Meter{}
		var now time.Time
		var health Health
		judged := time.Duration(0)
		for _, f := range frames {
			now = noon.Add(f.DTS)
			if f.DTS > last/2 {
				now = now.Add(step)
			}
			m.Frame(f, now)
			if f.DTS >= judged+second {
				judged = f.DTS
				health, _ = m.Judge(now)
			}
		}
		if r := m.Report(now); health != Healthy || r.Measured.VideoBitrate < 700e3 || r.Measured.VideoBitrate > 1000e3 || r.Measured.Framerate < 28 || r.Measured.Framerate > 31 {
			t.Errorf("set by %v: health %v, %+v", step, health, r.Measured)
		}
	}
}

// A wall clock that is set is not seen at all where a monotonic one runs beside
// it, as in the process: no starvation, no second that is long or missing.
func TestWallClockSetBesideMonotonic(t *testing.T) {
	frames := encoded(t, busy)
	last := frames[len(frames)-1].DTS
	began := time.Now()
	for _, step := range []time.Duration{20 * second, -20 * second, -time.Hour, time.Hour} {
		m := &Meter{}
		var now time.Time
		judged := time.Duration(0)
		for _, f := range frames {
			now = began.Add(f.DTS)
			if f.DTS > last/2 {
				now = clocktest.Set(now, step)
			}
			m.Frame(f, now)
			if f.DTS < judged+second {
				continue
			}
			judged = f.DTS
			m.Tick(now, Totals{}, false)
			if health, changes := m.Judge(now); len(changes) > 0 || health == Starving {
				t.Fatalf("set by %v: health %v, changes %v, %v after the beginning", step, health, changes, f.DTS)
			}
		}
		points := m.Recent(Second)
		for i := 2; i < len(points); i++ { // the first second is not whole
			if p := points[i]; p.Time != points[i-1].Time+1 || p.Values[IngestFramerate] < 28 || p.Values[IngestFramerate] > 32 {
				t.Errorf("set by %v: point %d is at %d with %v frames, the one before at %d", step, i, p.Time, p.Values[IngestFramerate], points[i-1].Time)
			}
		}
		if len(points) < 20 {
			t.Errorf("set by %v: %d points", step, len(points))
		}
	}
}

// A stream whose key frames do not come again is said to show new viewers nothing.
func TestNoKeyFrames(t *testing.T) {
	m := &Meter{}
	now := noon
	for i, f := range encoded(t, busy) {
		f.Key = f.Key && i < 10
		now = noon.Add(f.DTS)
		m.Frame(f, now)
		m.Judge(now)
	}
	if got := m.Report(now).Sentence; !strings.Contains(got, "No key frame has come for") {
		t.Errorf("sentence %q", got)
	}
}

func BenchmarkFrame(b *testing.B) {
	b.ReportAllocs()
	all := encoded(b, busy)
	m := &Meter{}
	length := all[len(all)-1].DTS
	for i := 0; b.Loop(); i++ {
		f := all[i%len(all)]
		f.DTS += time.Duration(i/len(all)) * length
		m.Frame(f, noon.Add(f.DTS))
	}
}
