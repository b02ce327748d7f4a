package hlscheck

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/fmp4"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/mpegts"
)

var video = &media.Track{Codec: media.H264, Video: &media.VideoConfig{Sets: [][]byte{{0x67, 1}, {0x68, 1}}}}

// frame is half a second of video: n counts them.
func frame(n int) media.Frame {
	f := media.Frame{Track: video, DTS: time.Duration(n) * 500 * time.Millisecond, Data: []byte{0, 0, 0, 2, 0x41, 0x9a}}
	f.PTS = f.DTS
	if n%4 == 0 {
		f.Key, f.Data = true, []byte{0, 0, 0, 2, 0x65, 0x88}
	}
	return f
}

// good is a broadcast of ten segments of four parts of one frame each: the
// playlists at the ends of segments 6 to 9, a delta, an answer to a blocking
// request, the end, and the media of segments 7 and 8.
func good(extension string) []Fetch {
	var h []Fetch
	ts, mp4 := &mpegts.Muxer{Video: video}, &fmp4.Muxer{Video: video}
	parts := map[int][]byte{}
	for n := range 40 {
		end := time.Duration(n+1) * 500 * time.Millisecond
		if extension == ".ts" {
			parts[n] = ts.EndPart(ts.Append(nil, frame(n)), end)
		} else {
			parts[n] = mp4.EndPart(mp4.Append(nil, frame(n)), end)
		}
	}
	h = append(h, fetch("/index.m3u8", []byte(multivariant)))
	for n := 7; n <= 9; n++ {
		h = append(h, fetch("/v/list.m3u8", list(0, n, 0, false, extension)))
	}
	h = append(h,
		fetch("/v/list.m3u8?_HLS_skip=YES", list(0, 9, 2, false, extension)),
		fetch("/v/list.m3u8?_HLS_msn=8&_HLS_part=3", list(0, 9, 0, false, extension)),
		fetch("/v/list.m3u8?_HLS_msn=8&_HLS_part=3", list(0, 9, 0, false, extension)),
		fetch("/index.m3u8", []byte(multivariant)))
	for msn := 7; msn <= 8; msn++ {
		var whole []byte
		for i := range 4 {
			n := 4*msn + i
			whole = append(whole, parts[n]...)
			h = append(h, fetch(fmt.Sprint("/v/p", n, extension), parts[n]))
		}
		h = append(h, fetch(fmt.Sprint("/v/", msn, extension), whole))
	}
	h = append(h, fetch("/v/list.m3u8", list(1, 10, 0, true, extension)))
	return append(h, Fetch{URL: "/v/99.ts", Status: 404, Header: http.Header{"Cache-Control": {"no-store"}, "Access-Control-Allow-Origin": {"*"}}})
}

func fetch(url string, body []byte) Fetch {
	typ, keep := "video/mp2t", "max-age=3600, immutable"
	switch {
	case strings.Contains(url, "_HLS_msn"):
		typ, keep = "application/vnd.apple.mpegurl", "max-age=0, s-maxage=12"
	case strings.Contains(url, ".m3u8"):
		typ, keep = "application/vnd.apple.mpegurl", "max-age=1"
	case strings.HasSuffix(url, ".m4s"):
		typ = "video/mp4"
	}
	return Fetch{URL: url, Status: 200, Body: body, Header: http.Header{
		"Content-Type": {typ}, "Cache-Control": {keep}, "Access-Control-Allow-Origin": {"*"}, "Vary": {"Accept-Encoding"},
	}}
}

const multivariant = `#EXTM3U
#EXT-X-MEDIA:TYPE=VIDEO,GROUP-ID="720p30",NAME="720p",AUTOSELECT=YES,DEFAULT=YES
#EXT-X-STREAM-INF:BANDWIDTH=200000,AVERAGE-BANDWIDTH=9000,CODECS="avc1.64001F,mp4a.40.2",RESOLUTION=1280x720,FRAME-RATE=30.000,VIDEO="720p30",CLOSED-CAPTIONS=NONE
v/playlist.m3u8
`

