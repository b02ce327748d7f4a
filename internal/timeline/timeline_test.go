package timeline_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/timeline"
)

var (
	video = &media.Track{Codec: media.H264, Video: &media.VideoConfig{}}
	audio = &media.Track{Codec: media.AAC, Audio: &media.AudioConfig{}}
	noon  = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
)

const ms = time.Millisecond

// An encoder sends 30 video frames and 46.875 AAC frames a second. clock says what
// its clock shows at a time since its start; skip leaves frames out.
type encoder struct {
	clock      func(at time.Duration) time.Duration
	audioClock func(at time.Duration) time.Duration // nil: as clock
	skip       func(track *media.Track, at time.Duration) bool
	length     time.Duration
}

// A shot is a frame that came out, and when it went in.
type shot struct {
	track    *media.Track
	at       time.Duration
	dts, pts time.Duration
	gap      bool
}

func (e encoder) run(c *timeline.Clock) (shots []shot) {
	v, a := 0, 0
	for {
		at, track := time.Duration(v)*time.Second/30, video
		if aat := time.Duration(a) * 1024 * time.Second / 48000; aat < at {
			at, track = aat, audio
			a++
		} else {
			v++
		}
		if at > e.length {
			return shots
		}
		if e.skip != nil && e.skip(track, at) {
			continue
		}
		clock := e.clock
		if track == audio && e.audioClock != nil {
			clock = e.audioClock
		}
		raw := clock(at).Truncate(ms)
		f := media.Frame{Track: track, DTS: raw, PTS: raw + 66*ms}
		if out, gap, ok := c.Repair(f, noon.Add(at)); ok {
			shots = append(shots, shot{track, at, out.DTS, out.PTS, gap})
		}
	}
}

// from is a clock that shows base at the start.
func from(base time.Duration) func(time.Duration) time.Duration {
	return func(at time.Duration) time.Duration { return base + at }
}

// modulo is a clock that starts again at wrap.
func modulo(base, wrap time.Duration) func(time.Duration) time.Duration {
	return func(at time.Duration) time.Duration { return (base + at) % wrap }
}

// jump is a clock that is set by d at the given time.
func jump(when, d time.Duration) func(time.Duration) time.Duration {
	return func(at time.Duration) time.Duration {
		if at >= when {
			return time.Hour + at + d
		}
		return time.Hour + at
	}
}

const (
	field24 = (1 << 24) * ms
	field32 = (1 << 32) * ms
)

func TestRepair(t *testing.T) {
	for _, tt := range []struct {
		name string
		encoder
		want timeline.Counters
		off  time.Duration // how far a frame may stand from the wall clock
	}{
		{"audio", encoder{clock: from(0)}, timeline.Counters{}, 2 * ms},
		{"clock that began long ago", encoder{clock: from(400 * time.Hour)}, timeline.Counters{}, 2 * ms},
		{"just below the 24-bit field", encoder{clock: from(field24 - 31*time.Second)}, timeline.Counters{}, 2 * ms},
		{"past the 24-bit field, extended", encoder{clock: from(field24 - 5*time.Second)}, timeline.Counters{}, 2 * ms},
		{"wraps at 24 bits", encoder{clock: modulo(field24-5*time.Second, field24)}, timeline.Counters{timeline.Wrap: 2}, 2 * ms},
		{"just below the 32-bit field", encoder{clock: modulo(field32-31*time.Second, field32)}, timeline.Counters{}, 2 * ms},
		{"wraps at 32 bits", encoder{clock: modulo(field32-5*time.Second, field32)}, timeline.Counters{timeline.Wrap: 2}, 2 * ms},
		{"set back by 30 s", encoder{clock: jump(10*time.Second, -30*time.Second)}, timeline.Counters{timeline.JumpBack: 1}, 50 * ms},
		{"set forward by 100 s", encoder{clock: jump(10*time.Second, 100*time.Second)}, timeline.Counters{timeline.JumpForward: 1}, 50 * ms},
		{"set back to zero", encoder{clock: jump(10*time.Second, -time.Hour-10*time.Second)}, timeline.Counters{timeline.JumpBack: 1}, 50 * ms},
		{"silent for 10 s", encoder{clock: from(0), skip: silent(10*time.Second, 20*time.Second)}, timeline.Counters{timeline.Gap: 1}, 2 * ms},
		{"no audio", encoder{clock: from(0), skip: without(audio, 0, time.Hour)}, timeline.Counters{}, 2 * ms},
		{"audio 15 s late", encoder{clock: from(0), skip: without(audio, 0, 15*time.Second)}, timeline.Counters{}, 2 * ms},
		{"audio stops", encoder{clock: from(0), skip: without(audio, 10*time.Second, time.Hour)}, timeline.Counters{}, 2 * ms},
		{"video freezes while audio continues", encoder{clock: from(0), skip: without(video, 10*time.Second, 18*time.Second)}, timeline.Counters{}, 2 * ms},
		{"tracks on two clocks", encoder{clock: from(0), audioClock: from(time.Hour)}, timeline.Counters{timeline.Skew: 1}, 50 * ms},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.length = 30 * time.Second
			c := &timeline.Clock{}
			shots := tt.run(c)
			if diff := cmp.Diff(tt.want, c.Counters); diff != "" {
				t.Errorf("counters (-want +got):\n%s", diff)
			}
			check(t, shots, tt.off)
		})
	}
}

