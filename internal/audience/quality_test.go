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
	if p.Reporting != 2 || p.Stalled != 0 || p.Stalls != 0 || p.Bitrate != 2000 || p.Buffer != 2*time.Second || p.Latency != 4*time.Second || p.Startup != 2*time.Second {
		t.Errorf("two that play: %+v", p)
	}
	report(1, 5*time.Second, cmcd.Report{Starved: true, Startup: true})
	report(1, 6*time.Second, cmcd.Report{Starved: true})
	if p = v.Playback(noon.Add(6 * time.Second)); p.Stalled != 1 || p.Stalls != 2 || p.Renditions["720p30"] != 1 {
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
