package hlscheck

import (
	"strings"
	"testing"
)

const recorded = `#EXTM3U
#EXT-X-VERSION:4
#EXT-X-TARGETDURATION:10
#EXT-X-MEDIA-SEQUENCE:0
#EXT-X-DISCONTINUITY-SEQUENCE:0
#EXT-X-PLAYLIST-TYPE:EVENT
#EXT-X-PROGRAM-DATE-TIME:2026-05-01T09:03:14.000Z
#EXTINF:6.00000,
#EXT-X-BYTERANGE:200@0
0.ts
#EXT-X-PROGRAM-DATE-TIME:2026-05-01T09:03:20.000Z
#EXTINF:4.00000,
#EXT-X-BYTERANGE:100@200
0.ts
#EXT-X-ENDLIST
`

// Each change to a good playlist breaks one rule.
func TestCheckRecorded(t *testing.T) {
	size := func(uri string) (int64, bool) { return 300, uri == "0.ts" }
	if p := CheckRecorded(strings.TrimSuffix(recorded, "0.ts\n#EXT-X-ENDLIST\n"), recorded, true, size); p != nil {
		t.Errorf("a good playlist: %v", p)
	}
	for rule, change := range map[string][2]string{
		"version":       {"VERSION:4", "VERSION:3"},
		"playlist-type": {"TYPE:EVENT", "TYPE:LIVE"},
		"endlist":       {"#EXT-X-ENDLIST\n", ""},
		"byte-range":    {"100@200", "90@200"},
		"missing":       {"200@0\n0.ts", "200@0\n1.ts"},
	} {
		problems := CheckRecorded("", strings.Replace(recorded, change[0], change[1], 1), true, size)
		found := false
		for _, p := range problems {
			found = found || p.Rule == rule
		}
		if !found {
			t.Errorf("%s is not found: %v", rule, problems)
		}
	}
	if p := CheckRecorded(recorded, strings.Replace(recorded, "6.00000", "5.99000", 1), true, size); len(p) == 0 {
		t.Error("a line that has changed is not found")
	}
}
