package relay

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/millrace/millrace/internal/hls"
)

// maxMissed bounds how many segments are filled in with gaps at once.
const maxMissed = 1000

// A replica is a copy of the owner's stream, and how far it has come. One goroutine
// uses it.
type replica struct {
	stream     *hls.Stream
	renditions map[string]*rendition
}

func newReplica(s *hls.Stream) *replica {
	return &replica{s, map[string]*rendition{}}
}

// A rendition is one of a replica.
type rendition struct {
	*hls.Rendition
	init *hls.Init
	head hls.Head      // of the segment that has begun
	next hls.Position  // what it needs
	fill time.Duration // of the segment so far
	end  time.Time     // of the last segment
	lost bool          // there was no memory for a part; the rest of its segment is left out
}

// positions returns how much of each rendition the replica has, for the owner.
func (c *replica) positions() map[string]hls.Position {
	have := make(map[string]hls.Position, len(c.renditions))
	for name, r := range c.renditions {
		have[name] = r.next
	}
	return have
}

// take makes a change. One of a kind that this version does not know, which a neighbouring
// one may send, is none.
func (c *replica) take(m *change, media []byte) error {
	if !slices.Contains(kindNames[1:], m.Kind) {
		return nil
	}
	if err := m.check(); err != nil {
		return err
	}
	return c.apply(m, media)
}

// apply makes a change, which has been checked.
func (c *replica) apply(m *change, media []byte) error {
	switch m.Kind {
	case kindNames[hls.RenditionAdded]:
		return c.add(m.Rendition, m.Added)
	case kindNames[hls.AdBreaksSet]:
		var list []hls.AdBreak
		for _, b := range m.AdBreaks {
			list = append(list, hls.AdBreak(b))
		}
		c.stream.SetAdBreaks(list)
		return nil
	}
	r := c.renditions[m.Rendition]
	if r == nil {
		return fmt.Errorf("%w: rendition %q was not added", errProtocol, m.Rendition)
	}
	switch m.Kind {
	case kindNames[hls.RenditionRemoved]:
		delete(c.renditions, m.Rendition)
		r.Remove()
	case kindNames[hls.RenditionClosed]:
		r.Close()
	case kindNames[hls.FallbackSet]:
		r.SetFallback(m.Fallback)
	case kindNames[hls.InitSet]:
		return r.setInit(m.Init)
	case kindNames[hls.PartAdded]:
		return r.addPart(m, media)
	case kindNames[hls.SegmentEnded]:
		if r.lost {
			m.Duration = r.fill
		}
		r.endSegment(m.Duration)
	case kindNames[hls.GapAdded]:
		return r.addGap(m.Head, m.Duration)
	}
	return nil
}

func (c *replica) add(name string, a *addedJSON) error {
	if c.renditions[name] != nil || len(c.renditions) >= maxRenditions {
		return fmt.Errorf("%w: rendition %q was added before, or there are too many", errProtocol, name)
	}
	r := c.stream.AddRendition(name, hls.Listing{Label: a.Label, Bitrate: a.Bitrate, AudioOnly: a.AudioOnly})
	r.Continue(hls.History{Discontinuities: a.Discontinuities, Bytes: a.Bytes, Media: a.Media, Peak: a.Peak, Longest: a.Longest})
	c.renditions[name] = &rendition{Rendition: r}
	return nil
}

// setInit sets the init of the heads that follow. After a connection was lost it
// may be the one that there is.
func (r *rendition) setInit(i *initJSON) error {
	if r.init != nil && r.init.Number == i.Number {
		return nil
	}
	init, err := i.init()
	if err != nil {
		return err
	}
	r.init = init
	return nil
}

// addPart adds a part. Where there is no memory or descriptor for it the rest of its
// segment is left out: begin makes a gap of one that has no part.
func (r *rendition) addPart(m *change, media []byte) error {
	if m.Head == nil && r.lost {
		return nil
	}
	if m.Head != nil {
		if err := r.begin(m.Head); err != nil {
			return err
		}
	}
	if r.init == nil || m.Head == nil && r.next.Parts == 0 {
		return fmt.Errorf("%w: a part without its segment", errProtocol)
	}
	p := m.Part
	part := hls.Part{Number: p.Number, End: p.End, Duration: p.Duration, Independent: p.Independent}
	details := hls.Details{Frame: p.Frame, PartTarget: p.Target, KeyInterval: p.KeyInterval, Captions: p.Captions}
	if err := r.AddPart(r.head, part, details, media); err != nil {
		if errors.Is(err, hls.ErrClosed) {
			return err
		}
		r.lost = true
		return nil
	}
	r.lost, r.head.Discontinuity = false, false
	r.next.Parts++
	r.fill = p.End
	return nil
}

// begin begins a segment. Those before it that were missed, because this node or its
// connection was too slow or had no memory, become gaps; a discontinuity of theirs that is
// known is the segment's.
func (r *rendition) begin(h *headJSON) error {
	if r.end.IsZero() && r.next.Parts == 0 { // the first one
		r.next.Segment, r.end = h.Number, h.Date
	}
	if r.next.Parts > 0 {
		r.endSegment(r.fill)
	}
	missed := h.Number - r.next.Segment
	if missed < 0 || missed > maxMissed {
		return fmt.Errorf("%w: segment %d after %d", errProtocol, h.Number, r.next.Segment-1)
	}
	if missed > 0 {
		each := min(max(h.Date.Sub(r.end)/time.Duration(missed), time.Millisecond), r.MaxDuration())
		for range missed {
			if err := r.gap(hls.Head{Number: r.next.Segment, Date: r.end}, each); err != nil {
				return err
			}
		}
	}
	r.head = hls.Head{Number: h.Number, PTS: h.PTS, Date: h.Date.UTC(), Init: r.init, Discontinuity: h.Discontinuity || r.head.Discontinuity, Independent: h.Independent}
	return nil
}

func (r *rendition) endSegment(d time.Duration) {
	if r.next.Parts == 0 {
		return // it has ended before
	}
	r.EndSegment(d, false)
	r.next = hls.Position{Segment: r.next.Segment + 1}
	r.end = r.head.Date.Add(d)
}

func (r *rendition) addGap(h *headJSON, d time.Duration) error {
	if err := r.begin(h); err != nil {
		return err
	}
	return r.gap(r.head, d)
}

func (r *rendition) gap(h hls.Head, d time.Duration) error {
	if r.init == nil {
		return fmt.Errorf("%w: a gap without an init segment", errProtocol)
	}
	h.Init = r.init
	r.AddGap(h, d)
	r.next = hls.Position{Segment: h.Number + 1}
	r.end = h.Date.Add(d)
	return nil
}

// close ends all renditions with EXT-X-ENDLIST.
func (c *replica) close() {
	for _, r := range c.renditions {
		r.Close()
	}
}
