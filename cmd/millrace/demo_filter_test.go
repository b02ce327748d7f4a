package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// A build of ffmpeg that cannot draw text, as some for macOS, runs the demo too, without its
// clock.
func TestDemoWithoutTextFilter(t *testing.T) {
	real, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Fatalf("%v (make test installs it)", err)
	}
	bin := t.TempDir()
	script := fmt.Sprintf(`#!/bin/sh
case "$*" in
*-filters*) exec %[1]s "$@" | grep -v drawtext; exit ;;
*drawtext*) echo "No such filter: 'drawtext'" >&2; exit 1 ;;
esac
exec %[1]s "$@"
`, real)
	if err := os.WriteFile(filepath.Join(bin, "ffmpeg"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	s := startProcess(t, "", func(p *exec.Cmd) { p.Env = append(p.Env, "PATH="+bin+":"+os.Getenv("PATH")) }, "demo")
	s.waitLog("Playback  ") // once it is live
}
