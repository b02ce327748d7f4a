package live_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/hls/hlsplayer"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/live"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/media/mediatest"
)

// playlist is the source's, as a player has it.
func (w *world) playlist(streamID string) string {
	w.Helper()
	s := w.PlayableSession(streamID)
	if s == nil {
		w.Fatalf("stream %s is unknown", streamID)
	}
	return hlsplayer.Get(w.Context(), s.Stream, "/source/playlist.m3u8").Body.String()
}

// listed is the program date at which the playlist begins, and that at which its
// last whole segment ends.
func (w *world) listed(streamID string) (from, to time.Time) {
	w.Helper()
	for line := range strings.Lines(w.playlist(streamID)) {
		if d, ok := strings.CutPrefix(line, "#EXT-X-PROGRAM-DATE-TIME:"); ok && from.IsZero() {
			date, err := time.Parse(time.RFC3339, strings.TrimSpace(d))
			if err != nil {
				w.Fatal(err)
			}
			from, to = date, date
		}
		if d, ok := strings.CutPrefix(line, "#EXTINF:"); ok {
			seconds, err := time.ParseDuration(strings.TrimRight(d, ",\n") + "s")
			if err != nil {
				w.Fatal(err)
			}
			to = to.Add(seconds)
		}
	}
	return from, to
}

// A higher priority takes over: the same stream continues, without a
// discontinuity, and only the newest encoder is shown. What may not take over
// changes nothing, and is told why.
func TestTakeover(t *testing.T) {
	bubble(t, ivs.TypeStandard, live.Limits{Takeovers: 2}, func(w *world) {
		began := time.Now()
		first := w.publish(w.key, "")
		first.mustSend(5 * sec)
		id := w.session().StreamID
		start, _ := w.listed(id)

		second, err := w.dial(w.key, "?priority=5", mediatest.Ordered)
		if err != nil {
			w.Fatal(err)
		}
		second.announce("second encoder")
		cut := make(chan error, 1)
		go func() { cut <- first.Send(20 * sec) }()
		second.mustSend(5 * sec)
		w.refused(<-cut, "taken over")

		_, err = w.dial(w.key, "", mediatest.Ordered)
		w.refused(err, "live already")
		_, err = w.dial(w.key, "?priority=5", mediatest.Ordered)
		w.refused(err, "Priority 5 is not above that of the stream, 5")
		_, err = w.dial(w.key, "?priority=2147483648", mediatest.Ordered)
		w.refused(err, "whole number from 1 to 2147483647")
		wrong, err := w.dial(w.key, "?priority=6", mediatest.Other)
		if err != nil {
			w.Fatal(err)
		}
		go func() { cut <- second.Send(5 * sec) }()
		w.refused(wrong.Send(5*sec), "is 160x120, this one 176x144")
		if err := <-cut; err != nil {
			w.Errorf("the running encoder was disturbed: %v", err)
		}

		third, err := w.dial(w.key, "?priority=6", mediatest.Steady) // the same video, other parameter sets
		if err != nil {
			w.Fatal(err)
		}
		third.mustSend(5 * sec)
		_, err = w.dial(w.key, "?priority=7", mediatest.Ordered)
		w.refused(err, "taken over 2 times")

		if s := w.session(); s.StreamID != id || s.IngestConfigurations.Video[0].Encoder != "" {
			w.Errorf("stream %s with encoder %q, want %s with the third, which has no name", s.StreamID, s.IngestConfigurations.Video[0].Encoder, id)
		}
		if p := w.playlist(id); strings.Contains(p, "#EXT-X-DISCONTINUITY\n") || strings.Contains(p, "GAP") {
			w.Errorf("the takeovers show in the playlist:\n%s", p)
		}
		if _, end := w.listed(id); end.Sub(start) < 35*sec/2 || end.Sub(start) > 21*sec {
			w.Errorf("%v of media in 20 s", end.Sub(start))
		}
		third.leave()
		time.Sleep(2 * sec)
		want := []string{"Session Created 0", "Stream Start 0", "Stream Takeover 5", "Stream Takeover Failure 10 StreamTakeoverInvalidPriority",
			"Stream Takeover Failure 10 StreamTakeoverInvalidPriority", "Stream Takeover Failure 10 StreamTakeoverMediaMismatch", "Stream Takeover 15",
			"Stream Takeover Failure 20 StreamTakeoverLimitBreached", "Session Ended 20", "Stream End 20"}
		if diff := cmp.Diff(want, w.events(began)); diff != "" {
			w.Error(diff)
		}
		checkErrorEvent(w, false)

		// Priorities are forgotten with the stream; the first encoder needs none
		// that is good.
		next, err := w.dial(w.key, "?priority=x", mediatest.Ordered)
		if err != nil {
			w.Fatal(err)
		}
		next.mustSend(2 * sec)
		if s := w.session(); s.StreamID == id {
			w.Error("a stream that has ended goes on")
		}
		next.leave()
	})
}

