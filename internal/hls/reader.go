package hls

import (
	"context"
	"io"
	"time"
)

// A Segment is a complete segment of a rendition, as returned by a Reader. Its media
// stays in memory until Close.
type Segment struct {
	Number        int64     // EXT-X-MEDIA-SEQUENCE
	Date          time.Time // EXT-X-PROGRAM-DATE-TIME
	Duration      time.Duration
	Discontinuity bool // it follows an EXT-X-DISCONTINUITY
	Independent   bool // begins with a key frame
	Gap           bool // it has no media: EXT-X-GAP
	Init          *Init
	Parts         []Part // in order, from offset 0 to Size; their Durations may leave holes
	Size          int64  // bytes of media
	DateRanges    string // EXT-X-DATERANGE lines of the ad breaks that begin or end in it

	file *file
}

// Media returns a reader of the segment's media. Reading fails after Close.
func (g *Segment) Media() *io.SectionReader {
	if g.Gap {
		return io.NewSectionReader(nil, 0, 0)
	}
	return io.NewSectionReader(g.file, 0, g.Size)
}

// Close releases the media. It must be called once.
func (g *Segment) Close() {
	if !g.Gap {
		g.file.release()
	}
}

// A Reader follows the complete segments of a Rendition. Only one goroutine may use it.
// It retains nothing: a Reader that is not used costs the rendition nothing, and a slow
// one misses the segments that have left the window.
type Reader struct {
	rendition *Rendition
	next      int64
}

// Follow returns a Reader that begins with the segment of that media sequence number, or
// with the oldest later one that is still there.
func (r *Rendition) Follow(from int64) *Reader { return &Reader{rendition: r, next: from} }

// Next waits for the next segment and returns it, and the number of segments before it
// that were missed. The caller must close the segment. The error is io.EOF at the end of
// the rendition, where missed still counts, or the cause for which ctx ended.
func (d *Reader) Next(ctx context.Context) (g *Segment, missed int64, err error) {
	s := d.rendition.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		g, missed := d.nextLocked()
		if g != nil {
			return g, missed, nil
		}
		if d.rendition.ended {
			return nil, missed, io.EOF
		}
		changed := d.rendition.nextChangeLocked()
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		s.mu.Lock()
		if ctx.Err() != nil {
			return nil, 0, context.Cause(ctx)
		}
	}
}

// nextLocked returns the next segment if it is complete. Where there is none to
// come it returns how many were missed.
func (d *Reader) nextLocked() (*Segment, int64) {
	w := &d.rendition.window
	d.next = max(d.next, w.first)
	oldest := w.end
	if len(w.segments) > 0 {
		oldest = w.segments[0].number
	}
	missed := max(oldest-d.next, 0)
	g := w.find(d.next + missed)
	if g == nil || !g.complete {
		if d.rendition.ended {
			d.next += missed
		}
		return nil, missed
	}
	d.next = g.number + 1
	if !g.gap() {
		g.file.hold()
	}
	return &Segment{
		Number: g.number, Date: g.date, Duration: g.duration, Discontinuity: g.discontinuity, Independent: g.independent,
		Gap: g.gap(), Init: g.init, Parts: g.parts, Size: g.size, DateRanges: string(d.rendition.stream.cues.within(g.date, g.date.Add(g.duration))), file: g.file,
	}, missed
}
