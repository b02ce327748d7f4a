package hls

import (
	"context"
	"io"
	"slices"
	"time"
)

// A Change is one change of a Stream. A second Stream to which all changes of a Feed are
// applied in order answers players exactly like the first.
type Change struct {
	Kind      ChangeKind
	Rendition string // its name; "" for AdBreaksSet

	Listing  Listing       // of RenditionAdded
	History  History       // of RenditionAdded
	Fallback bool          // of FallbackSet
	Init     *Init         // of InitSet
	Head     *Head         // of GapAdded, and of a PartAdded that begins a segment; without its Init
	Part     Part          // of PartAdded
	Details  Details       // of PartAdded
	Duration time.Duration // of SegmentEnded and GapAdded
	AdBreaks []AdBreak     // of AdBreaksSet

	file *file // of PartAdded; held
}

// A ChangeKind says what a Change does, in the terms of the methods that do it.
type ChangeKind uint8

// The kinds of changes.
const (
	RenditionAdded   ChangeKind = iota + 1 // Stream.AddRendition, and Rendition.Continue
	RenditionRemoved                       // Rendition.Remove
	RenditionClosed                        // Rendition.Close
	FallbackSet                            // Rendition.SetFallback
	InitSet                                // the Init of the heads that follow
	PartAdded                              // Rendition.AddPart
	SegmentEnded                           // Rendition.EndSegment
	GapAdded                               // Rendition.AddGap
	AdBreaksSet                            // Stream.SetAdBreaks
)

// Media returns a reader of the part's media. Reading fails after Close.
func (c *Change) Media() *io.SectionReader {
	return io.NewSectionReader(c.file, c.Part.Offset, c.Part.Size)
}

// Close releases the media. It must be called once for each Change.
func (c *Change) Close() {
	if c.file != nil {
		c.file.release()
	}
}

// A Position says how far a copy of a rendition has come: it needs what follows that many
// parts of a segment.
type Position struct {
	Segment int64 // media sequence number
	Parts   int
}

// A Feed follows all renditions of a Stream, part by part. Only one goroutine may use it.
// Like a Reader it retains nothing and never delays the writer: a slow one misses
// segments, which shows in the number of the next Head.
type Feed struct {
	// TargetDuration is the Stream's, which is final: playlists have it.
	TargetDuration time.Duration

	stream  *Stream
	follows []*followed
	breaks  int64 // how often ad breaks had been set
}

// followed is a rendition, and how far it was read.
type followed struct {
	*Rendition // nil for one that the copy has and the Stream has no more
	name       string
	next       Position
	init       *Init
	fresh      bool // nothing was read yet, and the copy has nothing of it
	fallback   bool
	ended      bool
}

