// Package cmcd parses what players report about playback: Common Media Client Data,
// CTA-5004 version 1, and the keys that version 2 (CTA-5004-A) adds, in the query or
// headers of a request, or in the body of a request of its own (event mode). The data is
// untrusted.
package cmcd

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Bounds of what is read of one request.
const (
	maxBytes = 4 << 10
	maxKeys  = 64
	maxLines = 64        // of a body
	maxTime  = time.Hour // of a duration
	maxRate  = 1_000_000 // kbit/s
)

// A Report holds what a player reports with one request. Fields that it does not report
// are zero.
type Report struct {
	Starved    bool          // bs: its buffer ran empty since the last request
	Startup    bool          // su: the object is needed now, to start, to seek or to recover; sta: it starts (version 2)
	Ended      bool          // sta: playback has ended (version 2)
	Bitrate    int           // br, kbit/s: of the object
	Throughput int           // mtp, kbit/s, as measured
	Buffer     time.Duration // bl
	Latency    time.Duration // ltc: behind live (version 2)
	StartDelay time.Duration // msd: from the wish to play to the first frame (version 2)
}

// headers are those of CMCD, in which keys are by how often they change.
var headers = []string{"Cmcd-Object", "Cmcd-Request", "Cmcd-Session", "Cmcd-Status"}

// OfRequest returns the report in a request; ok is false if there is none.
func OfRequest(r *http.Request) (report Report, ok bool) {
	if strings.Contains(r.URL.RawQuery, "CMCD=") {
		if text := r.URL.Query().Get("CMCD"); text != "" {
			return Parse(text)
		}
	}
	var all []string
	for _, name := range headers {
		if text := r.Header.Get(name); text != "" {
			all = append(all, text)
		}
	}
	if len(all) == 0 {
		return report, false
	}
	return Parse(strings.Join(all, ","))
}

// ParseEvents parses the body of a request in event mode: one report a line, oldest
// first. It skips lines that are not reports, and those beyond the limit.
func ParseEvents(body string) (reports []Report) {
	n := 0
	for line := range strings.Lines(body) {
		if n++; n > maxLines {
			break
		}
		if r, ok := Parse(strings.TrimSpace(line)); ok {
			reports = append(reports, r)
		}
	}
	return reports
}

// Parse parses a list of keys and values. It skips unknown keys and invalid values; ok is
// true if at least one key was known.
func Parse(text string) (report Report, ok bool) {
	if len(text) > maxBytes {
		return report, false
	}
	for n := 0; text != "" && n < maxKeys; n++ {
		var item string
		item, text = cutItem(text)
		key, value, hasValue := strings.Cut(strings.TrimSpace(item), "=")
		ok = report.set(key, value, hasValue) || ok
	}
	return report, ok
}

// cutItem cuts the first item of a list off. Commas in quotes and in inner lists
// do not end it.
func cutItem(text string) (item, rest string) {
	quoted, depth := false, 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case c == ',' && depth == 0:
			return text[:i], text[i+1:]
		}
	}
	return text, ""
}

func (r *Report) set(key, value string, hasValue bool) bool {
	yes := !hasValue || value == "?1" || value == "true"
	switch key {
	case "bs":
		r.Starved = yes
	case "su":
		r.Startup = yes
	case "sta":
		r.Ended = value == "e"
		r.Startup = r.Startup || value == "s"
		r.Starved = r.Starved || value == "r"
	case "br":
		r.Bitrate = number(value, maxRate)
	case "mtp":
		r.Throughput = number(value, maxRate)
	case "bl":
		r.Buffer = millis(value)
	case "ltc":
		r.Latency = millis(value)
	case "msd":
		r.StartDelay = millis(value)
	case "sid", "cid", "ot", "sf", "st", "tb", "d", "dl", "pr", "rtp", "nor", "nrr", "v", "e", "ts":
		// known, and not needed
	default:
		return false
	}
	return true
}

// number is a value from 0 to most; 0 for anything else. Version 2 has lists, one
// value for each kind of media: the first counts.
func number(value string, most int) int {
	value = strings.TrimPrefix(value, "(")
	if i := strings.IndexAny(value, " ;)"); i >= 0 {
		value = value[:i]
	}
	n, err := strconv.ParseFloat(value, 64)
	if err != nil || !(n >= 0 && n <= float64(most)) {
		return 0
	}
	return int(n)
}

func millis(value string) time.Duration {
	return time.Duration(number(value, int(maxTime/time.Millisecond))) * time.Millisecond
}