// check holds a repaired stream against the wall clock and itself.
func check(t *testing.T, shots []shot, off time.Duration) {
	t.Helper()
	last := map[*media.Track]time.Duration{}
	for _, s := range shots {
		if d := s.dts - timeline.Start - s.at; d > off || d < -off {
			t.Fatalf("frame of %v at %v stands at %v", s.track.Codec, s.at, s.dts-timeline.Start)
		}
		if s.dts <= last[s.track] {
			t.Fatalf("frame of %v at %v: DTS %v is not after %v", s.track.Codec, s.at, s.dts, last[s.track])
		}
		if s.pts-s.dts != 66*ms {
			t.Fatalf("frame of %v at %v: PTS - DTS = %v, want the encoder's 66 ms", s.track.Codec, s.at, s.pts-s.dts)
		}
		last[s.track] = s.dts
	}
}

func silent(since, until time.Duration) func(*media.Track, time.Duration) bool {
	return func(_ *media.Track, at time.Duration) bool { return at >= since && at < until }
}

func without(track *media.Track, since, until time.Duration) func(*media.Track, time.Duration) bool {
	return func(t *media.Track, at time.Duration) bool { return t == track && at >= since && at < until }
}

func TestGapIsMarkedOnce(t *testing.T) {
	c := &timeline.Clock{}
	gaps := 0
	for _, s := range (encoder{clock: from(0), skip: silent(5*time.Second, 15*time.Second), length: 20 * time.Second}).run(c) {
		if s.gap {
			gaps++
		}
	}
	if gaps != 1 {
		t.Errorf("%d frames marked as the first after a gap, want 1", gaps)
	}
}

