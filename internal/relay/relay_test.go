package relay_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/audience"
	"github.com/millrace/millrace/internal/cmcd"
	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/hls/hlsplayer"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/media/mediatest"
	"github.com/millrace/millrace/internal/relay"
	"github.com/millrace/millrace/internal/segment"
	"github.com/millrace/millrace/internal/segment/segmenttest"
)

// steady is video with 2 s from key frame to key frame: nine frames a part, seven
// parts a segment.
var steady = mediatest.Source{NoAudio: true, Seconds: 10}

// A player at the relay gets whatever a player at the owner gets, as soon as it is
// there, in each container, with and without low latency, over discontinuities and
// to the end; and nothing breaks a rule of HLS.
func TestRelayedPlayer(t *testing.T) {
	frames := mediatest.Source{Seconds: 10}.Frames(t)
	segmenttest.Kinds(t, func(t *testing.T, s *hls.Stream) {
		t.Parallel()
		t.Cleanup(s.Release)
		leader := segment.NewLeader(s.AddRendition("source", hls.Listing{}))
		leader.SetEpoch(segmenttest.Epoch)
		segmenttest.Write(t, leader, frames[:len(frames)/3])
		p := newPair(t, s)
		player := hlsplayer.Player{Stream: p.open(t).Media, Path: "/source/", Extension: ".ts", Parts: s.LowLatency}
		if s.Container == hls.FMP4 {
			player.Extension = ".m4s"
		}
		for i, f := range frames[len(frames)/3:] {
			if i == len(frames)/3 {
				if err := leader.Discontinuity(); err != nil {
					t.Fatal(err)
				}
			}
			if err := leader.WriteFrame(f); err != nil {
				t.Fatal(err)
			}
			stats := leader.Rendition().Stats()
			player.Fetch(t.Context(), stats.Parts, stats.Segments) // what it asks for may not be here yet: it waits
		}
		if err := leader.Close(); err != nil {
			t.Fatal(err)
		}
		until(t, "the relayed playlist ends", func() bool {
			return strings.HasSuffix(get(player.Stream, "/source/playlist.m3u8").Body.String(), "#EXT-X-ENDLIST\n")
		})
		stats := leader.Rendition().Stats()
		player.Fetch(t.Context(), stats.Parts, stats.Segments)
		player.Report(t, "")
		if !player.Lists("#EXT-X-DISCONTINUITY\n") {
			t.Error("no discontinuity was listed")
		}
		if n := p.asked.Load(); n != 1 {
			t.Errorf("the owner was asked %d times for the stream", n)
		}
	})
}

// However many viewers request a stream, the owner is asked once; without any, never.
func TestOncePerNode(t *testing.T) {
	t.Parallel()
	s := &hls.Stream{LowLatency: true}
	t.Cleanup(s.Release)
	leader := segment.NewLeader(s.AddRendition("source", hls.Listing{}))
	frames := steady.Frames(t)
	segmenttest.Write(t, leader, frames[:100])
	p := newPair(t, s)
	p.relay.Idle = time.Nanosecond // the owner is asked again after each look
	until(t, "the relay runs", func() bool { return p.opened(t, p.live(t)) != nil })
	until(t, "it ends without requests", func() bool { return p.relay.Stats().Streams == 0 })
	if n := p.asked.Load(); n != 1 {
		t.Fatalf("the owner was asked %d times by one viewer", n)
	}
	segmenttest.Write(t, leader, frames[100:120])
	if got := p.relay.Stats(); got.Streams != 0 || p.asked.Load() != 1 {
		t.Errorf("%+v, and the owner was asked without a viewer", got)
	}

	p = newPair(t, s)
	var viewers sync.WaitGroup
	first := p.open(t)
	for range 50 {
		viewers.Go(func() {
			if p.opened(t, p.live(t)) != first || p.opened(t, p.stream(t)) != first {
				t.Error("two viewers get two copies")
			}
			if w := get(first.Media, "/source/p3.ts"); w.Code != 200 || w.Body.String() != get(s, "/source/p3.ts").Body.String() {
				t.Errorf("a part is %d", w.Code)
			}
		})
	}
	viewers.Wait()
	if n := p.asked.Load(); n != 1 {
		t.Errorf("the owner was asked %d times by 50 viewers", n)
	}
	for range 3 {
		get(first.Media, "/source/2.ts")
	}
	if got, most := p.relay.Stats().Bytes, 2*leader.Rendition().Stats().PartBytes; got == 0 || got > most {
		t.Errorf("%d bytes came from the owner, which has made %d", got, most/2)
	}
}

