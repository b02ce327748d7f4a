package audience

import (
	"testing"
	"time"

	"github.com/millrace/millrace/internal/cmcd"
)

// What players say is summed up over the last minute, and forgotten with their
// sessions.
func TestPlayback(t *testing.T) {
	v := &Viewers{}
	report := func(number uint64, after time.Duration, r cmcd.Report) {
		now := noon.Add(after)
		v.Seen(number, NewClient("192.0.2.1:1", "x"), now)
		v.Report(number, r, now)
	}
	if p := v.Playback(noon); p.Reporting != 0 {
		t.Errorf("without viewers: %+v", p)
	}
	v.Report(99, cmcd.Report{Starved: true}, noon) // no session
	report(1, 0, cmcd.Report{Startup: true, Starved: true})
	report(2, 0, cmcd.Report{StartDelay: 3 * time.Second, Bitrate: 1000})
	v.Rendition(1, "720p30")
	report(1, time.Second, cmcd.Report{Bitrate: 3000, Buffer: 2 * time.Second, Latency: 4 * time.Second})
	p := v.Playback(noon.Add(time.Second))
	if p.Reporting != 2 || p.Stalled != 0 || p.Stalls != 0 || p.Bitrate.Value() != 2000 || p.Buffer.Duration() != 2*time.Second || p.Latency.Duration() != 4*time.Second || p.Startup.Duration() != 2*time.Second {
		t.Errorf("two that play: %+v", p)
	}
	report(1, 5*time.Second, cmcd.Report{Starved: true, Startup: true})
	report(1, 6*time.Second, cmcd.Report{Starved: true})
	report(1, 6500*time.Millisecond, cmcd.Report{Starved: true}) // invented: no player stalls so often
	v.Rendition(1, "360p30")                                     // to which it flees
	if p = v.Playback(noon.Add(7 * time.Second)); p.Stalled != 1 || p.Stalls != 2 || p.Renditions["720p30"] != 1 {
		t.Errorf("one that stalled twice: %+v", p)
	}
	for s := range 9 { // it continues
		report(1, time.Duration(7+s*8)*time.Second, cmcd.Report{Bitrate: 3000})
	}
	if p = v.Playback(noon.Add(71 * time.Second)); p.Reporting != 1 || p.Stalled != 0 || p.Stalls != 2 {
		t.Errorf("a minute later: %+v", p)
	}
	v.Count(noon.Add(10 * time.Minute))
	if p = v.Playback(noon.Add(10 * time.Minute)); p.Reporting != 0 || len(v.playback) != 0 {
		t.Errorf("when all have left: %+v, %d kept", p, len(v.playback))
	}
}

// A player that says itself how long its start took is right, also where its requests
// came before.
func TestStartDelay(t *testing.T) {
	v := &Viewers{}
	v.Seen(1, NewClient("192.0.2.1:1", "x"), noon)
	v.Report(1, cmcd.Report{Bitrate: 1000}, noon)
	v.Report(1, cmcd.Report{StartDelay: 700 * time.Millisecond, Latency: 2 * time.Second}, noon.Add(time.Second))
	v.Report(1, cmcd.Report{Bitrate: 1000}, noon.Add(2*time.Second))
	if p := v.Playback(noon.Add(2 * time.Second)); p.Startup.Duration() != 700*time.Millisecond || p.Latency.Duration() != 2*time.Second {
		t.Errorf("%+v", p)
	}
}

// What players report to other nodes is part of the sum as long as those report it, and
// each stall counts once.
func TestPlaybackElsewhere(t *testing.T) {
	v := &Viewers{}
	v.Seen(1, NewClient("192.0.2.1:1", "x"), noon)
	v.Report(1, cmcd.Report{Latency: time.Second, Bitrate: 1000}, noon)
	there := Playback{Reporting: 3, Stalled: 1, Stalls: 5, Renditions: map[string]int{"720p30": 1}, Latency: Mean{9000, 3}}
	for i := range 3 {
		v.SetElsewhere("b", 3, there, noon.Add(time.Duration(i)*time.Second))
	}
	p := v.Playback(noon.Add(2 * time.Second))
	if p.Reporting != 4 || p.Stalled != 1 || p.Stalls != 5 || p.Renditions["720p30"] != 1 || p.Latency.Duration() != 2500*time.Millisecond || p.Bitrate.Value() != 1000 {
		t.Errorf("of two nodes: %+v", p)
	}
	if here := v.PlaybackHere(noon.Add(2 * time.Second)); here.Reporting != 1 || here.Latency.Duration() != time.Second {
		t.Errorf("of this one: %+v", here)
	}
	v.SetElsewhere("b", 0, Playback{Stalls: 5}, noon.Add(3*time.Second)) // its viewers have left
	there.Stalls = 6
	v.SetElsewhere("b", 1, there, noon.Add(4*time.Second))
	there.Stalls = 2
	v.SetElsewhere("b", 1, there, noon.Add(5*time.Second)) // it has copied the stream anew
	if p = v.Playback(noon.Add(5 * time.Second)); p.Stalls != 8 {
		t.Errorf("%d stalls, want 8", p.Stalls)
	}
	if p = v.Playback(noon.Add(time.Minute)); p.Reporting != 1 || p.Stalled != 0 || p.Stalls != 8 {
		t.Errorf("when the node is gone: %+v", p)
	}
	v.Count(noon.Add(time.Minute))
	there.Stalls = 3
	v.SetElsewhere("b", 1, there, noon.Add(time.Minute))
	if p = v.Playback(noon.Add(time.Minute)); p.Stalls != 9 || p.Stalled != 1 {
		t.Errorf("when it reports again: %+v", p)
	}
}
