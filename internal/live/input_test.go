package live

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/flv"
	"github.com/millrace/millrace/internal/ingest"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/media/mediatest"
)

// What an encoder announces after Stream Start is shown.
func TestLateMetadata(t *testing.T) {
	bubble(t, ivs.TypeBasic, Limits{}, func(w *world) {
		e := w.publish(w.key, "")
		e.mustSend(10 * time.Second)
		if got := w.session().IngestConfigurations.Video[0].Encoder; got != "first encoder" {
			w.Errorf("the session shows encoder %q", got)
		}
		if err := e.client.WriteMetadata(flv.Metadata{Encoder: "second name", VideoDataRate: 700e3}); err != nil {
			w.Fatal(err)
		}
		e.mustSend(5 * time.Second)
		if got := w.session().IngestConfigurations.Video[0]; got.Encoder != "second name" || got.TargetBitrate != 700e3 {
			w.Errorf("the session shows %+v", got)
		}
		e.leave()
	})
}

// inBand returns frames as an encoder sends them whose parameter sets are only in
// front of its key frames: all of them of the track of the first.
func inBand(frames []media.Frame, track *media.Track) (all []media.Frame) {
	for _, f := range frames {
		var data []byte
		if f.Track.IsVideo() && f.Key {
			for _, nal := range slices.Concat(f.Track.Video.SPS, f.Track.Video.PPS) {
				data = append(data, 0, 0, byte(len(nal)>>8), byte(len(nal)))
				data = append(data, nal...)
			}
		}
		f.Data = append(data, f.Data...)
		if f.Track.IsVideo() {
			f.Track = track
		}
		all = append(all, f)
	}
	return all
}

// A size that changes in the parameter sets of a key frame is shown by the session,
// begins a discontinuity, and is held against the limits.
func TestSizeChangesInBand(t *testing.T) {
	small := mediatest.Source{Size: "426x240", Seconds: 4, NoAudio: true, GOP: 30}
	medium := mediatest.Source{Size: "640x360", Seconds: 4, NoAudio: true, GOP: 30}
	large := mediatest.Source{Size: "2560x1440", Seconds: 1, NoAudio: true, GOP: 30}
	for _, s := range []mediatest.Source{small, medium, large} {
		s.Frames(t) // ffmpeg's time is real
	}
	bubble(t, ivs.TypeBasic, Limits{}, func(w *world) {
		track := medium.Frames(w.T)[0].Track
		frames := inBand(slices.Concat(medium.Frames(w.T), mediatest.Shift(small.Frames(w.T), 4*time.Second), mediatest.Shift(large.Frames(w.T), 8*time.Second)), track)
		e := w.publish(w.key, "")
		began := time.Now()
		for _, f := range frames {
			time.Sleep(f.DTS - time.Since(began))
			if e.client.WriteFrame(f) != nil {
				break // the server has had enough
			}
			if f.DTS >= 7900*time.Millisecond && f.DTS < 8*time.Second {
				if v := w.session().IngestConfigurations.Video[0]; v.VideoHeight != 240 || v.VideoWidth != 426 {
					w.Errorf("the session shows %dx%d", v.VideoWidth, v.VideoHeight)
				}
			}
		}
		w.refused(e.client.Close(), "2560")
		if got := w.session().IngestConfigurations.Video[0]; got.VideoHeight != 240 {
			w.Errorf("the session shows %d lines", got.VideoHeight)
		}
	})
}

// The health sentence and the log name what cannot be carried as it comes.
func TestInputIsReported(t *testing.T) {
	bubble(t, ivs.TypeBasic, Limits{}, func(w *world) {
		frames := mediatest.Source{Seconds: 12, GOP: 30}.Frames(w.T)
		src := &irregular{frames: frames, stats: media.InputStats{Early: 7, Malformed: 3, Repaired: 1}, info: ingest.Info{StreamKey: w.key, Secure: true}}
		done := make(chan error, 1)
		go func() { done <- w.Publish(w.Context(), src) }()
		time.Sleep(8 * time.Second)
		sentence := w.Session(w.channel.ARN).Report().Sentence
		for _, want := range []string{"7 frames came", "3 frames were damaged"} {
			if !strings.Contains(sentence, want) {
				w.Errorf("the health report says %q, and not %q", sentence, want)
			}
		}
		if err := <-done; err == nil {
			w.Error("the source ended without its error")
		}
		if want := "input.early=7 input.malformed=3 input.repaired=1"; !strings.Contains(w.log.String(), want) || w.Hub.Input.Load() != src.stats {
			w.Errorf("the log lacks %q; the node counts %+v", want, w.Hub.Input.Load())
		}
	})
}

// An irregular source sends frames in time and says that some could not be carried.
type irregular struct {
	frames []media.Frame
	stats  media.InputStats
	info   ingest.Info
	began  time.Time
}

func (s *irregular) ReadFrame() (media.Frame, error) {
	if s.began.IsZero() {
		s.began = time.Now()
	}
	if len(s.frames) == 0 {
		return media.Frame{}, ingest.Refuse(ingest.Unsupported, "that is all")
	}
	f := s.frames[0]
	s.frames = s.frames[1:]
	time.Sleep(f.DTS - time.Since(s.began))
	f.Data = bytes.Clone(f.Data)
	return f, nil
}

func (s *irregular) Info() ingest.Info         { return s.info }
func (s *irregular) Accept() error             { return nil }
func (s *irregular) Metadata() ingest.Metadata { return ingest.Metadata{} }
func (s *irregular) AudioTrack() *media.Track  { return nil }
func (s *irregular) Stats() media.InputStats   { return s.stats }
func (s *irregular) Cut(error)                 {}
func (s *irregular) End(error)                 {}