// One frame at a time, where the exact outcome matters.
func TestRepairFrame(t *testing.T) {
	type step struct {
		track    *media.Track
		raw, cts int // milliseconds
		at       int // milliseconds
		want     int // milliseconds on the timeline; -1: dropped
		wantCTS  int
	}
	for _, tt := range []struct {
		name  string
		steps []step
		want  timeline.Counters
	}{
		{"equal DTS", []step{{video, 0, 0, 0, 1000, 0}, {video, 0, 0, 0, 1001, 0}, {video, 33, 0, 33, 1033, 0}}, timeline.Counters{timeline.Equal: 1}},
		{"backward DTS", []step{{video, 100, 0, 0, 1000, 0}, {video, 133, 0, 33, 1033, 0}, {video, 120, 0, 66, 1049, 0}, {video, 166, 0, 99, 1066, 0}}, timeline.Counters{timeline.Backward: 1}},
		{"negative composition", []step{{video, 0, -33, 0, 1000, -33}, {video, 33, -66, 33, 1033, -66}}, timeline.Counters{}},
		{"absurd composition", []step{{video, 0, 8388607, 0, 1000, 0}, {video, 33, -8388608, 33, 1033, 0}}, timeline.Counters{timeline.Composition: 2}},
		{"audio begins before the video", []step{{video, 500, 0, 0, 1000, 0}, {audio, 400, 0, 1, 900, 0}}, timeline.Counters{}},
		{"audio begins too early", []step{{video, 5000, 0, 0, 1000, 0}, {audio, 3000, 0, 1, -1, 0}, {audio, 5001, 0, 1, 1001, 0}}, timeline.Counters{timeline.Dropped: 1}},
		{"frame from before the 32-bit wrap, late", []step{{video, 1<<32 - 20, 0, 0, 1000, 0}, {video, 13, 0, 33, 1033, 0}, {video, 1<<32 - 5, 0, 40, 1034, 0}, {video, 46, 0, 66, 1066, 0}}, timeline.Counters{timeline.Wrap: 3, timeline.Backward: 1}},
		{"burst after a stall", []step{{video, 0, 0, 0, 1000, 0}, {video, 33, 0, 8000, 1033, 0}, {video, 66, 0, 8000, 1066, 0}}, timeline.Counters{}},
		{"video frames dropped by the encoder", []step{{video, 0, 0, 0, 1000, 0}, {audio, 0, 0, 0, 1000, 0}, {audio, 2000, 0, 2000, 3000, 0}, {audio, 4000, 0, 4000, 5000, 0}, {video, 4033, 0, 1000, 5033, 0}}, timeline.Counters{}},
		{"clock that stands", []step{{video, 0, 0, 0, 1000, 0}, {video, 40, 0, 40, 1040, 0}, {video, 40, 0, 80, 1060, 0}, {video, 40, 0, 120, 1080, 0}, {video, 40, 0, 160, 1160, 0}, {video, 40, 0, 190, 1190, 0}, {video, 240, 0, 240, 1240, 0}}, timeline.Counters{timeline.Equal: 4}},
		{"clock that stood and continues", []step{{video, 0, 0, 0, 1000, 0}, {video, 0, 0, 400, 1020, 0}, {video, 0, 0, 800, 1040, 0}, {video, 0, 0, 1200, 2200, 0}, {video, 40, 0, 1240, 2240, 0}}, timeline.Counters{timeline.Equal: 3, timeline.JumpBack: 1}},
		{"DTS too early, PTS as it should be", []step{{video, 0, 80, 0, 1000, 80}, {video, 40, 80, 40, 1040, 80}, {video, 40, 120, 80, 1060, 100}, {video, 120, 80, 120, 1120, 80}}, timeline.Counters{timeline.Equal: 1}},
		{"a million frames a second", []step{{video, 0, 0, 0, 1000, 0}, {audio, 0, 0, 0, 1000, 0}, {audio, 0, 0, 0, 1001, 0}, {audio, 0, 0, 0, 1002, 0}, {audio, 0, 0, 0, 1003, 0}}, timeline.Counters{timeline.Equal: 3}},
		{"24-bit field wraps between the tracks", []step{{video, 1<<24 - 10, 0, 0, 1000, 0}, {audio, 6, 0, 16, 1016, 0}, {video, 23, 0, 33, 1033, 0}}, timeline.Counters{timeline.Wrap: 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := &timeline.Clock{}
			for i, s := range tt.steps {
				raw := time.Duration(s.raw) * ms
				f, _, ok := c.Repair(media.Frame{Track: s.track, DTS: raw, PTS: raw + time.Duration(s.cts)*ms}, noon.Add(time.Duration(s.at)*ms))
				if !ok {
					f.DTS = -1 * ms
					f.PTS = f.DTS
				}
				if got, cts := int(f.DTS/ms), int((f.PTS-f.DTS)/ms); got != s.want || cts != s.wantCTS {
					t.Errorf("frame %d: DTS %d, composition %d; want %d, %d", i, got, cts, s.want, s.wantCTS)
				}
			}
			if diff := cmp.Diff(tt.want, c.Counters); diff != "" {
				t.Errorf("counters (-want +got):\n%s", diff)
			}
		})
	}
}

// Crystals are off by up to 100 parts in a million, 17 seconds in two days. The
// epoch follows, whatever the network adds; the times stay the encoder's.
func TestDrift(t *testing.T) {
	for _, ppm := range []time.Duration{-100, 0, 100, 500} {
		c := &timeline.Clock{}
		var worst time.Duration
		for at := time.Duration(0); at < 48*time.Hour; at += 100 * ms {
			raw := (at + at/1_000_000*ppm).Truncate(ms) % field24
			delay := (at / (100 * ms) * 7919 % 200) * ms // one frame in 200 is not delayed
			f, _, _ := c.Repair(media.Frame{Track: video, DTS: raw, PTS: raw}, noon.Add(at+delay))
			off := c.Epoch().Add(f.DTS).Sub(noon.Add(at))
			worst = max(worst, off, -off)
		}
		if worst > 200*ms {
			t.Errorf("at %d ppm, program dates were up to %v off", ppm, worst)
		}
		if want := (timeline.Counters{timeline.Wrap: c.Counters[timeline.Wrap]}); c.Counters != want || c.Counters[timeline.Wrap] != 10 {
			t.Errorf("at %d ppm: repairs %v, want 10 wraps", ppm, c.Counters)
		}
	}
}

