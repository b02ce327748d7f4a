package media_test

import (
	"testing"
	"time"

	"github.com/millrace/millrace/internal/media"
)

func TestStamp(t *testing.T) {
	at := time.Date(2026, 5, 1, 12, 30, 15, 123456789, time.UTC)
	data := media.AppendStamp([]byte{0, 0, 0, 2, 0x41, 0x9a}, at.Add(-time.Second))
	data = media.AppendStamp(data, at)
	units := 0
	for nal := range media.NALs(data) {
		units++
		for i := 2; i < len(nal); i++ {
			if nal[i-2] == 0 && nal[i-1] == 0 && nal[i] <= 3 {
				t.Errorf("NAL unit % x would need emulation prevention", nal)
			}
		}
	}
	if units != 3 {
		t.Errorf("%d NAL units, want 3", units)
	}
	if got, ok := media.LastStamp(data); !ok || !got.Equal(at) {
		t.Errorf("LastStamp = %v, %v; want the later one, %v", got, ok, at)
	}
	if got, ok := media.LastStamp(data[:len(data)-10]); !ok || !got.Equal(at.Add(-time.Second)) {
		t.Errorf("LastStamp of cut data = %v, %v; want the whole one before", got, ok)
	}
	if _, ok := media.LastStamp([]byte("nothing here")); ok {
		t.Error("LastStamp found a stamp in nothing")
	}
}
