package scte35_test

import (
	"encoding/hex"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/scte35"
)

// The sections, byte by byte: what is said in SCTE 35, 9.6 and 9.7.3.
func TestSections(t *testing.T) {
	b := scte35.Break{ID: "wFDQ2ygc1Km6", PTS: 10 * time.Second, Duration: 30 * time.Second}
	for _, tt := range []struct {
		name string
		got  []byte
		want string // before the checksum
	}{
		{"out", b.Out(), "fc3025" + "00" + "0000000000" + "00fff014" + "05" + "EVENT" + "7fef" + "fe000dbba0" + "fe002932e0" + "00010000" + "0000"},
		{"in", b.In(), "fc3020" + "00" + "0000000000" + "00fff00f" + "05" + "EVENT" + "7f4f" + "fe0036ee80" + "00010000" + "0000"},
	} {
		got := tt.got
		if media.CRC32(got) != 0 {
			t.Errorf("%s: the checksum of % x is wrong", tt.name, got)
		}
		if int(got[2])+3 != len(got) {
			t.Errorf("%s: section_length %d of %d bytes", tt.name, got[2], len(got))
		}
		s := hex.EncodeToString(got[:len(got)-4])
		if s = s[:28] + "EVENT" + s[36:]; s != tt.want {
			t.Errorf("%s:\n%s, want\n%s", tt.name, s, tt.want)
		}
	}
}