// An encoder that lost its connection takes over from itself: players see no
// more than a pause.
func TestTakeoverFromSilence(t *testing.T) {
	for _, silence := range []time.Duration{sec, 15 * sec} {
		bubble(t, ivs.TypeStandard, live.Limits{}, func(w *world) {
			first := w.publish(w.key, "")
			first.mustSend(6 * sec)
			id := w.session().StreamID
			time.Sleep(silence)
			second, err := w.dial(w.key, "?priority=1", mediatest.Ordered)
			if err != nil {
				w.Fatal(err)
			}
			second.mustSend(8 * sec)
			if p := w.playlist(id); strings.Contains(p, "#EXT-X-DISCONTINUITY\n") || strings.Contains(p, "GAP") {
				w.Errorf("%v of silence and a takeover show in the playlist:\n%s", silence, p)
			}
			if h := w.health(); h != ivs.HealthHealthy {
				w.Errorf("health %s, 8 s after the takeover", h)
			}
			second.leave()
			first.Lose()
		})
	}
}

// Who comes without a priority while the encoder is alive is refused; the
// place is free as soon as the old connection is known to be dead, for a new
// stream.
func TestReconnect(t *testing.T) {
	bubble(t, ivs.TypeStandard, live.Limits{}, func(w *world) {
		first := w.publish(w.key, "")
		first.mustSend(5 * sec)
		id := w.session().StreamID
		time.Sleep(5 * sec)
		began := time.Now()
		_, err := w.dial(w.key, "", mediatest.Ordered)
		w.refused(err, "live already")
		if d := time.Since(began); d != 4*sec {
			w.Errorf("turned away after %v", d)
		}
		first.mustSend(2 * sec) // it was alive after all

		time.Sleep(3 * sec)
		go func() {
			time.Sleep(sec)
			first.Lose() // as its kernel answers a probe
		}()
		began = time.Now()
		second := w.publish(w.key, "")
		if d := time.Since(began); d > 2*sec {
			w.Errorf("let in after %v", d)
		}
		second.mustSend(3 * sec)
		if now := w.session().StreamID; now == id {
			w.Error("the reconnected encoder has the old stream id")
		}
		second.leave()
	})
}

// What the session shows of the encoder is what it sends, also when that changes.
func TestOtherTracks(t *testing.T) {
	bubble(t, ivs.TypeStandard, live.Limits{}, func(w *world) {
		e := w.publish(w.key, "")
		e.mustSend(4 * sec)
		shown := func() string {
			in := w.session().IngestConfigurations
			return fmt.Sprint(in.Video[0].VideoWidth, "x", in.Video[0].VideoHeight, " ", in.Audio[0].SampleRate, " ", in.Video[0].Encoder)
		}
		if got := shown(); got != "160x120 48000 first encoder" {
			w.Errorf("shown: %s", got)
		}
		e.Frames = mediatest.Other.Frames(w.T)
		e.mustSend(4 * sec)
		if got := shown(); got != "176x144 44100 first encoder" {
			w.Errorf("shown of an encoder that goes on with other video: %s", got)
		}
		e.leave()
	})
}

// An encoder that comes back with its priority while its session is ending waits
// for that end and begins another: priorities are forgotten with the stream.
func TestPriorityAfterTheEnd(t *testing.T) {
	bubble(t, ivs.TypeStandard, live.Limits{}, func(w *world) {
		first := w.publish(w.key, "?priority=1")
		first.mustSend(3 * sec)
		ending := w.LiveSession(w.channel.ARN)
		write := w.holdDatabase()
		left, back := make(chan error), make(chan error)
		go func() { left <- first.Close() }()
		time.Sleep(sec) // virtual: it has left, and that cannot be written
		go func() {
			e, err := w.dial(w.key, "?priority=1", mediatest.Ordered)
			if err == nil {
				err = e.Send(3 * sec)
			}
			back <- err
		}()
		time.Sleep(sec)
		write()
		if err := <-left; err != nil {
			w.Error(err)
		}
		if err := <-back; err != nil {
			w.Errorf("the encoder that came back: %v", err)
		}
		if id := w.session().StreamID; id == ending.StreamID {
			w.Error("it has gone on with the session that was ending")
		}
	})
}

// holdDatabase lets nothing be written to the database until write is called.
func (w *world) holdDatabase() (write func()) {
	w.Helper()
	c, _ := w.addChannel(ivs.TypeStandard)
	held, released := make(chan struct{}), make(chan error)
	go func() {
		_, err := w.Store.UpdateChannel(w.Context(), c.ARN, func(*ivs.Channel) error {
			close(held)
			return <-released
		})
		if err != nil {
			w.Error(err)
		}
	}()
	<-held
	return func() { released <- nil }
}

