package hlscheck

import (
	"math"
	"net/url"
	"strconv"
	"strings"
)

// Durations are compared with some room: playlists round them, and program
// dates have milliseconds.
const (
	rounding = 0.0001
	dateRoom = 0.050
)

// advice are the rules whose breach is no error: what RFC 8216 and rfc8216bis
// recommend, what Apple's Authoring Specification asks beyond them, and what is
// good practice of HTTP.
var advice = map[string]bool{
	"aligned": true, "bandwidth": true, "cache-control": true, "cache-error": true, "content-type": true, "cors": true, "gzip": true, "hint": true,
	"immutable": true, "part-age": true, "program-date-time": true, "redirect": true, "relative": true, "stream-inf": true,
}

// sections are where the rules stand: of RFC 8216, of rfc8216bis, or of Apple's
// HLS Authoring Specification.
var sections = map[string]string{
	"aligned": "RFC 8216, 6.2.4", "bandwidth": "RFC 8216, 4.3.4.2", "blocking": "rfc8216bis, 6.2.5.2", "block-reload": "rfc8216bis, 4.4.3.8",
	"byte-range": "RFC 8216, 4.3.2.2", "cache-control": "rfc8216bis, B.1", "cache-error": "rfc8216bis, B.1", "content-type": "RFC 8216, 4",
	"cors": "Fetch standard, 3.2", "directives": "rfc8216bis, 6.2.5.2", "discontinuity-sequence": "RFC 8216, 6.2.2", "endlist": "RFC 8216, 6.2.1",
	"gap": "rfc8216bis, 4.4.4.7", "gzip": "Authoring Specification, 9", "hint": "rfc8216bis, 4.4.5.3", "hold-back": "rfc8216bis, 4.4.3.8",
	"immutable": "RFC 8216, 6.2.1", "independent": "rfc8216bis, 4.4.4.9", "independent-segments": "RFC 8216, 4.3.5.1", "map": "RFC 8216, 4.3.2.5",
	"media": "RFC 8216, 3", "media-sequence": "RFC 8216, 6.2.2", "part-age": "rfc8216bis, 6.2.2", "part-bytes": "rfc8216bis, 4.4.4.9",
	"part-changed": "rfc8216bis, 6.2.1", "part-hold-back": "rfc8216bis, 4.4.3.8", "part-inf": "rfc8216bis, 4.4.3.7", "part-length": "rfc8216bis, 4.4.4.9",
	"part-sum": "rfc8216bis, 4.4.4.9", "program-date-time": "RFC 8216, 4.3.2.6", "redirect": "RFC 8216, 6.3.1", "relative": "RFC 8216, 4.1",
	"rendition-report": "rfc8216bis, 4.4.5.4", "segment-changed": "RFC 8216, 6.2.1", "segment-length": "RFC 8216, 4.3.3.1", "segment-times": "RFC 8216, 4.3.2.1",
	"skip": "rfc8216bis, 6.2.5.1", "skip-boundary": "rfc8216bis, 4.4.3.8", "stale": "RFC 8216, 6.2.2", "status": "RFC 8216, 6.2.2",
	"stream-inf": "Authoring Specification, 9", "syntax": "RFC 8216, 4.1", "target-changed": "RFC 8216, 6.2.1", "target-duration": "RFC 8216, 4.3.3.1",
	"version": "RFC 8216, 7", "window": "RFC 8216, 6.2.2",
}

// Section returns the section that contains the problem's rule; "" for a rule of HTTP
// alone.
func (p Problem) Section() string { return sections[p.Rule] }

