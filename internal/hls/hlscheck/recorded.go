package hlscheck

import (
	"fmt"
	"strings"
)

// CheckRecorded returns the rules that the media playlist of a recording breaks. before
// is an earlier version of the same playlist, "" if there is none; ended means that it
// must be complete; size returns a file's size in bytes, and whether the file exists.
func CheckRecorded(before, text string, ended bool, size func(uri string) (bytes int64, ok bool)) []Problem {
	c := &checker{}
	p, err := parse(text)
	if err != nil {
		c.report("syntax", "%v", err)
		return c.problems
	}
	c.checkHead(p, text)
	c.checkSegments(p)
	c.require(p.kind == "EVENT" || p.kind == "VOD", "playlist-type", "EXT-X-PLAYLIST-TYPE:%s", p.kind)
	c.require(p.first == 0, "playlist-type", "it begins with segment %d", p.first) // nothing may be removed (RFC 8216, 4.3.3.5)
	c.require(p.ended == ended, "endlist", "EXT-X-ENDLIST: %v, want %v", p.ended, ended)
	c.require(strings.HasPrefix(text, strings.TrimSuffix(before, "#EXT-X-ENDLIST\n")), "playlist-type", "lines that were there have changed") // 6.2.1: only additions
	c.checkRanges(p, size)
	return c.problems
}

// checkRanges checks that what is listed is there, and that byte ranges name
// each byte of a file once and in order.
func (c *checker) checkRanges(p *playlist, size func(string) (int64, bool)) {
	next := int64(0) // offset behind the range before
	for i, g := range p.segments {
		if g.gap {
			continue
		}
		bytes, ok := size(g.uri)
		c.require(ok, "missing", "segment %d is %s, which is not there", g.msn, g.uri)
		if g.init != "" {
			_, ok := size(g.init)
			c.require(ok, "missing", "%s is not there", g.init)
		}
		if g.rangeSize == 0 {
			continue
		}
		c.require(p.version >= 4, "version", "EXT-X-BYTERANGE in version %d", p.version) // RFC 8216, 7
		if i == 0 || p.segments[i-1].uri != g.uri {
			next = 0
		}
		c.require(g.rangeOffset == next, "byte-range", "segment %d begins at byte %d of %s, want %d", g.msn, g.rangeOffset, g.uri, next)
		next = g.rangeOffset + g.rangeSize
		last := i+1 == len(p.segments) || p.segments[i+1].uri != g.uri
		c.require(next <= bytes && (!last || next == bytes), "byte-range", "segment %d ends at byte %d of %s, which has %d", g.msn, next, g.uri, bytes)
	}
}

// byteRange reads the value of EXT-X-BYTERANGE. Without an offset, which is
// relative to the segment before, that is -1.
func (g *segment) byteRange(value string) error {
	if !strings.Contains(value, "@") {
		value += "@-1"
	}
	if _, err := fmt.Sscanf(value, "%d@%d", &g.rangeSize, &g.rangeOffset); err != nil {
		return fmt.Errorf("not a size and an offset: %w", err)
	}
	return nil
}

// CheckMultivariant returns the rules that a multivariant playlist breaks.
func CheckMultivariant(text string) []Problem {
	c := &checker{}
	c.checkMultivariant(text)
	return c.problems
}
