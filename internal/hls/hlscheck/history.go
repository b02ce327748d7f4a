package hlscheck

import (
	"maps"
	"math"
	"path"
	"slices"
	"strings"
)

// A rendition is the state of one media playlist over all its responses.
type rendition struct {
	dir        string
	target     int64
	partTarget float64
	segments   map[int64]*known
	parts      map[string]listedPart
	ended      bool
	lastMSN    int64 // at the end
	media      map[string]answer
}

// known is a segment and where it was first seen.
type known struct {
	segment
	complete    int  // the fetch that first had its EXTINF
	independent bool // a playlist that lists it has EXT-X-INDEPENDENT-SEGMENTS
}

type listedPart struct {
	part
	fetch int
}

type answer struct {
	fetch int
	bytes []byte
}

func (c *checker) rendition(dir string) *rendition {
	r := c.renditions[dir]
	if r == nil {
		r = &rendition{dir: dir, segments: map[int64]*known{}, parts: map[string]listedPart{}, media: map[string]answer{}}
		c.renditions[dir] = r
	}
	return r
}

// compare checks a playlist against those that came before it: what has been
// said stays true (RFC 8216, 6.2.1 and 6.2.2).
func (c *checker) compare(r *rendition, p *playlist) {
	if r.target == 0 {
		r.target, r.partTarget = p.target, p.partTarget
	}
	c.require(p.target == r.target, "target-changed", "EXT-X-TARGETDURATION was %d and is %d", r.target, p.target)
	c.require(p.partTarget == r.partTarget, "target-changed", "PART-TARGET was %g and is %g", r.partTarget, p.partTarget)
	last := p.segments[len(p.segments)-1]
	c.require(!r.ended || last.msn <= r.lastMSN, "endlist", "segment %d came after EXT-X-ENDLIST", last.msn)
	if p.ended {
		r.ended, r.lastMSN = true, last.msn
		c.require(last.uri != "", "endlist", "the last segment is not complete at the end")
	}
	c.checkSkip(r, p)
	for _, g := range p.segments {
		c.compareSegment(r, p, g)
	}
}

func (c *checker) compareSegment(r *rendition, p *playlist, g segment) {
	c.line = g.line
	for _, q := range g.parts {
		old, ok := r.parts[q.uri]
		c.require(!ok || old.part == q, "part-changed", "%+v was %+v", q, old.part)
		if !ok {
			r.parts[q.uri] = listedPart{q, c.fetch}
		}
	}
	old := r.segments[g.msn]
	if old == nil {
		old = &known{segment: g}
		r.segments[g.msn] = old
	}
	c.require(old.dseq == g.dseq, "discontinuity-sequence", "segment %d had number %d and has %d", g.msn, old.dseq, g.dseq)
	c.require(old.pdt.Equal(g.pdt), "segment-changed", "segment %d was dated %v and is %v", g.msn, old.pdt, g.pdt)
	c.require(old.init == g.init, "segment-changed", "segment %d had EXT-X-MAP %q and has %q", g.msn, old.init, g.init)
	if old.uri != "" && g.uri != "" {
		c.require(old.uri == g.uri && old.duration == g.duration && old.gap == g.gap, "segment-changed", "segment %d was %s of %g s and is %s of %g s", g.msn, old.uri, old.duration, g.uri, g.duration)
	}
	if g.uri != "" && old.complete == 0 {
		old.complete = c.fetch
	}
	if len(g.parts) < len(old.parts) {
		g.parts = old.parts // they are too old to be listed
	}
	if g.uri == "" {
		g.uri, g.duration, g.gap = old.uri, old.duration, old.gap
	}
	old.segment = g
	old.independent = old.independent || p.independent
}

// checkSkip checks a Playlist Delta Update: what it leaves out must be known
// from earlier, and be beyond the Skip Boundary. It merges the discontinuities
// of what is left out.
func (c *checker) checkSkip(r *rendition, p *playlist) {
	if p.skipped == 0 {
		return
	}
	c.require(p.skipUntil > 0, "skip", "EXT-X-SKIP without CAN-SKIP-UNTIL")
	toEnd := 0.0
	for _, g := range p.segments {
		toEnd += g.length()
	}
	first := p.segments[0].msn
	for msn := first - 1; msn >= first-p.skipped; msn-- {
		g := r.segments[msn]
		if g == nil {
			c.report("skip", "segment %d is skipped and was never listed", msn)
			return
		}
		c.require(toEnd >= p.skipUntil-rounding, "skip", "segment %d ends %g s from the end and is skipped", msn, toEnd)
		if g.discontinuity {
			for i := range p.segments {
				p.segments[i].dseq++
			}
		}
		toEnd += g.length()
	}
}

// checkMedia checks the bytes that were fetched against what playlists said of
// them.
func (c *checker) checkMedia() {
	c.line = 0
	c.checkAligned()
	for _, r := range c.renditions {
		var begins []begin
		for msn, g := range r.segments {
			if s, ok := c.checkSegmentBytes(r, g); ok && s.frames > 0 {
				begins = append(begins, begin{msn, s.first})
			}
		}
		for name, p := range r.parts {
			c.checkPartBytes(r, name, p)
		}
		c.checkSegmentTimes(r, begins)
		c.checkBandwidth(r)
	}
}