// An encoder that sends ten times faster than real time, for which a few
// seconds are no lie yet, is soon held to the wall clock.
func TestRunsAway(t *testing.T) {
	c := &timeline.Clock{}
	shots := encoder{clock: func(at time.Duration) time.Duration { return 10 * at }, length: 30 * time.Second}.run(c)
	last := map[*media.Track]time.Duration{}
	for _, s := range shots {
		if lead := s.dts - timeline.Start - s.at; lead > 11*time.Second {
			t.Fatalf("after %v the session is %v ahead", s.at, lead)
		}
		if s.dts <= last[s.track] {
			t.Fatalf("after %v DTS goes from %v to %v", s.at, last[s.track], s.dts)
		}
		last[s.track] = s.dts
	}
	if apart := last[video] - last[audio]; apart > time.Second || apart < -time.Second {
		t.Errorf("video and audio have come apart by %v", apart)
	}
	if c.Counters[timeline.JumpForward] == 0 {
		t.Error("nothing was counted")
	}
}

// A first frame that was held up makes the first dates wrong, for minutes only.
func TestEpochRecovers(t *testing.T) {
	c := &timeline.Clock{}
	for at := time.Duration(0); at < 20*time.Minute; at += 40 * ms {
		f, _, _ := c.Repair(media.Frame{Track: video, DTS: at, PTS: at}, noon.Add(max(at, 2*time.Second)))
		off := c.Epoch().Add(f.DTS).Sub(noon.Add(at))
		if at == 0 && off != 2*time.Second || at > 15*time.Minute && off > 10*ms {
			t.Fatalf("%v after the start, program dates are %v off", at, off)
		}
	}
}

func TestCounters(t *testing.T) {
	totals := &timeline.Totals{}
	for range 2 {
		c := &timeline.Clock{Totals: []*timeline.Totals{totals}}
		var log strings.Builder
		(encoder{clock: jump(10*time.Second, -30*time.Second), skip: silent(20*time.Second, 25*time.Second), length: 30 * time.Second}).run(c)
		slog.New(slog.NewTextHandler(&log, nil)).Info("session ended", "repairs", c.Counters)
		if want := "repairs.jump_back=1 repairs.gap=1\n"; !strings.HasSuffix(log.String(), want) {
			t.Errorf("logged %q, want %q at the end", log.String(), want)
		}
	}
	if got := totals.Load().Sum(); got != 4 {
		t.Errorf("%d repairs in all, want 4", got)
	}
	names := map[string]bool{}
	for _, k := range timeline.Kinds() {
		names[k.String()] = true
		if got, want := totals[k].Load(), int64(2); got != 0 && got != want || got == 0 && (k == timeline.JumpBack || k == timeline.Gap) {
			t.Errorf("in all, %d repairs of kind %v", got, k)
		}
	}
	if len(names) != len(timeline.Kinds()) || names[""] {
		t.Errorf("names of the kinds: %v", names)
	}
}

// Whatever an encoder's clock shows, each track moves forward and nothing
// stands before the beginning.
func FuzzRepair(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 1, 255, 255, 255, 2, 0, 0, 1, 129, 128, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		c := &timeline.Clock{}
		now := noon
		last := map[*media.Track]time.Duration{video: -1, audio: -1}
		for ; len(b) >= 4; b = b[4:] {
			track := video
			if b[0]&1 == 1 {
				track = audio
			}
			raw := time.Duration(b[1])<<24*ms + time.Duration(b[2])<<8*ms + time.Duration(b[3])*ms
			now = now.Add(time.Duration(b[0]>>1) * ms)
			out, _, ok := c.Repair(media.Frame{Track: track, DTS: raw, PTS: raw}, now)
			if !ok {
				continue
			}
			if out.DTS < 0 || out.DTS <= last[track] {
				t.Fatalf("DTS %v after %v", out.DTS, last[track])
			}
			last[track] = out.DTS
		}
	})
}
