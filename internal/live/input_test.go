package live_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/ingest"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/live"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/media/mediatest"
)

// What an encoder announces after Stream Start is shown.
func TestLateMetadata(t *testing.T) {
	bubble(t, ivs.TypeBasic, live.Limits{}, func(w *world) {
		e := w.publish(w.key, "")
		e.mustSend(10 * time.Second)
		if got := w.session().IngestConfigurations.Video[0].Encoder; got != "first encoder" {
			w.Errorf("the session shows encoder %q", got)
		}
		e.Announce(ingest.Metadata{Encoder: "second name", VideoBitrate: 700e3})
		e.mustSend(5 * time.Second)
		if got := w.session().IngestConfigurations.Video[0]; got.Encoder != "second name" || got.TargetBitrate != 700e3 {
			w.Errorf("the session shows %+v", got)
		}
		e.leave()
	})
}

// A size that changes while a stream is live is shown by the session and held
// against the limits.
func TestSizeChanges(t *testing.T) {
	var frames []media.Frame
	for i, size := range []string{"640x360", "426x240", "2560x1440"} {
		s := mediatest.Source{Size: size, Seconds: 4, NoAudio: true, GOP: 30}
		frames = slices.Concat(frames, mediatest.Shift(s.Frames(t), time.Duration(i)*4*time.Second))
	}
	bubble(t, ivs.TypeBasic, live.Limits{}, func(w *world) {
		e := w.publish(w.key, "")
		e.Frames = frames
		e.mustSend(7900 * time.Millisecond)
		if v := w.session().IngestConfigurations.Video[0]; v.VideoHeight != 240 || v.VideoWidth != 426 {
			w.Errorf("the session shows %dx%d", v.VideoWidth, v.VideoHeight)
		}
		w.refused(e.Send(3*time.Second), "2560x1440")
		if v := w.session().IngestConfigurations.Video[0]; v.VideoHeight != 240 {
			w.Errorf("the session shows %d lines", v.VideoHeight)
		}
	})
}

// The health sentence and the log name what cannot be carried as it comes.
func TestInputIsReported(t *testing.T) {
	bubble(t, ivs.TypeBasic, live.Limits{}, func(w *world) {
		e := w.publish(w.key, "")
		e.mustSend(4 * time.Second)
		stats := media.InputStats{Early: 7, Malformed: 3, Repaired: 1}
		e.Count(stats)
		e.mustSend(4 * time.Second)
		sentence := w.OpenSession(w.channel.ARN).Report().Sentence
		for _, want := range []string{"7 frames came", "3 frames were damaged"} {
			if !strings.Contains(sentence, want) {
				w.Errorf("the health report says %q, and not %q", sentence, want)
			}
		}
		e.leave()
		if want := "input.early=7 input.malformed=3 input.repaired=1"; strings.Count(w.log.String(), want) != 2 || w.Input.Load() != stats {
			w.Errorf("the log does not have %q twice; the node counts %+v", want, w.Input.Load())
		}
	})
}

// Why a stream never went live, or was cut off, is known when it has ended, until
// another one begins.
func TestEndReasonIsKept(t *testing.T) {
	bubble(t, ivs.TypeBasic, live.Limits{}, func(w *world) {
		reason := func(want string, wasLive bool) {
			w.Helper()
			last, ok, err := w.Store.EndReason(w.Context(), w.channel.ARN, "")
			if err != nil || ok != (want != "") || ok && (last.StreamID != w.session().StreamID || !strings.Contains(last.Text, want) || last.WasLive != wasLive) {
				w.Errorf("the last stream ended for %+v, %v, %v; want %q", last, ok, err, want)
			}
		}
		e := w.publish(w.key, "")
		e.Frames = mediatest.Source{Size: "2560x1440", Seconds: 4, NoAudio: true, GOP: 30}.Frames(w.T)
		w.refused(e.Send(3*time.Second), "2560x1440")
		e.Close() // it was refused
		time.Sleep(time.Second)
		reason("2560x1440", false)
		e = w.publish(w.key, "")
		e.mustSend(5 * time.Second)
		reason("", false)
		if err := w.Stop(w.Context(), w.channel.ARN); err != nil {
			w.Error(err)
		}
		e.Close() // as above
		reason("StopStream", true)
		e = w.publish(w.key, "")
		e.mustSend(5 * time.Second)
		e.leave()
		time.Sleep(time.Second)
		reason("", false)
	})
}
