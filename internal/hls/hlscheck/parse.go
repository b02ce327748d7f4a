package hlscheck

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A playlist is a media playlist. Absent tags leave zeros.
type playlist struct {
	version, target    int64
	hasMSN, hasDSEQ    bool
	first              int64 // EXT-X-MEDIA-SEQUENCE
	independent, ended bool
	kind               string // EXT-X-PLAYLIST-TYPE
	canBlock           bool
	partHoldBack       float64
	holdBack           float64
	skipUntil          float64
	partTarget         float64
	control            bool // EXT-X-SERVER-CONTROL
	skipped            int64
	hints              []string
	reports            []map[string]string
	line               int       // the last one that was read
	segments           []segment // those that are not skipped; the last one may have parts only
}

type segment struct {
	msn, dseq     int64 // media and discontinuity sequence number
	uri           string
	duration      float64 // EXTINF, seconds
	pdt           time.Time
	init          string // EXT-X-MAP that applies
	discontinuity bool
	gap           bool
	dateBehind    bool  // EXT-X-PROGRAM-DATE-TIME comes behind a part
	rangeSize     int64 // EXT-X-BYTERANGE, bytes; 0 without
	rangeOffset   int64
	parts         []part
	line          int // of its URI, or of its last part
}

type part struct {
	uri         string
	duration    float64
	independent bool
	gap         bool
	ranged      bool // BYTERANGE
}

// length is the segment's duration as far as it is known.
func (g segment) length() float64 {
	if g.uri != "" {
		return g.duration
	}
	sum := 0.0
	for _, p := range g.parts {
		sum += p.duration
	}
	return sum
}

// A parser reads a media playlist line by line.
type parser struct {
	p         *playlist
	msn, dseq int64
	init      string
	g         segment // that is being read
}

// parse reads a media playlist. With an error it returns what came before.
func parse(text string) (*playlist, error) {
	r := &parser{p: &playlist{line: 1}}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if lines[0] != "#EXTM3U" {
		return r.p, fmt.Errorf("it begins with %.80q", lines[0])
	}
	for _, line := range lines[1:] {
		r.p.line++
		name, value, _ := strings.Cut(line, ":")
		if err := r.line(line, name, value); err != nil {
			return r.p, fmt.Errorf("%q: %w", line, err)
		}
	}
	if len(r.g.parts) > 0 {
		r.add("")
	}
	if len(r.p.segments) == 0 {
		return r.p, fmt.Errorf("no segments and no parts")
	}
	return r.p, nil
}

func (r *parser) line(line, name, value string) (err error) {
	p := r.p
	switch name {
	case "#EXT-X-VERSION":
		p.version, err = strconv.ParseInt(value, 10, 64)
	case "#EXT-X-TARGETDURATION":
		p.target, err = strconv.ParseInt(value, 10, 64)
	case "#EXT-X-MEDIA-SEQUENCE":
		p.hasMSN = true
		r.msn, err = strconv.ParseInt(value, 10, 64)
		p.first = r.msn
	case "#EXT-X-DISCONTINUITY-SEQUENCE":
		p.hasDSEQ = true
		r.dseq, err = strconv.ParseInt(value, 10, 64)
	case "#EXT-X-INDEPENDENT-SEGMENTS":
		p.independent = true
	case "#EXT-X-PLAYLIST-TYPE":
		p.kind = value
	case "#EXT-X-BYTERANGE":
		err = r.g.byteRange(value)
	case "#EXT-X-ENDLIST":
		p.ended = true
	case "#EXT-X-SERVER-CONTROL", "#EXT-X-PART-INF", "#EXT-X-SKIP", "#EXT-X-PRELOAD-HINT", "#EXT-X-RENDITION-REPORT", "#EXT-X-PART", "#EXT-X-MAP":
		return r.attributes(name, value)
	case "#EXT-X-DISCONTINUITY":
		r.dseq++
		r.g.discontinuity = true
	case "#EXT-X-PROGRAM-DATE-TIME":
		r.g.pdt, err = time.Parse(time.RFC3339Nano, value)
		r.g.dateBehind = len(r.g.parts) > 0
	case "#EXT-X-GAP":
		r.g.gap = true
	case "#EXTINF":
		seconds, _, _ := strings.Cut(value, ",")
		r.g.duration, err = strconv.ParseFloat(seconds, 64)
	default:
		if line == "" || strings.HasPrefix(line, "#") {
			return nil // unknown tags and comments are to be ignored (RFC 8216, 6.3.1)
		}
		r.add(line)
	}
	return err
}

func (r *parser) add(uri string) {
	r.g.uri, r.g.msn, r.g.dseq, r.g.init, r.g.line = uri, r.msn, r.dseq, r.init, r.p.line
	r.p.segments = append(r.p.segments, r.g)
	r.g = segment{}
	r.msn++
}

func (r *parser) attributes(name, value string) (err error) {
	a, err := parseAttributes(value)
	if err != nil {
		return err
	}
	number := func(key string) float64 {
		v, e := strconv.ParseFloat(a[key], 64)
		if e != nil && a[key] != "" && err == nil {
			err = e
		}
		return v
	}
	p := r.p
	switch name {
	case "#EXT-X-SERVER-CONTROL":
		p.control, p.canBlock = true, a["CAN-BLOCK-RELOAD"] == "YES"
		p.partHoldBack, p.holdBack, p.skipUntil = number("PART-HOLD-BACK"), number("HOLD-BACK"), number("CAN-SKIP-UNTIL")
	case "#EXT-X-PART-INF":
		p.partTarget = number("PART-TARGET")
	case "#EXT-X-SKIP":
		p.skipped = int64(number("SKIPPED-SEGMENTS"))
		r.msn += p.skipped
	case "#EXT-X-PRELOAD-HINT":
		p.hints = append(p.hints, a["URI"])
	case "#EXT-X-RENDITION-REPORT":
		p.reports = append(p.reports, a)
	case "#EXT-X-MAP":
		r.init = a["URI"]
	case "#EXT-X-PART":
		r.g.parts = append(r.g.parts, part{a["URI"], number("DURATION"), a["INDEPENDENT"] == "YES", a["GAP"] == "YES", a["BYTERANGE"] != ""})
	}
	return err
}

// parseAttributes reads an attribute list (RFC 8216, 4.2), without the quotes.
func parseAttributes(s string) (map[string]string, error) {
	a := map[string]string{}
	for s != "" {
		key, rest, ok := strings.Cut(s, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("attribute without a value: %q", s)
		}
		var value string
		if quoted, isQuoted := strings.CutPrefix(rest, `"`); isQuoted {
			if value, rest, ok = strings.Cut(quoted, `"`); !ok {
				return nil, fmt.Errorf("quote is not closed: %q", s)
			}
			if rest != "" && rest[0] != ',' {
				return nil, fmt.Errorf("no comma after a quote: %q", s)
			}
			rest = strings.TrimPrefix(rest, ",")
		} else {
			value, rest, _ = strings.Cut(rest, ",")
		}
		if _, twice := a[key]; twice {
			return nil, fmt.Errorf("attribute %s occurs twice", key)
		}
		a[key], s = value, rest
	}
	return a, nil
}