// Feed waits until there is something to play, and returns a Feed for a copy that has the
// given positions, by names of renditions. For other renditions the Feed begins with the
// oldest segment that players could fetch. The error is the cause for which ctx ended.
func (s *Stream) Feed(ctx context.Context, have map[string]Position) (*Feed, error) {
	select {
	case <-s.Ready():
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.renditions { // as the first player would have it decided
		if g := r.window.last(); g != nil {
			s.decideTargetEarlyLocked(r.window.segments[0].duration, r.details.KeyInterval)
			break
		}
	}
	d := &Feed{TargetDuration: s.target, stream: s}
	for name, next := range have {
		d.follows = append(d.follows, &followed{Rendition: s.renditionLocked(name), name: name, next: next})
	}
	return d, nil
}

// Next waits for changes and returns all that there are, at least one. The caller must
// close each. The error is io.EOF when all renditions have ended, or the cause for which
// ctx ended.
func (d *Feed) Next(ctx context.Context) ([]Change, error) {
	s := d.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if list := d.changesLocked(); len(list) > 0 {
			return list, nil
		}
		if s.endedLocked() {
			return nil, io.EOF
		}
		if s.anyChanged == nil {
			s.anyChanged = make(chan struct{})
		}
		changed := s.anyChanged
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		s.mu.Lock()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
}

// anyChangedLocked wakes all Feeds of the Stream.
func (s *Stream) anyChangedLocked() {
	if s.anyChanged != nil {
		close(s.anyChanged)
		s.anyChanged = nil
	}
}

func (s *Stream) endedLocked() bool {
	return !slices.ContainsFunc(s.renditions, func(r *Rendition) bool { return !r.ended })
}

func (d *Feed) changesLocked() (list []Change) {
	s := d.stream
	if s.cues.changes != d.breaks {
		d.breaks = s.cues.changes
		list = append(list, Change{Kind: AdBreaksSet, AdBreaks: s.cues.adBreaks()})
	}
	d.follows = slices.DeleteFunc(d.follows, func(f *followed) bool {
		if f.Rendition != nil && slices.Contains(s.renditions, f.Rendition) {
			return false
		}
		list = append(list, Change{Kind: RenditionRemoved, Rendition: f.name})
		return true
	})
	for _, r := range s.renditions {
		i := slices.IndexFunc(d.follows, func(f *followed) bool { return f.Rendition == r })
		if i < 0 {
			i = len(d.follows)
			d.follows = append(d.follows, &followed{Rendition: r, name: r.name, fresh: true})
		}
		list = d.follows[i].appendLocked(list)
	}
	return list
}

// appendLocked appends what has changed of a rendition.
func (f *followed) appendLocked(list []Change) []Change {
	w := &f.window
	if f.fresh {
		f.fresh = false
		list = append(list, Change{Kind: RenditionAdded, Rendition: f.name, Listing: f.listing, History: w.history()})
	}
	if f.fallback != f.Rendition.fallback {
		f.fallback = f.Rendition.fallback
		list = append(list, Change{Kind: FallbackSet, Rendition: f.name, Fallback: f.fallback})
	}
	for _, g := range w.segments {
		if g.number >= f.next.Segment {
			list = f.appendSegment(list, g)
		}
	}
	if f.Rendition.ended && !f.ended {
		f.ended = true
		list = append(list, Change{Kind: RenditionClosed, Rendition: f.name})
	}
	return list
}

// appendSegment appends what was not read of a segment.
func (f *followed) appendSegment(list []Change, g *segment) []Change {
	if g.number > f.next.Segment {
		f.next = Position{Segment: g.number}
	}
	head := &Head{Number: g.number, PTS: g.pts, Date: g.date, Discontinuity: g.discontinuity, Independent: g.independent}
	if g.init != f.init {
		f.init = g.init
		list = append(list, Change{Kind: InitSet, Rendition: f.name, Init: g.init})
	}
	if g.gap() {
		f.next = Position{Segment: g.number + 1}
		return append(list, Change{Kind: GapAdded, Rendition: f.name, Head: head, Duration: g.duration})
	}
	for i := f.next.Parts; i < len(g.parts); i++ {
		c := Change{Kind: PartAdded, Rendition: f.name, Part: g.parts[i], Details: f.details, file: g.file}
		if i == 0 {
			c.Head = head
		}
		g.file.hold()
		list = append(list, c)
	}
	f.next.Parts = len(g.parts)
	if g.complete {
		f.next = Position{Segment: g.number + 1}
		list = append(list, Change{Kind: SegmentEnded, Rendition: f.name, Duration: g.duration})
	}
	return list
}

// A History holds what playlists say about the past of a rendition, before the oldest
// segment of its window.
type History struct {
	Discontinuities int64         // EXT-X-DISCONTINUITY-SEQUENCE of the oldest segment
	Bytes           int64         // of all segments before
	Media           time.Duration // in those bytes
	Peak            int64         // bits a second of the heaviest segment there was
	Longest         time.Duration // of all playlists that there were
}

func (w *window) history() History {
	h := History{w.discontinuity, w.totalBytes - w.bytes, w.totalDuration, w.peak, w.longest}
	for i, g := range w.segments {
		if i < w.listed && g.discontinuity {
			h.Discontinuities--
		}
		if n := len(g.parts); n > 0 {
			h.Media -= g.parts[n-1].End
		}
	}
	return h
}

// Continue sets the history of a rendition that has no media yet to that of the rendition
// of which it is a copy.
func (r *Rendition) Continue(h History) {
	r.stream.mu.Lock()
	defer r.stream.mu.Unlock()
	w := &r.window
	w.discontinuity, w.totalBytes, w.totalDuration, w.peak, w.longest = h.Discontinuities, h.Bytes, h.Media, h.Peak, h.Longest
}