// list has segments first to next-1, and two parts of segment next unless it is
// the end.
func list(first, next, skipped int, end bool, extension string) []byte {
	var b strings.Builder
	b.WriteString("#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:2\n" +
		"#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.5,CAN-SKIP-UNTIL=12.0,HOLD-BACK=6.0\n" +
		"#EXT-X-PART-INF:PART-TARGET=0.5\n")
	fmt.Fprintf(&b, "#EXT-X-MEDIA-SEQUENCE:%d\n#EXT-X-DISCONTINUITY-SEQUENCE:5\n#EXT-X-INDEPENDENT-SEGMENTS\n", first)
	if skipped > 0 {
		fmt.Fprintf(&b, "#EXT-X-SKIP:SKIPPED-SEGMENTS=%d\n", skipped)
	}
	if extension == ".m4s" {
		b.WriteString("#EXT-X-MAP:URI=\"init.mp4\"\n")
	}
	open := 1.0
	if end {
		open = 0
	}
	for msn := first + skipped; msn < next || msn == next && !end; msn++ {
		fmt.Fprintf(&b, "#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:%02d.000Z\n", 2*msn)
		count := 4
		if msn == next {
			count = 2
		}
		if float64(2*(next-1-msn))+open < 6 {
			for i := range count {
				independent := ""
				if i == 0 {
					independent = ",INDEPENDENT=YES"
				}
				fmt.Fprintf(&b, "#EXT-X-PART:DURATION=0.5,URI=\"p%d%s\"%s\n", 4*msn+i, extension, independent)
			}
		}
		if msn < next {
			fmt.Fprintf(&b, "#EXTINF:2.0,\n%d%s\n", msn, extension)
		}
	}
	if end {
		return []byte(b.String() + "#EXT-X-ENDLIST\n")
	}
	fmt.Fprintf(&b, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"p%d%s\"\n", 4*next+2, extension)
	b.WriteString("#EXT-X-RENDITION-REPORT:URI=\"../w/list.m3u8\",LAST-MSN=3,LAST-PART=1\n")
	return []byte(b.String())
}

func TestGood(t *testing.T) {
	for _, extension := range []string{".ts", ".m4s"} {
		h := good(extension)
		for _, p := range Check(h) {
			t.Errorf("%s: %v\n%s", extension, p, h[p.Fetch].Body)
		}
	}
}

// Segment 6 ends three target durations from the end, as far as a playlist with
// rounded lengths can say: its parts may be listed still.
func TestPartsOfRoundedAge(t *testing.T) {
	h := good(".ts")
	parts := ""
	for n := 24; n < 28; n++ {
		parts += fmt.Sprintf("#EXT-X-PART:DURATION=0.5,URI=\"p%d.ts\"", n)
		if n == 24 {
			parts += ",INDEPENDENT=YES"
		}
		parts += "\n"
	}
	before := string(h[endList].Body)
	after := strings.Replace(before, "#EXTINF:2.0,\n6.ts", parts+"#EXTINF:2.0,\n6.ts", 1)
	if after == before {
		t.Fatalf("segment 6 is not listed as expected:\n%s", before)
	}
	h[endList].Body = []byte(after)
	for _, p := range Check(h) {
		t.Errorf("%v\n%s", p, after)
	}
}

// Indexes in what good returns.
const (
	firstList   = 1
	lastList    = 3
	deltaList   = 4
	againList   = 6
	variantList = 7
	partAt      = 8
	segmentAt   = 12
	endList     = 18
	missingAt   = 19
)

