package hls

import (
	"encoding/hex"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/mpegts"
)

// The sections, byte by byte: what is said in SCTE 35, 9.6 and 9.7.3.
func TestSplice(t *testing.T) {
	b := adBreak{id: "wFDQ2ygc1Km6", pts: 10 * time.Second, length: 30 * time.Second}
	for _, tt := range []struct {
		out  bool
		want string // before the checksum
	}{
		{true, "fc3025" + "00" + "0000000000" + "00fff014" + "05" + "EVENT" + "7fef" + "fe000dbba0" + "fe002932e0" + "00010000" + "0000"},
		{false, "fc3020" + "00" + "0000000000" + "00fff00f" + "05" + "EVENT" + "7f4f" + "fe0036ee80" + "00010000" + "0000"},
	} {
		got := b.splice(tt.out)
		if mpegts.CRC32(got) != 0 {
			t.Errorf("out %v: the checksum of % x is wrong", tt.out, got)
		}
		if int(got[2])+3 != len(got) {
			t.Errorf("out %v: section_length %d of %d bytes", tt.out, got[2], len(got))
		}
		s := hex.EncodeToString(got[:len(got)-4])
		if s = s[:28] + "EVENT" + s[36:]; s != tt.want {
			t.Errorf("out %v:\n%s, want\n%s", tt.out, s, tt.want)
		}
	}
}
