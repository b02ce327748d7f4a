package media_test

import (
	"testing"
	"time"

	"github.com/millrace/millrace/internal/media"
)

func TestStamp(t *testing.T) {
	at := time.Date(2026, 5, 1, 12, 30, 15, 123456789, time.UTC)
	data := media.H264.AppendStamp([]byte{0, 0, 0, 2, 0x41, 0x9a}, at.Add(-time.Second))
	data = media.H264.AppendStamp(data, at)
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
	got, rest, ok := media.NextStamp(data)
	if !ok || !got.Equal(at.Add(-time.Second)) {
		t.Errorf("first stamp %v, %v; want %v", got, ok, at.Add(-time.Second))
	}
	if got, rest, ok = media.NextStamp(rest); !ok || !got.Equal(at) {
		t.Errorf("second stamp %v, %v; want %v", got, ok, at)
	}
	if _, _, ok := media.NextStamp(rest); ok {
		t.Error("a third stamp in two")
	}
	if _, _, ok := media.NextStamp(data[:40]); ok {
		t.Error("a stamp in what was cut")
	}
}