// checkHead checks what a media playlist says of itself.
func (c *checker) checkHead(p *playlist, text string) {
	c.require(p.target > 0, "target-duration", "no EXT-X-TARGETDURATION")
	c.advise(p.hasMSN, "media-sequence", "no EXT-X-MEDIA-SEQUENCE")
	c.advise(p.hasDSEQ, "discontinuity-sequence", "no EXT-X-DISCONTINUITY-SEQUENCE")
	c.require(p.version >= 3 || c.foreign && !fractions(p), "version", "durations with a fraction in version %d", p.version) // RFC 8216, 7
	if strings.Contains(text, "#EXT-X-MAP") {
		c.require(p.version >= 6, "version", "EXT-X-MAP in version %d", p.version) // RFC 8216, 7
	}
	if p.skipUntil > 0 {
		c.require(p.version >= 9, "version", "CAN-SKIP-UNTIL in version %d", p.version) // rfc8216bis, 8
		c.require(p.skipUntil >= 6*float64(p.target), "skip-boundary", "CAN-SKIP-UNTIL=%g is less than six target durations", p.skipUntil)
	}
	if p.holdBack > 0 {
		c.require(p.holdBack >= 3*float64(p.target), "hold-back", "HOLD-BACK=%g is less than three target durations", p.holdBack)
	}
	if p.partTarget > 0 {
		// rfc8216bis, 4.4.3.8, and Apple's rule of three.
		c.require(p.partHoldBack >= 2*p.partTarget-rounding, "part-hold-back", "PART-HOLD-BACK=%g, PART-TARGET=%g", p.partHoldBack, p.partTarget)
		c.advise(p.partHoldBack >= 3*p.partTarget-rounding, "part-hold-back", "PART-HOLD-BACK=%g, PART-TARGET=%g", p.partHoldBack, p.partTarget)
		c.advise(p.canBlock, "block-reload", "parts without CAN-BLOCK-RELOAD")
	}
	switch {
	case p.ended:
		c.require(len(p.hints) == 0, "hint", "EXT-X-PRELOAD-HINT after the end")
	case p.partTarget > 0:
		c.require(len(p.hints) == 1, "hint", "%d EXT-X-PRELOAD-HINT", len(p.hints))
	}
	for _, g := range p.segments {
		for _, part := range g.parts {
			for _, hint := range p.hints {
				c.require(part.uri != hint, "hint", "%s is hinted at and listed", hint)
			}
		}
	}
	for _, r := range p.reports {
		c.require(relative(r["URI"]) && r["LAST-MSN"] != "" && (p.partTarget == 0 || r["LAST-PART"] != ""), "rendition-report", "%v", r)
	}
}

// checkWindow checks that a playlist that has dropped segments still lists
// enough of them.
func (c *checker) checkWindow(p *playlist) {
	if p.first == 0 || p.skipped > 0 {
		return
	}
	complete, length := 0, 0.0
	for _, g := range p.segments {
		if g.uri != "" {
			complete++
			length += g.duration
		}
	}
	c.advise(complete >= 6, "window", "%d segments", complete)                                                // Authoring Specification, 8.4
	c.require(length >= 3*float64(p.target), "window", "%g s, and a target duration of %d", length, p.target) // RFC 8216, 6.2.2
}

// checkSegments checks lengths, dates and names.
func (c *checker) checkSegments(p *playlist) {
	for i, g := range p.segments {
		c.line = g.line
		// RFC 8216, 4.3.3.1: rounded to the nearest integer; Apple: within half a second.
		c.require(math.Round(g.length()) <= float64(p.target), "segment-length", "segment %d of %g s, target duration %d", g.msn, g.length(), p.target)
		c.require(!g.pdt.IsZero(), "program-date-time", "segment %d has no EXT-X-PROGRAM-DATE-TIME", g.msn)
		c.require(!g.dateBehind, "program-date-time", "segment %d is dated behind its first part", g.msn)
		if g.uri != "" {
			c.require(relative(g.uri), "relative", "segment %q", g.uri)
			c.require(g.duration > 0, "segment-length", "segment %d of %g s", g.msn, g.duration)
		}
		name := g.uri
		if len(g.parts) > 0 {
			name = g.parts[0].uri
		}
		c.require(!strings.HasSuffix(name, ".m4s") || g.init != "", "map", "no EXT-X-MAP applies to segment %d", g.msn)
		if i == 0 || g.discontinuity || g.pdt.IsZero() {
			continue
		}
		last := p.segments[i-1]
		off := g.pdt.Sub(last.pdt).Seconds() - last.length()
		c.require(math.Abs(off) <= dateRoom, "program-date-time", "segment %d is dated %g s after the end of the one before", g.msn, off)
	}
}

// checkParts checks lengths, which of them are listed, and their sum.
func (c *checker) checkParts(p *playlist) {
	defer func() { c.line = 0 }()
	edge := 0.0 // seconds from the start of segments[i] to the end of the playlist
	for i := len(p.segments) - 1; i >= 0; i-- {
		g := p.segments[i]
		c.line = g.line
		begin := edge + g.length()
		past := edge - 3*float64(p.target)                          // by how much parts are too old
		exact := math.Abs(past) > rounding*float64(len(p.segments)) // lengths in a playlist are rounded
		edge = begin
		if p.partTarget == 0 {
			c.require(len(g.parts) == 0, "part-inf", "segment %d has parts, but there is no EXT-X-PART-INF", g.msn)
			continue
		}
		// rfc8216bis, 6.2.2: neither removed earlier nor kept longer.
		c.require(!exact || past < 0 == (len(g.parts) > 0), "part-age", "segment %d, which ends %g s from the end, has %d parts", g.msn, begin-g.length(), len(g.parts))
		c.checkPartLengths(p, g)
	}
}

