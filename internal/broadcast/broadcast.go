// Package broadcast carries the frames of one broadcast from its encoder to its
// renditions. A Broadcast is the only media path there is: WriteFrame places a frame on
// the broadcast's timeline, has it measured, fills gaps in the audio with silence, and
// writes it to every rendition. Who may publish, for how long and within which limits is
// decided elsewhere (live); there is no database and no API here.
package broadcast

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/meter"
	"github.com/millrace/millrace/internal/segment"
	"github.com/millrace/millrace/internal/timeline"
)

// renditionsWithin is how long viewers wait for the first frames of all
// renditions, so that the first of them are offered all.
const renditionsWithin = 4 * time.Second

// A Broadcast carries what one encoder sends, or several encoders that take over from
// each other. Only one goroutine at a time may write to it; methods that any goroutine
// may call say so.
type Broadcast struct {
	Meter      meter.Meter  // measures what arrives
	Renditions Renditions   // makes the renditions other than the source; may be nil; set before the first frame
	Log        *slog.Logger // set before the first frame

	stream    *hls.Stream
	source    *segment.Leader // what the encoder sends, as it came
	ring      media.Ring      // the same frames, for Renditions to read
	outputs   Outputs         // of Renditions
	audioOnly audioOnly

	// The writer's own.
	clock        spliceClock
	silence      silence
	began        time.Time // when the first frame came
	video, audio *media.Track
	frames       int64

	// The writer sets these and any goroutine reads them.
	repairs  timeline.Totals // of the clock
	progress atomic.Int64    // the latest DTS
	tracks   atomic.Pointer[Tracks]
}

// Tracks are the current tracks of a broadcast. They are immutable: when a track changes
// there is a new Tracks.
type Tracks struct {
	Video *media.Track
	Audio *media.Track // nil without audio
}

// New returns a broadcast that writes to stream. Repairs of the encoder's clock are also
// counted in total, if that is not nil.
func New(stream *hls.Stream, total *timeline.Totals) *Broadcast {
	b := &Broadcast{stream: stream, source: segment.NewLeader(stream.AddRendition(SourceName, hls.Listing{})), Log: slog.Default()}
	b.audioOnly.ended = make(chan struct{})
	b.outputs.stream, b.outputs.source = stream, b.source
	b.clock.Totals = []*timeline.Totals{&b.repairs}
	if total != nil {
		b.clock.Totals = append(b.clock.Totals, total)
	}
	return b
}

// WriteFrame takes the next frame of the encoder, with the encoder's own times, and
// copies what it keeps; at is its time of arrival. announced is the audio track that the
// encoder has announced, nil if it has not. Viewers see nothing before the first key
// frame. An error means that the source can no longer be shown; frames for which the
// machine has no memory are left out without an error.
func (b *Broadcast) WriteFrame(f media.Frame, announced *media.Track, at time.Time) error {
	f, gap, ok := b.clock.Repair(f, at)
	if !ok {
		return nil
	}
	if b.began.IsZero() {
		b.began = at
	}
	epoch := b.clock.Epoch()
	b.source.SetEpoch(epoch)
	b.outputs.epoch.Store(epoch.UnixNano())
	b.noteTrack(f)
	b.Meter.Frame(f, at)
	if b.video == nil { // what comes before the first key frame has no segment to go into
		if f.Track.IsVideo() {
			return b.source.WriteFrame(f) // it drops and counts the frame
		}
		return nil
	}
	if gap {
		_ = b.source.Discontinuity() // WriteFrame returns the same error
	}
	if f.Track.IsVideo() {
		if !b.source.Begun() && announced != nil && announced.SilentFrame() != nil {
			b.source.ExpectAudio(announced, f.DTS) // its own, or silence
		}
		if err := b.silence.fill(announced, f.DTS, b.writeRenditions); err != nil {
			return err
		}
	} else if !b.silence.audio(f) {
		return nil
	}
	b.frames++
	b.progress.Store(int64(f.DTS))
	return b.writeRenditions(f)
}