// Of a stream that no viewer opens, the relay knows the channel, and copies nothing. A copy
// that is refused to a viewer is none, and may be another's at once; one that has ended
// gives back what it had reserved.
func TestCopiesAreAdmitted(t *testing.T) {
	t.Parallel()
	s := &hls.Stream{LowLatency: true}
	t.Cleanup(s.Release)
	leader := segment.NewLeader(s.AddRendition("source", hls.Listing{}))
	segmenttest.Write(t, leader, steady.Frames(t)[:100])
	p := newPair(t, s)
	p.source.Channel.SRT = ivs.SRT{Passphrase: "secret"}
	const greedy = "192.0.2.2:80" // has its share
	var full atomic.Bool
	var reserved atomic.Int64
	full.Store(true)
	p.relay.Admit = func(c ivs.Channel, viewer string) (hls.Share, func(), error) {
		if c.ARN != arn || viewer != "192.0.2.1:80" && viewer != greedy {
			t.Errorf("a copy of %s for %s is to be admitted", c.ARN, viewer)
		}
		if full.Load() || viewer == greedy {
			return nil, nil, errors.New("the machine is full")
		}
		reserved.Add(1)
		return nil, func() { reserved.Add(-1) }, nil
	}
	var found *relay.Stream
	until(t, "the stream is found", func() bool { found = p.live(t); return found != nil })
	if found.Channel.ARN != arn || found.Channel.Type != ivs.TypeStandard || found.Channel.SRT.Passphrase != "" {
		t.Errorf("its channel is %+v", found.Channel)
	}
	if _, err := p.relay.Open(t.Context(), found, "192.0.2.1:80"); !errors.Is(err, relay.ErrNoRoom) || !strings.Contains(err.Error(), "the machine is full") {
		t.Errorf("Open = %v while there is no room", err)
	}
	if n := p.asked.Load(); n != 0 || p.relay.Stats().Streams != 0 {
		t.Errorf("the owner was asked %d times, %+v", n, p.relay.Stats())
	}
	full.Store(false)
	for range 3 {
		if _, err := p.relay.Open(t.Context(), found, greedy); !errors.Is(err, relay.ErrNoRoom) {
			t.Errorf("Open = %v for a viewer who has a share", err)
		}
	}
	if s, err := p.relay.Open(t.Context(), found, "192.0.2.1:80"); err != nil || s != found {
		t.Errorf("Open = %v for another viewer", err)
	}
	if _, err := p.relay.Open(t.Context(), found, greedy); err != nil {
		t.Errorf("Open = %v of a stream that is copied", err)
	}
	if n := reserved.Load(); n != 1 || p.asked.Load() != 1 {
		t.Errorf("%d copies are reserved, and the owner was asked %d times", n, p.asked.Load())
	}
	p.stop()
	until(t, "what it had reserved is free", func() bool { return reserved.Load() == 0 })
}

