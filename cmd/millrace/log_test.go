package main

import (
	"log/slog"
	"os"
	"testing"

	"github.com/millrace/millrace/internal/logs"
)

// What strangers can cause does not fill the log.
func TestLinesOfStrangersAreLimited(t *testing.T) {
	w := logs.NewWriter(os.Stderr) // for its count alone: nothing is written
	log := newLog(w, slog.LevelInfo)
	for _, message := range []string{"playback refused", "publish refused", "takeover refused", "multitrack configuration refused",
		"RTMP connection failed", "looking up a stream key failed", "a recording cannot be served", "a recording was refused",
		"reading playback keys failed", "recording the use of a token failed"} {
		before := w.Omitted()
		for range 1000 {
			log.Warn(message)
		}
		if w.Omitted() == before {
			t.Errorf("1000 lines %q were all passed on", message)
		}
	}
}