// noteTrack keeps track of what the broadcast has. It has no video that nobody can see
// yet, for want of a key frame.
func (b *Broadcast) noteTrack(f media.Frame) {
	switch t := f.Track; {
	case t == b.video || t == b.audio || t.IsVideo() && !f.Key:
		return
	case t.IsVideo():
		b.video = t
	default:
		b.audio = t
	}
	if b.video != nil {
		b.tracks.Store(&Tracks{b.video, b.audio})
	}
}

// writeRenditions writes a frame to the source's rendition, to the rendition of its audio
// alone, and to the ring from which Renditions read, which never waits.
func (b *Broadcast) writeRenditions(f media.Frame) error {
	err := b.source.WriteFrame(f)
	if lost := b.source.Lost(); lost != nil {
		b.Log.Error("a part of a stream was left out; players continue with the next key frame", "error", lost)
	}
	if b.Renditions != nil {
		_ = b.ring.WriteFrame(f) // it is closed when no renditions are made any more
	}
	if !f.Track.IsVideo() {
		b.audioOnly.write(f, b.Log)
	}
	return err
}

// Splice continues with another encoder, whose first frame came at the given time. The
// timeline continues: players see no more than a short pause.
func (b *Broadcast) Splice(at time.Time) {
	b.clock.splice(at)
	b.Meter.NewEncoder()
	b.source.Splice()
}

// Ready reports whether viewers may be let in: a player can start, and every rendition
// plays or is no longer worth waiting for.
func (b *Broadcast) Ready(now time.Time) bool {
	select {
	case <-b.stream.Ready():
		return b.Renditions == nil || now.Sub(b.began) > renditionsWithin || b.outputs.ready()
	default:
		return false
	}
}

// Began returns when the first frame came; zero before that. Only the writer may call it.
func (b *Broadcast) Began() time.Time { return b.began }

// MakeRenditions runs Renditions until the source is closed, they give up, or ctx is
// done. If they give up, the error says why, and the broadcast continues with its source
// alone. It is called at most once.
func (b *Broadcast) MakeRenditions(ctx context.Context) error {
	err := b.Renditions.Run(ctx, &b.ring, &b.outputs)
	if err != nil {
		b.ring.Discard()
		b.outputs.remove()
	}
	return err
}

// CloseSource ends the source's rendition cleanly when the encoder has left. Renditions
// get the remaining frames and end. It may be called from any goroutine once the writer
// has ended, like Close.
func (b *Broadcast) CloseSource() {
	if err := b.source.Close(); err != nil {
		b.Log.Error("writing the end of the source failed", "error", err)
	}
	if b.Renditions != nil {
		b.ring.Close()
	}
}

// Close ends the other renditions. It must be called after CloseSource, and after
// MakeRenditions has returned.
func (b *Broadcast) Close() {
	b.outputs.close(b.Log)
	b.audioOnly.close()
}

// Tracks returns the current tracks; nil before the first key frame. It may be called from
// any goroutine.
func (b *Broadcast) Tracks() *Tracks { return b.tracks.Load() }

// Duration returns how much media has come. It may be called from any goroutine.
func (b *Broadcast) Duration() time.Duration {
	return max(0, time.Duration(b.progress.Load())-timeline.Start)
}

// Frames returns how many frames were written to the source's rendition. Only the writer
// may call it or, once the writer has ended, any goroutine.
func (b *Broadcast) Frames() int64 { return b.frames }

// Stats are counters of the source's rendition and of its frames.
type Stats struct {
	hls.Stats
	segment.Counters
}

// Stats returns the counters so far. It may be called from any goroutine.
func (b *Broadcast) Stats() Stats { return Stats{b.source.Rendition().Stats(), b.source.Counters()} }

// Repairs returns counts of the repairs to the encoder's clock. It may be called from any
// goroutine.
func (b *Broadcast) Repairs() timeline.Counters { return b.repairs.Load() }

// Thumbnail returns the latest thumbnail, made by Renditions; nil if there is none. It
// may be called from any goroutine.
func (b *Broadcast) Thumbnail() *Thumbnail { return b.outputs.thumbnail.Load() }