// A request that waits at the relay is answered by the part that the owner makes.
func TestRelayedWait(t *testing.T) {
	t.Parallel()
	s := &hls.Stream{LowLatency: true}
	t.Cleanup(s.Release)
	leader := segment.NewLeader(s.AddRendition("source", hls.Listing{}))
	frames := steady.Frames(t)
	segmenttest.Write(t, leader, frames[:60+27]) // parts 0 to 2 of segment 1
	p := newPair(t, s)
	copied := p.open(t)
	waiting := make(chan *httptest.ResponseRecorder)
	for _, path := range []string{"playlist.m3u8?_HLS_msn=1&_HLS_part=3", "p10.ts", "1.ts"} {
		go func() { waiting <- get(copied.Media, "/source/"+path) }()
	}
	segmenttest.Write(t, leader, frames[60+27:130])
	for range 3 {
		select {
		case w := <-waiting:
			if w.Code != 200 {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		case <-time.After(patience):
			t.Fatal("a request still waits")
		}
	}
}

// An owner that dies ends the stream at the relay; one that is unreachable for a while, or
// out of reach, does not, and what was missed is a gap.
func TestOwnerAway(t *testing.T) {
	t.Parallel()
	s := &hls.Stream{LowLatency: true, Window: 10 * time.Second}
	t.Cleanup(s.Release)
	leader := segment.NewLeader(s.AddRendition("source", hls.Listing{}))
	frames := mediatest.Repeat(steady.Frames(t), 10*time.Second, 20)
	segmenttest.Write(t, leader, frames[:200])
	p := newPair(t, s)
	copied := p.open(t)

	p.away.Store(true)
	p.owner.CloseClientConnections()
	until(t, "the connection is lost", func() bool { return p.relay.Stats().Lost > 0 })
	segmenttest.Write(t, leader, frames[200:5000]) // far more than the window has
	p.away.Store(false)
	last := func(s *hls.Stream) string { // the newest segment
		list := strings.Split(get(s, "/source/playlist.m3u8?parts=off").Body.String(), "\n")
		return list[len(list)-2]
	}
	until(t, "the relay has caught up", func() bool { return last(copied.Media) == last(s) })
	if list := get(copied.Media, "/source/playlist.m3u8").Body.String(); strings.Contains(list, "ENDLIST") {
		t.Errorf("the stream has ended:\n%s", list)
	}
	if got, want := get(copied.Media, "/source/"+last(s)).Body.Len(), get(s, "/source/"+last(s)).Body.Len(); got != want {
		t.Errorf("the newest segment has %d bytes, want %d", got, want)
	}

	p.unknown.Store(true) // its node has been found dead
	p.owner.CloseClientConnections()
	until(t, "the relay has ended the stream", func() bool {
		return strings.HasSuffix(get(copied.Media, "/source/playlist.m3u8").Body.String(), "#EXT-X-ENDLIST\n")
	})
	if _, err := p.relay.Live(t.Context(), arn); !errors.Is(err, relay.ErrNotFound) {
		t.Error("the channel is still live")
	}
	if p.stream(t) != copied {
		t.Error("the end cannot be fetched")
	}
	p.unknown.Store(false) // it had only been out of reach: a viewer who comes anew gets the stream
	until(t, "the stream is relayed again", func() bool {
		again := p.opened(t, p.live(t))
		return again != nil && again != copied && last(again.Media) == last(s)
	})
}

// A node that stops ends no stream of another node: its viewers have to try again,
// which a balancer leads elsewhere.
func TestRelayStops(t *testing.T) {
	t.Parallel()
	s := &hls.Stream{LowLatency: true}
	t.Cleanup(s.Release)
	leader := segment.NewLeader(s.AddRendition("source", hls.Listing{}))
	segmenttest.Write(t, leader, steady.Frames(t)[:60+27]) // parts 0 to 2 of segment 1
	p := newPair(t, s)
	copied := p.open(t)
	waiting := make(chan *httptest.ResponseRecorder, 1)
	go func() { waiting <- get(copied.Media, "/source/playlist.m3u8?_HLS_msn=1&_HLS_part=3") }()
	p.stop()
	select {
	case w := <-waiting:
		if w.Code != 503 || w.Header().Get("Retry-After") == "" {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	case <-time.After(patience):
		t.Fatal("the request still waits")
	}
}

// What a node does not have itself it does not pass on, and no request waits for that.
func TestRelayOfRelay(t *testing.T) {
	t.Parallel()
	s := &hls.Stream{LowLatency: true}
	t.Cleanup(s.Release)
	p := newPair(t, s)
	p.source = nil
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	until(t, "the owner is asked", func() bool {
		_, err := p.relay.Stream(ctx, id)
		return errors.Is(err, relay.ErrNotFound) && p.named.Load() > 0
	})
	if _, err := p.relay.Stream(ctx, "st-unknown"); !errors.Is(err, relay.ErrNotFound) {
		t.Errorf("an unknown stream: %v", err)
	}
	var none *relay.Relay
	_, live := none.Live(ctx, arn)
	if _, err := none.Stream(ctx, id); !errors.Is(live, relay.ErrNotFound) || !errors.Is(err, relay.ErrNotFound) || none.Viewers(time.Now()) != 0 {
		t.Errorf("a node that is alone relays: %v, %v", live, err)
	}
}

// The viewers of all nodes count at the owner, until a node does not report them any
// more.
func TestViewersAddUp(t *testing.T) {
	t.Parallel()
	s := &hls.Stream{LowLatency: true}
	t.Cleanup(s.Release)
	leader := segment.NewLeader(s.AddRendition("source", hls.Listing{}))
	segmenttest.Write(t, leader, steady.Frames(t)[:100])
	p := newPair(t, s)
	copied := p.open(t)
	now := time.Now()
	for i := range 3 {
		copied.Viewers.Seen(uint64(i), audience.NewClient(fmt.Sprintf("192.0.2.%d:80", i), "x"), now)
	}
	p.source.Viewers.Seen(7, audience.NewClient("192.0.2.9:80", "x"), now)
	until(t, "four viewers are counted", func() bool { return p.source.Viewers.Count(time.Now()) == 4 })
	if n := p.source.Viewers.CountHere(time.Now()); n != 1 {
		t.Errorf("%d of them are the owner's", n)
	}
	copied.Viewers.Report(0, cmcd.Report{Latency: 3 * time.Second}, now)
	p.source.Viewers.Report(7, cmcd.Report{Latency: time.Second}, now)
	until(t, "what players report to both nodes is summed up", func() bool {
		all := p.source.Viewers.Playback(time.Now())
		return all.Reporting == 2 && all.Latency.Duration() == 2*time.Second
	})
	if n := p.relay.Viewers(time.Now()); n != 3 {
		t.Errorf("%d are the relay's", n)
	}
	p.source.Viewers.Seen(7, audience.NewClient("192.0.2.9:80", "x"), now.Add(11*time.Second))
	if n := p.source.Viewers.Count(now.Add(22 * time.Second)); n != 1 {
		t.Errorf("%d viewers are counted when the other node has not reported for 10 s", n)
	}
	copied.Viewers.SetElsewhere("c", 5, audience.Playback{}, now)
	if n := p.relay.Viewers(now); n != 3 {
		t.Errorf("%d are reported", n)
	}
}