// A heartbeat that the database keeps waiting writes nothing old over what a
// takeover has written: the session shows the newest encoder.
func TestTakeoverDuringHeartbeat(t *testing.T) {
	bubble(t, ivs.TypeStandard, live.Limits{}, func(w *world) {
		first := w.publish(w.key, "")
		first.mustSend(5 * sec)
		second, err := w.dial(w.key, "?priority=1", mediatest.Ordered)
		if err != nil {
			w.Fatal(err)
		}
		second.announce("second encoder")
		write := w.holdDatabase()
		first.announce("first encoder, renamed")
		cut, done := make(chan error, 1), make(chan error, 1)
		go func() { cut <- first.Send(30 * sec) }()
		time.Sleep(3 * sec) // virtual: a heartbeat waits with the new name
		go func() { done <- second.Send(20 * sec) }()
		w.refused(<-cut, "taken over")
		time.Sleep(9 * sec) // that heartbeat has failed, and the takeover waits
		write()
		if err := <-done; err != nil {
			w.Errorf("the second encoder: %v", err)
		}
		if got := w.session().IngestConfigurations.Video[0].Encoder; got != "second encoder" {
			w.Errorf("the session shows the %s", got)
		}
		second.leave()
	})
}

// An encoder that leaves as soon as it has changed what it sends is shown with that.
func TestOtherTracksAtTheEnd(t *testing.T) {
	bubble(t, ivs.TypeStandard, live.Limits{}, func(w *world) {
		e := w.publish(w.key, "")
		e.mustSend(5 * sec)
		e.announce("renamed")
		e.mustSend(sec / 4) // less than until the next heartbeat
		e.leave()
		if got := w.session().IngestConfigurations.Video[0].Encoder; got != "renamed" {
			w.Errorf("the session shows encoder %q", got)
		}
	})
}

// Of an encoder that wants to take over no more is kept than 16 MiB, and no longer
// than 15 s, until it has shown what it sends.
func TestTakeoverIsBounded(t *testing.T) {
	bubble(t, ivs.TypeStandard, live.Limits{}, func(w *world) {
		first := w.publish(w.key, "")
		first.mustSend(5 * sec)
		sent := make(chan error, 1)
		go func() { sent <- first.Send(30 * sec) }()
		video := mediatest.Keep(mediatest.Ordered.Frames(w.T), func(f media.Frame) bool { return f.Track.IsVideo() })
		for name, size := range map[string]int{"large frames": 1 << 20, "small frames": 1} {
			e, err := w.dial(w.key, "?priority=5", mediatest.Ordered)
			if err != nil {
				w.Fatal(err)
			}
			err = e.WriteFrame(video[0])
			n := 0
			for ; err == nil && n < 100_000; n++ { // audio is due after 3 s, which these do not last
				err = e.WriteFrame(media.Frame{Track: video[0].Track, Data: make([]byte, size), DTS: video[0].DTS + time.Duration(n)*time.Microsecond})
			}
			w.refused(err, "sent too much")
			if most := 16 << 20 / (size + 256); n > most+2 {
				w.Errorf("%s: %d were taken, want at most %d", name, n, most)
			}
		}
		silent, err := w.dial(w.key, "?priority=5", mediatest.Ordered)
		if err != nil {
			w.Fatal(err)
		}
		silent.Frames = mediatest.Keep(silent.Frames, func(f media.Frame) bool { return !f.Track.IsVideo() })
		began := time.Now()
		w.refused(silent.Send(20*sec), "no key frame came")
		if d := time.Since(began).Round(time.Second); d != 15*sec {
			w.Errorf("an encoder that sends audio alone was refused after %v", d)
		}
		if err := <-sent; err != nil {
			w.Errorf("the stream: %v", err)
		}
		first.leave()
	})
}

// Several that want to take over at once do so one after the other.
func TestTakeoverRace(t *testing.T) {
	bubble(t, ivs.TypeStandard, live.Limits{}, func(w *world) {
		first := w.publish(w.key, "")
		done := make(chan error, 4)
		go func() { done <- first.Send(20 * sec) }()
		time.Sleep(3 * sec)
		for _, query := range []string{"?priority=1", "?priority=2", "?priority=3"} {
			go func() {
				e, err := w.dial(w.key, query, mediatest.Ordered)
				if err == nil {
					err = e.Send(10 * sec)
				}
				if err == nil && query != "?priority=3" {
					w.Errorf("%s won", query)
				}
				done <- err
			}()
		}
		lost := 0
		for range 4 {
			if <-done != nil {
				lost++
			}
		}
		if lost != 3 {
			w.Errorf("%d encoders were cut off or refused, want 3", lost)
		}
		time.Sleep(35 * sec)
	})
}