// ruleTests break a rule each.
var ruleTests = []struct {
	rule     string
	fetch    int
	old, new string
}{
	{"syntax", firstList, "#EXTM3U\n", ""},
	{"syntax", firstList, "TARGETDURATION:2", "TARGETDURATION:two"},
	{"syntax", firstList, `URI="p28.ts",`, `URI="p28.ts,`},
	{"syntax", firstList, `URI="p28.ts",`, `URI="p28.ts"x`},
	{"syntax", firstList, `DURATION=0.5,URI="p29.ts"`, `DURATION=0.5,DURATION=0.5`},
	{"syntax", firstList, "PART-TARGET=0.5", "PART-TARGET=half"},
	{"syntax", firstList, "PART-TARGET=0.5", "PART-TARGET"},
	{"syntax", variantList, `NAME="720p",`, `NAME="720p"x,`},
	{"target-duration", firstList, "#EXT-X-TARGETDURATION:2\n", ""},
	{"media-sequence", firstList, "#EXT-X-MEDIA-SEQUENCE:0\n", ""},
	{"discontinuity-sequence", firstList, "#EXT-X-DISCONTINUITY-SEQUENCE:5\n", ""},
	{"discontinuity-sequence", lastList, "SEQUENCE:5", "SEQUENCE:6"},
	{"version", firstList, "VERSION:9", "VERSION:8"},
	{"version", firstList, "VERSION:9", "VERSION:2"},
	{"window", endList, "#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:02.000Z\n#EXTINF:2.0,\n1.ts\n#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:04.000Z\n#EXTINF:2.0,\n2.ts\n" +
		"#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:06.000Z\n#EXTINF:2.0,\n3.ts\n#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:08.000Z\n#EXTINF:2.0,\n4.ts\n", ""},
	{"skip-boundary", firstList, "CAN-SKIP-UNTIL=12.0", "CAN-SKIP-UNTIL=11.9"},
	{"hold-back", firstList, ",HOLD-BACK=6.0", ",HOLD-BACK=5.9"},
	{"part-hold-back", firstList, "PART-HOLD-BACK=1.5", "PART-HOLD-BACK=1.4"},
	{"part-hold-back", firstList, "PART-HOLD-BACK=1.5,", ""},
	{"block-reload", firstList, "CAN-BLOCK-RELOAD=YES,", ""},
	{"hint", firstList, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"p30.ts\"\n", ""},
	{"hint", firstList, "TYPE=PART,URI=\"p30.ts\"", "TYPE=PART,URI=\"p29.ts\""},
	{"hint", endList, "#EXT-X-ENDLIST", "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"p40.ts\"\n#EXT-X-ENDLIST"},
	{"rendition-report", firstList, ",LAST-PART=1", ""},
	{"rendition-report", firstList, "../w/list", "/w/list"},
	{"segment-length", firstList, "#EXTINF:2.0,\n0.ts", "#EXTINF:2.5,\n0.ts"},
	{"segment-length", firstList, "#EXTINF:2.0,\n0.ts", "#EXTINF:0,\n0.ts"},
	{"program-date-time", firstList, "#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:02.000Z\n", ""},
	{"program-date-time", firstList, "00:00:02.000Z", "00:00:02.100Z"},
	{"program-date-time", firstList, "#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:12.000Z\n#EXT-X-PART:DURATION=0.5,URI=\"p24.ts\",INDEPENDENT=YES\n",
		"#EXT-X-PART:DURATION=0.5,URI=\"p24.ts\",INDEPENDENT=YES\n#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:12.000Z\n"},
	{"relative", firstList, "\n0.ts", "\nhttp://a.example/0.ts"},
	{"relative", firstList, `"p28.ts"`, `"/p28.ts"`},
	{"relative", variantList, "\nv/playlist", "\n/v/playlist"},
	{"part-inf", firstList, "#EXT-X-PART-INF:PART-TARGET=0.5\n", ""},
	{"part-age", firstList, "#EXT-X-PART:DURATION=0.5,URI=\"p20.ts\",INDEPENDENT=YES\n#EXT-X-PART:DURATION=0.5,URI=\"p21.ts\"\n#EXT-X-PART:DURATION=0.5,URI=\"p22.ts\"\n#EXT-X-PART:DURATION=0.5,URI=\"p23.ts\"\n", ""},
	{"part-age", firstList, "#EXTINF:2.0,\n0.ts", "#EXT-X-PART:DURATION=0.5,URI=\"p0.ts\"\n#EXTINF:2.0,\n0.ts"},
	{"part-length", firstList, "0.5,URI=\"p25.ts\"", "0.6,URI=\"p25.ts\""},
	{"part-length", firstList, "0.5,URI=\"p25.ts\"", "0.4,URI=\"p25.ts\""},
	{"part-sum", firstList, "0.5,URI=\"p25.ts\"", "0.49,URI=\"p25.ts\""},
	{"target-changed", lastList, "TARGETDURATION:2", "TARGETDURATION:3"},
	{"target-changed", lastList, "PART-TARGET=0.5", "PART-TARGET=0.51"},
	{"part-changed", lastList, "0.5,URI=\"p29.ts\"", "0.5,URI=\"p29.ts\",INDEPENDENT=YES"},
	{"segment-changed", lastList, "\n6.ts", "\n6.ts?x"},
	{"segment-changed", lastList, "#EXTINF:2.0,\n0.ts", "#EXTINF:1.96,\n0.ts"},
	{"segment-changed", lastList, "00:00:02.000Z", "00:00:02.010Z"},
	{"segment-changed", lastList, "#EXT-X-INDEPENDENT-SEGMENTS", "#EXT-X-MAP:URI=\"init.mp4\""},
	{"endlist", firstList, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"p30.ts\"", "#EXT-X-ENDLIST"},
	{"endlist", endList, "#EXTINF:2.0,\n9.ts\n", ""},
	{"skip", deltaList, ",CAN-SKIP-UNTIL=12.0", ""},
	{"skip", deltaList, "MEDIA-SEQUENCE:0", "MEDIA-SEQUENCE:-1"},
	{"immutable", againList, "#EXT-X-VERSION:9", "#EXT-X-VERSION:10"},
	{"stream-inf", variantList, ",FRAME-RATE=30.000", ""},
	{"stream-inf", variantList, ",CLOSED-CAPTIONS=NONE", ""},
	{"bandwidth", variantList, "BANDWIDTH=200000", "BANDWIDTH=8000"},
	{"bandwidth", variantList, "=200000,AVERAGE-BANDWIDTH=9000", "=8100,AVERAGE-BANDWIDTH=8000"},
	{"media", variantList, `VIDEO="720p30"`, `VIDEO="720p"`},
	{"media", variantList, `NAME="720p",`, ""},
	{"media", variantList, "CLOSED-CAPTIONS=NONE", `CLOSED-CAPTIONS="cc"`},
	{"media", variantList, "TYPE=VIDEO", "TYPE=CLOSED-CAPTIONS"},
	{"media", partAt, "\x47", "\x48"},
	{"independent", partAt, "\x65", "\x41"},
	{"part-bytes", segmentAt, "\x88", "\x89"},
	{"immutable", segmentAt, "", ""}, // see below
}

