package main

import (
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/logs"
)

// notOfPeers are the log lines of the code that answers peers without a key that no
// such peer can cause as often as it likes, each with the reason.
var notOfPeers = map[string]string{
	"RTMP accept failed": "waits before it tries again",
	"allowedCountries has no effect: without a country database (--geoip) every location is unknown": "once",
	"reading revocations failed; those of other nodes take effect once it succeeds":                  "the node's own, once a second",
	"deleting used tokens and old revocations failed":                                                "the node's own, once an hour",
	"another node relays a stream":                                                                   "needs the secret of the cluster",
	"another node stopped relaying a stream":                                                         "needs the secret of the cluster",
	"reporting the viewers of streams to their owner failed":                                         "the node's own, every 2 s",
	"a stream of another node is no longer relayed":                                                  "once for each stream that is live, after 40 s without a viewer",
	"a stream of another node was lost: its viewers here see its end":                                "once for each stream that is live",
	"a stream of another node has ended":                                                             "once for each stream that is live",
	"the connection to the owner of a stream was lost; trying again":                                 "of a stream that is live",
	"session created":   "needs a stream key",
	"publish failed":    "needs a stream key",
	"stream taken over": "needs a stream key",
	"writing Stream Takeover failed; it will be written with a heartbeat": "needs a stream key",
	"FAULT ON DEMAND": "needs a signature",
}

var logCall = regexp.MustCompile(`[lL]og(?:\(\))?\.(?:Debug|Info|Warn|Error|Log)\((?:[^"\n]*, )?"([^"]+)"`)

// Every line that is logged where peers without a key are answered is either limited,
// or one that they cannot cause at will.
func TestLinesOfPeersAreLimited(t *testing.T) {
	seen := map[string]bool{}
	for _, pattern := range []string{"rtmp/*.go", "multitrack/*.go", "playback/*.go", "access/*.go", "relay/*.go", "record/http.go", "record/address.go", "live/hub.go", "live/takeover.go"} {
		files, err := filepath.Glob("../../internal/" + pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(files), err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			for _, m := range logCall.FindAllStringSubmatch(string(text), -1) {
				seen[m[1]] = true
				if limited := slices.Contains(ofPeers, m[1]); limited == (notOfPeers[m[1]] != "") {
					t.Errorf("%s logs %q, which is limited: %t; otherwise the reason is %q", file, m[1], limited, notOfPeers[m[1]])
				}
			}
		}
	}
	for _, message := range slices.Concat(ofPeers, slices.Collect(maps.Keys(notOfPeers))) {
		if !seen[message] {
			t.Errorf("nothing logs %q", message)
		}
	}
	w := logs.NewWriter(os.Stderr) // for its count alone: nothing is written
	log := newLog(w, slog.LevelInfo)
	for _, message := range ofPeers {
		before := w.Omitted()
		for range 1000 {
			log.Warn(message)
		}
		if w.Omitted() == before {
			t.Errorf("1000 lines %q were all passed on", message)
		}
	}
}
