package main

import "testing"

func TestCPUTicks(t *testing.T) {
	for _, tt := range []struct {
		stat        string
		busy, total int64
	}{
		{"cpu  100 20 30 1000 50 6 7 8 90 10\ncpu0 1 2 3 4\n", 171, 1221},
		{"cpu  1 2 3 4\n", 6, 10},
		{"cpu  1 2 3\n", 0, 0},
		{"cpu  1 2 x 4\n", 0, 0},
		{"", 0, 0},
	} {
		if busy, total := cpuTicks(tt.stat); busy != tt.busy || total != tt.total {
			t.Errorf("%q: %d of %d, want %d of %d", tt.stat, busy, total, tt.busy, tt.total)
		}
	}
}
