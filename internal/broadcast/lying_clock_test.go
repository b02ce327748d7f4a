package broadcast_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/media/mediatest"
	"github.com/millrace/millrace/internal/timeline"
)

const (
	ms      = time.Millisecond
	field24 = (1 << 24) * ms // an encoder that has no extended timestamps
	field32 = (1 << 32) * ms // RTMP's own
)

// clock lets the encoder's clock show what f makes of the true time.
func clock(broadcast []arrival, f func(at time.Duration) time.Duration) []arrival {
	for i := range broadcast {
		a := &broadcast[i]
		d := f(a.at) - a.at
		a.frame.DTS += d
		a.frame.PTS += d
	}
	return broadcast
}

// from is a clock that shows base at the start and has bits of milliseconds.
func from(base, field time.Duration) func(time.Duration) time.Duration {
	return func(at time.Duration) time.Duration { return (base + at) % field }
}

// set is a clock that is set by d half way.
func set(d time.Duration) func(time.Duration) time.Duration {
	return func(at time.Duration) time.Duration {
		if at >= 30*time.Second {
			return time.Hour + at + d
		}
		return time.Hour + at
	}
}

// without leaves out frames of one kind, or of both.
func without(broadcast []arrival, since, until time.Duration, video, audio bool) (rest []arrival) {
	for _, a := range broadcast {
		if a.at < since || a.at >= until || a.frame.Track.IsVideo() && !video || !a.frame.Track.IsVideo() && !audio {
			rest = append(rest, a)
		}
	}
	return rest
}

// splice goes from one broadcast to the other at t, which is a key frame of
// both, or with its audio only.
func splice(a, b []arrival, t time.Duration, audioOnly bool) []arrival {
	head := without(a, t, time.Hour, !audioOnly, true)
	tail := without(b, 0, t, true, true)
	if audioOnly {
		tail = without(tail, t, time.Hour, true, false)
	}
	return merge(head, tail)
}

// merge puts two broadcasts into one in the order of arrival.
func merge(a, b []arrival) (all []arrival) {
	for len(a) > 0 && len(b) > 0 {
		if b[0].at < a[0].at {
			all, b = append(all, b[0]), b[1:]
		} else {
			all, a = append(all, a[0]), a[1:]
		}
	}
	return append(append(all, a...), b...)
}

// each changes every frame of the kind.
func each(broadcast []arrival, video bool, change func(n int, a *arrival)) []arrival {
	n := 0
	for i := range broadcast {
		if broadcast[i].frame.Track.IsVideo() == video {
			change(n, &broadcast[i])
			n++
		}
	}
	return broadcast
}

const second = time.Second