func (c *checker) checkPartLengths(p *playlist, g segment) {
	sum := 0.0
	for i, part := range g.parts {
		sum += part.duration
		c.require(relative(part.uri), "relative", "part %q", part.uri)
		c.require(part.duration <= p.partTarget+rounding, "part-length", "part %s of %g s, PART-TARGET=%g", part.uri, part.duration, p.partTarget)
		if part.gap || i == len(g.parts)-1 || g.parts[i+1].gap {
			continue // the last part of a segment may be short, and one after which nothing came
		}
		c.require(part.duration >= 0.85*p.partTarget-rounding, "part-length", "part %s of %g s has less than 85 %% of %g", part.uri, part.duration, p.partTarget)
	}
	if g.uri != "" && len(g.parts) > 0 {
		c.require(math.Abs(sum-g.duration) <= rounding*float64(1+len(g.parts)), "part-sum", "parts of segment %d last %g s, EXTINF says %g", g.msn, sum, g.duration)
	}
}

// relative reports whether the same playlist can be served under any prefix.
func relative(uri string) bool {
	u, err := url.Parse(uri)
	return err == nil && uri != "" && u.Scheme == "" && u.Host == "" && !strings.HasPrefix(u.Path, "/")
}

// A variant is one of a multivariant playlist.
type variant struct {
	fetch     int
	uri       string
	bandwidth int64
}

// checkMultivariant checks what Apple's Authoring Specification asks of every
// variant (chapter 9).
func (c *checker) checkMultivariant(text string) {
	c.require(strings.HasPrefix(text, "#EXTM3U\n"), "syntax", "no EXTM3U")
	groups, captions := map[string]bool{}, map[string]bool{}
	lines := strings.Split(text, "\n")
	defer func() { c.line = 0 }()
	for i, line := range lines {
		c.line = i + 1
		name, value, _ := strings.Cut(line, ":")
		if name != "#EXT-X-MEDIA" && name != "#EXT-X-STREAM-INF" {
			continue
		}
		a, err := parseAttributes(value)
		if err != nil {
			c.report("syntax", "%q: %v", line, err)
			continue
		}
		if name == "#EXT-X-MEDIA" {
			c.require(a["TYPE"] != "" && a["GROUP-ID"] != "" && a["NAME"] != "", "media", "%q", line)
			c.require((a["TYPE"] == "CLOSED-CAPTIONS") == (a["INSTREAM-ID"] != ""), "media", "INSTREAM-ID is for captions, and they need it: %q", line)
			c.require(!groups[a["GROUP-ID"]] || c.foreign, "media", "group %q occurs twice", a["GROUP-ID"])
			groups[a["GROUP-ID"]] = true
			continue
		}
		wanted := []string{"BANDWIDTH", "AVERAGE-BANDWIDTH", "CODECS", "CLOSED-CAPTIONS"}
		if strings.Contains(a["CODECS"], "avc") || strings.Contains(a["CODECS"], "hvc") {
			wanted = append(wanted, "RESOLUTION", "FRAME-RATE")
		}
		for _, key := range wanted {
			c.require(a[key] != "", "stream-inf", "no %s in %q", key, line)
		}
		peak, _ := strconv.ParseInt(a["BANDWIDTH"], 10, 64)
		average, _ := strconv.ParseInt(a["AVERAGE-BANDWIDTH"], 10, 64)
		c.require(peak > 0 && average > 0 && average <= peak, "bandwidth", "AVERAGE-BANDWIDTH=%d, BANDWIDTH=%d", average, peak)
		if group := a["CLOSED-CAPTIONS"]; group != "" {
			captions[group] = true
			c.require(group == "NONE" || groups[group], "media", "group %q is not declared", group)
			c.require(!captions["NONE"] || len(captions) == 1, "media", "some variants have captions and some say NONE")
		}
		c.require(a["VIDEO"] == "" || groups[a["VIDEO"]], "media", "group %q is not declared", a["VIDEO"])
		if i+1 >= len(lines) || !relative(lines[i+1]) {
			c.report("relative", "no relative URI after %q", line)
			continue
		}
		c.variants = append(c.variants, variant{c.fetch, lines[i+1], peak})
	}
}

// fractions reports whether the playlist has durations that are no integers.
func fractions(p *playlist) bool {
	for _, g := range p.segments {
		if g.duration != math.Trunc(g.duration) || len(g.parts) > 0 {
			return true
		}
	}
	return false
}