// Every rule is broken once in a good history, and must be the one reported.
func TestEveryRule(t *testing.T) {
	for _, tt := range ruleTests {
		t.Run(tt.rule+" "+tt.new, func(t *testing.T) {
			h := good(".ts")
			body := string(h[tt.fetch].Body)
			if !strings.Contains(body, tt.old) {
				t.Fatalf("%q is not in\n%s", tt.old, body)
			}
			h[tt.fetch].Body = []byte(strings.Replace(body, tt.old, tt.new, 1))
			if tt.old == "" {
				h = append(h, h[tt.fetch])
				h[len(h)-1].Body = []byte(body[188:])
			}
			mustReport(t, h, tt.rule)
		})
	}
	headers := []struct {
		rule       string
		fetch      int
		key, value string
	}{
		{"cors", firstList, "Access-Control-Allow-Origin", ""},
		{"cors", missingAt, "Access-Control-Allow-Origin", ""},
		{"gzip", firstList, "Vary", ""},
		{"cache-control", firstList, "Cache-Control", ""},
		{"cache-control", firstList, "Cache-Control", "max-age=2"},
		{"cache-control", againList, "Cache-Control", "max-age=1"},
		{"cache-control", againList, "Cache-Control", "max-age=0, s-maxage=13"},
		{"cache-control", againList, "Cache-Control", "max-age=12, s-maxage=12"},
		{"cache-control", partAt, "Cache-Control", "max-age=1"},
		{"cache-error", missingAt, "Cache-Control", "max-age=60"},
		{"content-type", firstList, "Content-Type", "text/plain"},
		{"content-type", partAt, "Content-Type", "text/plain"},
	}
	for _, tt := range headers {
		t.Run(tt.rule, func(t *testing.T) {
			h := good(".ts")
			h[tt.fetch].Header.Set(tt.key, tt.value)
			mustReport(t, h, tt.rule)
		})
	}
}

func mustReport(t *testing.T, h []Fetch, rule string) {
	t.Helper()
	problems := Check(h)
	for _, p := range problems {
		if p.Rule == rule {
			return
		}
	}
	t.Errorf("%s was not reported, but %v", rule, problems)
}