// lyingClocks are encoders whose clocks are not what they should be.
var lyingClocks = []struct {
	name    string
	make    func(t *testing.T) []arrival
	want    timeline.Counters
	hole    time.Duration // that the broadcast has, and the segments leave out
	lost    int           // video frames that no player could use
	rtmp    bool          // carried over RTMP; else in FLV tags, which takes less time
	ignored string        // rules of hlscheck that do not apply
}{
	{name: "steady", make: func(t *testing.T) []arrival { return arrivals(t, mediatest.Steady) }},
	{name: "10 s between key frames", make: func(t *testing.T) []arrival { return arrivals(t, long) }},
	{name: "24-bit field, before its end", make: func(t *testing.T) []arrival {
		return clock(arrivals(t, mediatest.Steady), from(field24-61*second, field24))
	}},
	{name: "24-bit field, wraps", rtmp: true, want: timeline.Counters{timeline.Wrap: 2}, make: func(t *testing.T) []arrival {
		return clock(arrivals(t, mediatest.Steady), from(field24-30*second, field24))
	}},
	{name: "24-bit field, after its end", make: func(t *testing.T) []arrival {
		return clock(arrivals(t, mediatest.Steady), from(field24+second, field32))
	}},
	{name: "24-bit field, extended", rtmp: true, make: func(t *testing.T) []arrival {
		return clock(arrivals(t, mediatest.Steady), from(field24-30*second, field32))
	}},
	{name: "24-bit field, wraps between the tracks", want: timeline.Counters{timeline.Wrap: 1}, make: func(t *testing.T) []arrival {
		return clock(arrivals(t, mediatest.Steady), from(field24-10*ms, field24))
	}},
	{name: "32-bit field, before its end", make: func(t *testing.T) []arrival {
		return clock(arrivals(t, mediatest.Steady), from(field32-61*second, field32))
	}},
	{name: "32-bit field, wraps", rtmp: true, want: timeline.Counters{timeline.Wrap: 2}, make: func(t *testing.T) []arrival {
		return clock(arrivals(t, mediatest.Steady), from(field32-30*second, field32))
	}},
	{name: "32-bit field, after its end", rtmp: true, make: func(t *testing.T) []arrival {
		return clock(arrivals(t, mediatest.Steady), from(field32+second, field32))
	}},
	{name: "set back by 30 s", rtmp: true, want: timeline.Counters{timeline.JumpBack: 1}, make: func(t *testing.T) []arrival {
		return clock(arrivals(t, mediatest.Steady), set(-30*second))
	}},
	{name: "set back by 30 s, 10 s between key frames", want: timeline.Counters{timeline.JumpBack: 1}, make: func(t *testing.T) []arrival {
		return clock(arrivals(t, long), set(-30*second))
	}},
	{name: "set forward by 100 s", rtmp: true, want: timeline.Counters{timeline.JumpForward: 1}, make: func(t *testing.T) []arrival {
		return clock(arrivals(t, mediatest.Steady), set(100*second))
	}},
	{name: "set forward by 100 s, 10 s between key frames", want: timeline.Counters{timeline.JumpForward: 1}, make: func(t *testing.T) []arrival {
		return clock(arrivals(t, long), set(100*second))
	}},
	{name: "set back to zero", want: timeline.Counters{timeline.JumpBack: 1}, make: func(t *testing.T) []arrival {
		return clock(arrivals(t, mediatest.Steady), set(-time.Hour-30*second))
	}},
	{name: "set a second back every 5 s", want: timeline.Counters{timeline.JumpBack: 12}, make: func(t *testing.T) []arrival {
		return clock(arrivals(t, mediatest.Steady), func(at time.Duration) time.Duration { return time.Hour + at - at/(5*second)*second })
	}},
	{name: "stands for 10 s", want: timeline.Counters{timeline.Equal: 766}, make: func(t *testing.T) []arrival {
		return clock(arrivals(t, mediatest.Ordered), func(at time.Duration) time.Duration {
			if at < 30*second {
				return min(at, 20011*ms)
			}
			return at
		})
	}},
	{name: "stands from the start", want: timeline.Counters{timeline.Equal: 4612}, make: func(t *testing.T) []arrival {
		return clock(arrivals(t, mediatest.Ordered), func(time.Duration) time.Duration { return 0 })
	}},
	{name: "every tenth DTS equal or a millisecond back", want: timeline.Counters{timeline.Equal: 60, timeline.Backward: 120}, make: func(t *testing.T) []arrival {
		return each(arrivals(t, mediatest.Steady), true, func(n int, a *arrival) {
			if n%10 == 9 {
				a.frame.DTS -= 34 * ms
			}
		})
	}},
	{name: "every fiftieth DTS 200 ms back", want: timeline.Counters{timeline.Backward: 36}, make: func(t *testing.T) []arrival {
		return each(arrivals(t, mediatest.Steady), true, func(n int, a *arrival) {
			if n%50 == 49 {
				a.frame.DTS -= 200 * ms
			}
		})
	}},
	{name: "PTS before DTS", rtmp: true, make: func(t *testing.T) []arrival {
		return each(arrivals(t, mediatest.Steady), true, func(n int, a *arrival) { a.frame.PTS -= 200 * ms })
	}},
	{name: "absurd composition now and then", want: timeline.Counters{timeline.Composition: 18}, make: func(t *testing.T) []arrival {
		return each(arrivals(t, mediatest.Steady), true, func(n int, a *arrival) {
			if n%100 == 50 {
				a.frame.PTS += 1000 * second
			}
		})
	}},
	{name: "audio 15 s late", make: func(t *testing.T) []arrival { return without(arrivals(t, mediatest.Steady), 0, 15*second, false, true) }},
	{name: "audio stops", make: func(t *testing.T) []arrival {
		return without(arrivals(t, mediatest.Steady), 30*second, time.Hour, false, true)
	}},
	{name: "audio stops for 10 s", make: func(t *testing.T) []arrival {
		return without(arrivals(t, mediatest.Steady), 20*second, 30*second, false, true)
	}},
	{name: "no audio", make: func(t *testing.T) []arrival { return without(arrivals(t, mediatest.Steady), 0, time.Hour, false, true) }},
	// The half second of audio before the video comes back is covered by a
	// segment and by no part, and the checker's clock is that of the video.
	{name: "video freezes for 10 s", ignored: "part-sum segment-times", make: func(t *testing.T) []arrival {
		return without(arrivals(t, mediatest.Steady), 20*second, 30*second, true, false)
	}},
	{name: "silent for 10 s", hole: 10 * second, want: timeline.Counters{timeline.Gap: 1}, make: func(t *testing.T) []arrival {
		return without(arrivals(t, mediatest.Steady), 20*second, 30*second, true, true)
	}},
	{name: "silent for 10 s in the middle of a group", hole: 11 * second, lost: 30, want: timeline.Counters{timeline.Gap: 1}, make: func(t *testing.T) []arrival {
		return without(arrivals(t, mediatest.Steady), 21*second, 31*second, true, true)
	}},
	{name: "held up for 10 s, then all at once", make: func(t *testing.T) []arrival {
		broadcast := arrivals(t, mediatest.Steady)
		for i, a := range broadcast {
			if a.at > 20*second && a.at < 30*second {
				broadcast[i].at = 30 * second
			}
		}
		return broadcast
	}},
	{name: "other video", rtmp: true, make: func(t *testing.T) []arrival {
		return splice(arrivals(t, mediatest.Steady), arrivals(t, mediatest.Other), 30*second, false)
	}},
	{name: "other audio", rtmp: true, make: func(t *testing.T) []arrival {
		return splice(arrivals(t, mediatest.Steady), arrivals(t, mediatest.Other), 30*second, true)
	}},
	{name: "audio an hour ahead of the video", want: timeline.Counters{timeline.Skew: 1}, make: func(t *testing.T) []arrival {
		return each(arrivals(t, mediatest.Steady), false, func(_ int, a *arrival) { a.frame.DTS += time.Hour })
	}},
	{name: "audio 2 s ahead of the video", make: func(t *testing.T) []arrival {
		return each(arrivals(t, mediatest.Steady), false, func(_ int, a *arrival) { a.frame.DTS += 2 * second })
	}},
	{name: "audio 5 s ahead of the video", want: timeline.Counters{timeline.Skew: 1}, make: func(t *testing.T) []arrival {
		return each(arrivals(t, mediatest.Steady), false, func(_ int, a *arrival) { a.frame.DTS += 5 * second })
	}},
	{name: "audio 2 s behind the video", want: timeline.Counters{timeline.Dropped: 45}, make: func(t *testing.T) []arrival {
		return each(clock(arrivals(t, mediatest.Steady), from(time.Hour, field32)), false, func(_ int, a *arrival) { a.frame.DTS -= 2 * second })
	}},
	{name: "25 ms of jitter", make: func(t *testing.T) []arrival {
		return each(arrivals(t, mediatest.Steady), true, func(n int, a *arrival) {
			d := time.Duration(n*7919%26) * ms
			a.frame.DTS, a.frame.PTS = a.frame.DTS+d, a.frame.PTS+d
		})
	}},
}

