package main

import (
	"strings"
	"testing"
)

// Limits that cannot be kept are refused at the start.
func TestWrongLimits(t *testing.T) {
	t.Parallel()
	for flag, says := range map[string]string{
		"--max-streams=0":              "--max-streams 0: must be at least 1",
		"--max-bitrate=-1":             "--max-bitrate -1: must be at least 1",
		"--max-edge=0":                 "--max-edge 0: must be at least 1",
		"--max-stream-duration=0s":     "--max-stream-duration 0s: must be at least 1s",
		"--max-stream-duration=87601h": "--max-stream-duration 87601h0m0s: must be at most 87600h0m0s (ten years)",
		"--bitrate-window=90s":         "--bitrate-window 1m30s: must be between 1s and 1m",
	} {
		command := millrace("serve", "--data", t.TempDir(), "--http", "127.0.0.1:0", "--rtmp", "127.0.0.1:0", "--rtmps", "127.0.0.1:0", flag)
		if out, err := command.CombinedOutput(); err == nil || !strings.Contains(string(out), says) {
			t.Errorf("%s: %v, does not say %q:\n%s", flag, err, says, out)
		}
	}
}
