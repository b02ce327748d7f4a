package record

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/store"
)

const (
	// selectionTime is how long the renditions of a selection may take to appear. After
	// that the best rendition that exists is recorded. The first segments are in the
	// window for longer.
	selectionTime = 6 * time.Second

	// hole is the shortest time without media that is listed as a gap.
	hole = 500 * time.Millisecond
)

// follow writes a stream's segments into the spool until it has ended, and no
// rendition has more.
func (c *recording) follow(ctx context.Context, s *source) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.setSource(s)
	var readers sync.WaitGroup
	f := &follower{recording: c, source: s, variants: map[*hls.Rendition]variant{}}
	start := func(task func(context.Context)) { readers.Go(func() { task(ctx) }) }
	awaitImages := c.makeImages(ctx, s)
	timer := time.NewTimer(selectionTime)
	defer timer.Stop()
	late := false
	for ended := false; !ended; {
		list, changed := s.Media.Renditions()
		f.start(list, late, start)
		select {
		case <-changed:
		case <-timer.C:
			late = true
		case <-c.cancelled:
			ended = true
			cancel()
		case <-s.ended:
			ended = true
		case <-ctx.Done():
			ended = true
		}
	}
	if ctx.Err() == nil {
		list, _ := s.Media.Renditions()
		f.start(list, true, start)
	}
	readers.Wait()
	awaitImages()
	c.noteEnd(f.end())
	c.align()
	c.reportEnd(ctx, s)
	c.detach(s.lost.Load())
}

// makeImages has the thumbnails of a stream made, if its configuration asks for any.
// await is called after the last media: where many streams need ffmpeg, those that are
// not made soon are left out, since the end of the recording and the next stream wait.
func (c *recording) makeImages(ctx context.Context, s *source) (await func()) {
	m := c.thumbnailer(s)
	if m == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.run(ctx)
	}()
	return func() {
		late := time.AfterFunc(c.recorder.thumbnailWait(), func() {
			c.log.Warn("skipped the last thumbnails of a stream: ffmpeg took too long")
			cancel()
		})
		<-done
		late.Stop()
		cancel()
	}
}

// reportEnd writes where the stream's media ends, for a node that may have to take the
// recording over.
func (c *recording) reportEnd(ctx context.Context, s *source) {
	if s.lost.Load() {
		return
	}
	err := s.retry(ctx, func() error {
		return c.recorder.Store.RecordingProgress(ctx, c.recorder.Owner, map[string]store.RecordingResult{c.ID: c.result()})
	})
	if err != nil && ctx.Err() == nil {
		c.log.Warn("writing where the recorded stream ends failed: other nodes do not know it", "error", err)
	}
}

// A follower has a stream's renditions read.
type follower struct {
	recording *recording
	source    *source

	mu       sync.Mutex
	variants map[*hls.Rendition]variant // guarded by mu; of those that have a reader, as they are now
	origin   time.Time                  // guarded by mu; program date of the stream's first segment
	writers  []*writer                  // guarded by mu
}

// start begins to read the selected renditions that are not being read yet.
func (f *follower) start(list []hls.Variant, late bool, start func(func(context.Context))) {
	c := f.recording
	all := make([]rendition, len(list))
	for i, v := range list {
		all[i] = rendition{width: v.Width, height: v.Height, fallback: v.Fallback}
	}
	var begin []hls.Variant // noted before any of them is read
	for i, pick := range selected(c.Configuration.RenditionConfiguration, c.ChannelType, all, late) {
		v := list[i]
		if v.Codecs != "" && f.note(v, pick) {
			begin = append(begin, v)
		}
	}
	for _, v := range begin {
		start(func(ctx context.Context) {
			if err := f.run(ctx, v); err != nil && ctx.Err() == nil {
				c.fail(fmt.Errorf("rendition %s: %w", v.Label, err))
			}
		})
	}
}

// note stores the present attributes of a rendition, and reports whether the follower
// should begin to read it.
func (f *follower) note(v hls.Variant, pick bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, known := f.variants[v.Rendition]
	if known || pick {
		f.variants[v.Rendition] = variantOf(v)
	}
	return pick && !known
}

func (f *follower) variant(r *hls.Rendition) variant {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.variants[r]
}