func TestLyingClocks(t *testing.T) {
	if testing.Short() {
		t.Skip("it plays many long broadcasts")
	}
	for _, tt := range lyingClocks {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for name, container := range map[string]hls.Container{"TS": hls.TS, "fMP4": hls.FMP4} {
				t.Run(name, func(t *testing.T) {
					b, p := newPlayer(t, container)
					broadcast := tt.make(t)
					carry := tags()
					if tt.rtmp && container == hls.TS {
						carry = messages(t)
					}
					wire(t, b, p, broadcast, carry)
					if diff := cmp.Diff(tt.want, b.Repairs()); diff != "" {
						t.Errorf("repairs (-want +got):\n%s", diff)
					}
					checkShown(t, p, broadcast[len(broadcast)-1].at, tt.hole, tt.ignored)
					count := 0
					each(broadcast, true, func(int, *arrival) { count++ })
					if got := p.decode(); got != count-tt.lost {
						t.Errorf("%d frames were decoded, want %d of %d", got, count-tt.lost, count)
					}
				})
			}
		})
	}
}

// checkShown holds what players got against the rules and the wall clock.
func checkShown(t *testing.T, p *player, length, hole time.Duration, ignored string) {
	t.Helper()
	p.Report(t, ignored)
	var sum time.Duration
	var end time.Time
	for _, g := range p.Listed() {
		if g.Duration > g.Target+500*ms {
			t.Errorf("segment %s lasts %v, EXT-X-TARGETDURATION says %v", g.Name, g.Duration, g.Target)
		}
		if off := g.Date.Sub(noon.Add(sum)); off > 2*second+hole || off < -2*second {
			t.Errorf("segment %s is dated %v off the wall clock", g.Name, off)
		}
		sum += g.Duration
		end = g.Date.Add(g.Duration)
	}
	if d := sum + hole - length; d > 2*second || d < -2*second {
		t.Errorf("segments add up to %v after %v", sum, length)
	}
	if d := end.Sub(noon.Add(length)); d > 2*second || d < -2*second {
		t.Errorf("the last segment ends, by its date, %v off the wall clock", d)
	}
}