// checkAligned holds the renditions of a stream against each other: the same
// number is the same time in all of them, to the millisecond (RFC 8216, 6.2.4;
// HLS Authoring Specification, 8.12).
func (c *checker) checkAligned() {
	first := map[int64]*known{}
	for _, dir := range slices.Sorted(maps.Keys(c.renditions)) {
		for msn, g := range c.renditions[dir].segments {
			if g.uri == "" {
				continue // it may still grow
			}
			other := first[msn]
			if other == nil {
				first[msn] = g
				continue
			}
			c.fetch = g.complete
			c.require(g.pdt.Equal(other.pdt) && g.duration == other.duration, "aligned", "segment %d of %s begins at %v and lasts %g s, in another rendition at %v and %g s",
				msn, dir, g.pdt, g.duration, other.pdt, other.duration)
		}
	}
}

// checkBandwidth compares BANDWIDTH with the segments that were complete by
// then (RFC 8216, 4.3.4.2: at most 10 % more).
func (c *checker) checkBandwidth(r *rendition) {
	for _, v := range c.variants {
		if v.uri != r.dir && !strings.HasSuffix("/"+v.uri, path.Join("/", r.dir, "playlist.m3u8")) {
			continue
		}
		for _, g := range r.segments {
			m, ok := r.media[g.uri]
			if !ok || g.duration < float64(r.target)/2 || g.complete >= v.fetch {
				continue
			}
			c.fetch = v.fetch
			rate := float64(len(m.bytes)) * 8 / g.duration
			c.require(rate <= 1.1*float64(v.bandwidth), "bandwidth", "segment %d has %.0f bits per second, BANDWIDTH=%d", g.msn, rate, v.bandwidth)
		}
	}
}

// probe looks into media. Of a foreign server's it takes MPEG-TS alone, and finds
// nothing in what it cannot read.
func (c *checker) probe(name string, b []byte) (summary, error) {
	if !c.foreign {
		return probe(name, b)
	}
	name, _, _ = strings.Cut(name, "?")
	if path.Ext(name) != ".ts" {
		return summary{}, nil
	}
	s, err := probeTS(b)
	if err != nil {
		return summary{}, nil
	}
	return s, nil
}

func (c *checker) checkPartBytes(r *rendition, name string, p listedPart) {
	m, ok := r.media[name]
	if !ok {
		return
	}
	c.fetch = m.fetch
	c.require(!p.gap, "gap", "part %s is a gap and has bytes", name)
	s, err := c.probe(name, m.bytes)
	if err != nil {
		c.report("media", "part %s: %v", name, err)
		return
	}
	if s.frames > 0 && !c.foreign { // whose codec may be any
		c.require(p.independent == (s.keys > 0), "independent", "part %s has %d key frames, INDEPENDENT is %v", name, s.keys, p.independent)
	}
}

// checkSegmentBytes also checks that a segment is its parts, in a row.
func (c *checker) checkSegmentBytes(r *rendition, g *known) (summary, bool) {
	m, ok := r.media[g.uri]
	if !ok {
		return summary{}, false
	}
	c.fetch = m.fetch
	c.require(!g.gap, "gap", "segment %d is a gap and has bytes", g.msn)
	s, err := c.probe(g.uri, m.bytes)
	if err != nil {
		c.report("media", "segment %d: %v", g.msn, err)
		return summary{}, false
	}
	if g.independent && s.frames > 0 && !c.foreign {
		c.require(s.keyFirst, "independent-segments", "segment %d does not begin with a key frame", g.msn)
	}
	var joined []byte
	for _, p := range g.parts {
		part, ok := r.media[p.uri]
		if !ok && !p.gap {
			return s, true
		}
		joined = append(joined, part.bytes...)
	}
	c.require(len(g.parts) == 0 || string(joined) == string(m.bytes), "part-bytes", "segment %d is not its parts", g.msn)
	return s, true
}

// begin is the decoding time of a segment's first frame, in seconds.
type begin struct {
	msn  int64
	time float64
}

// checkSegmentTimes compares the media's clock with EXTINF.
func (c *checker) checkSegmentTimes(r *rendition, begins []begin) {
	at := map[int64]float64{}
	for _, b := range begins {
		at[b.msn] = b.time
	}
	for msn, t := range at {
		next, ok := at[msn+1]
		g, after := r.segments[msn], r.segments[msn+1]
		if !ok || after.discontinuity || g.gap || hasGap(g.segment) || hasGap(after.segment) {
			continue
		}
		c.fetch = r.media[g.uri].fetch
		// A frame may come a frame later than it was expected.
		c.require(math.Abs(next-t-g.duration) <= 0.1, "segment-times", "segment %d lasts %g s by its frames, EXTINF says %g", msn, next-t, g.duration)
	}
}

func hasGap(g segment) bool {
	for _, p := range g.parts {
		if p.gap {
			return true
		}
	}
	return false
}