// variantOf returns a rendition as multivariant playlists show it. Its name is that of
// Amazon IVS, such as "720p30".
func variantOf(v hls.Variant) variant {
	name := v.Label
	if v.Height > 0 {
		name = fmt.Sprintf("%dp%d", media.Lines(v.Width, v.Height), int(math.Round(v.FrameRate)))
	}
	return variant{Name: name, Codecs: v.Codecs, Width: v.Width, Height: v.Height, FrameRate: v.FrameRate, Captions: v.Captions}
}

// run writes the segments of one rendition into its track.
func (f *follower) run(ctx context.Context, v hls.Variant) error {
	t, err := f.recording.trackFor(variantOf(v))
	if err != nil {
		return err
	}
	w := t.writer
	w.mu.Lock() // an earlier rendition of this name may still be written
	defer w.mu.Unlock()
	if err := w.open(); err != nil {
		return err
	}
	f.mu.Lock()
	f.writers = append(f.writers, w)
	f.mu.Unlock()
	err = f.copy(ctx, v.Rendition, w)
	return errors.Join(err, w.close())
}

// copy returns at the end of the rendition.
func (f *follower) copy(ctx context.Context, r *hls.Rendition, w *writer) error {
	reader := r.Follow(0)
	first, discontinuity := true, true // to the media that the track already has
	for {
		g, missed, err := reader.Next(ctx)
		same := w.stream == f.source.StreamID
		if errors.Is(err, io.EOF) {
			if missed > 0 {
				f.lose(w, missed)
			}
			return nil
		}
		if err != nil {
			return err
		}
		if first && same && w.has(g) { // from a rendition of this name that came before
			g.Close()
			continue
		}
		if missed > 0 && same && (!first || g.Date.Sub(w.end) > hole) {
			discontinuity = true
			w.missed = true
			f.recording.log.Error("segments are not recorded: the spool's disk was too slow", "segments", missed, "rendition", w.name())
		}
		first = false
		files := w.next
		err = w.describe(f.variant(r))
		if err == nil {
			err = f.add(w, g, discontinuity)
		}
		g.Close()
		if err != nil {
			return err
		}
		discontinuity = false
		if w.next > files { // one is complete
			f.recording.notify()
		}
	}
}

// lose notes that the last segments of a rendition were gone before they were read.
// What follows in the track is preceded by a gap, unless another rendition of this
// name has them.
func (f *follower) lose(w *writer, segments int64) {
	f.recording.log.Error("the last segments of a rendition were gone before they were recorded", "segments", segments, "rendition", w.name())
	w.missed = true
	f.mu.Lock()
	defer f.mu.Unlock()
	if w.stream != f.source.StreamID && !f.origin.IsZero() { // it has nothing of this stream
		w.stream, w.end, w.begins = f.source.StreamID, f.origin, true
	}
}

// add writes a segment, and before it a gap for the time without any.
func (f *follower) add(w *writer, g *hls.Segment, discontinuity bool) error {
	begin := f.begin(g.Date)
	if w.stream == f.source.StreamID {
		begin = w.end
	} else {
		if err := w.align(f.recording.past()); err != nil {
			return err
		}
		w.stream, w.begins = f.source.StreamID, true
	}
	if d := g.Date.Sub(begin); d > hole && discontinuity {
		discontinuity = !w.begins // else the gap has it
		if err := w.skip(begin, d, w.missed); err != nil {
			return err
		}
	}
	w.missed = false
	return w.add(g, discontinuity)
}

// begin returns when the stream's media begins. date is the first date that the caller
// has seen.
func (f *follower) begin(date time.Time) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.origin.IsZero() {
		f.origin = f.earliest(date)
		f.recording.noteBegin(f.origin)
	}
	return f.origin
}

// earliest returns the first date in the windows of the renditions that are read, if it
// is before date: the rendition that begins first is not always the first one that is
// read. f.mu is held.
func (f *follower) earliest(date time.Time) time.Time {
	now, cancel := context.WithCancel(context.Background())
	cancel() // Next does not wait
	for r := range f.variants {
		g, _, err := r.Follow(0).Next(now)
		if err != nil {
			continue
		}
		if g.Date.Before(date) {
			date = g.Date
		}
		g.Close()
	}
	return date
}

// end returns the program date at which the stream ended; zero if it had no media.
func (f *follower) end() (end time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.writers {
		if w.stream == f.source.StreamID && w.end.After(end) {
			end = w.end
		}
	}
	return end
}