// Rules that need more than a word changed.
func TestMoreRules(t *testing.T) {
	t.Run("skip beyond the boundary", func(t *testing.T) {
		h := good(".ts")
		h[4].Body = list(0, 9, 4, false, ".ts")
		mustReport(t, h, "skip")
	})
	t.Run("skip that was not asked for", func(t *testing.T) {
		h := good(".ts")
		h[4].URL = "/v/list.m3u8"
		mustReport(t, h, "skip")
	})
	t.Run("part without segment", func(t *testing.T) {
		h := good(".ts")
		h[1].URL = "/v/list.m3u8?_HLS_part=1"
		mustReport(t, h, "directives")
	})
	t.Run("redirect", func(t *testing.T) {
		h := good(".ts")
		h[8].Status = 302
		mustReport(t, h, "redirect")
	})
	t.Run("blocking", func(t *testing.T) {
		h := good(".ts")
		h[5].Body = list(0, 8, 0, false, ".ts")
		mustReport(t, h, "blocking")
	})
	t.Run("map", func(t *testing.T) {
		h := good(".m4s")
		h[1].Body = []byte(strings.Replace(string(h[1].Body), "#EXT-X-MAP", "#EXT-X-XXX", 1))
		mustReport(t, h, "map")
	})
	t.Run("version of map", func(t *testing.T) {
		h := good(".m4s")
		h[1].Body = []byte(strings.NewReplacer("VERSION:9", "VERSION:5", ",CAN-SKIP-UNTIL=12.0", "").Replace(string(h[1].Body)))
		mustReport(t, h, "version")
	})
	t.Run("segment-times", func(t *testing.T) {
		h := good(".ts")
		m := &mpegts.Muxer{Video: video}
		late := frame(32)
		late.DTS, late.PTS = late.DTS+200*time.Millisecond, late.PTS+200*time.Millisecond
		for i := range h {
			if h[i].URL == "/v/8.ts" {
				h[i].Body = m.EndPart(m.Append(nil, late), 0)
			}
		}
		mustReport(t, h, "segment-times")
	})
	t.Run("independent-segments", func(t *testing.T) {
		h := good(".ts")
		m := &mpegts.Muxer{Video: video}
		for i := range h {
			if h[i].URL == "/v/8.ts" {
				h[i].Body = m.EndPart(m.Append(nil, frame(33)), 0)
			}
		}
		mustReport(t, h, "independent-segments")
	})
	t.Run("gap", func(t *testing.T) {
		h := good(".ts")
		for i := range h {
			h[i].Body = []byte(strings.Replace(string(h[i].Body), `"p30.ts"`, `"p30.ts",GAP=YES`, 1))
		}
		mustReport(t, h, "gap")
	})
	t.Run("aligned", func(t *testing.T) {
		for _, tt := range []struct{ old, new string }{{"", ""}, {"00:00:14.000Z", "00:00:14.001Z"}, {"#EXTINF:2.0,\n7.ts", "#EXTINF:1.9,\n7.ts"}} {
			twin := strings.Replace(string(list(0, 9, 0, false, ".ts")), tt.old, tt.new, 1)
			h := append(good(".ts"), fetch("/w/list.m3u8", []byte(twin)))
			if tt.old != "" {
				mustReport(t, h, "aligned")
			} else if problems := Check(h); len(problems) > 0 {
				t.Errorf("two renditions alike: %v", problems)
			}
		}
	})
}

// Media that is none is reported, and read no further.
func TestProbeDamage(t *testing.T) {
	for _, name := range []string{"p.ts", "p.m4s"} {
		for _, b := range []string{"", "x", strings.Repeat("\x47", 188), strings.Repeat("\x00", 16), "\x00\x00\x00\x08moof", "\x00\x00\x00\x10moof\x00\x00\x00\x08traf\x00\x00\x00\x08mdat"} {
			if _, err := probe(name, []byte(b)); err == nil {
				t.Errorf("probe(%s, %q) has nothing to say", name, b)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(string(list(0, 7, 2, false, ".m4s")))
	f.Fuzz(func(t *testing.T, text string) {
		if p, err := parse(text); err == nil && len(p.segments) == 0 {
			t.Error("a playlist without segments")
		}
	})
}
