//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// profile writes, if profiles are asked for, where the time of a process goes under
// the load that is on it now: perf sees the kernel too, where most of it goes.
// It is taken after the figures, which it would change.
func (b *bench) profile(ctx context.Context, pid int, name string) error {
	if b.profiles == "" {
		return nil
	}
	name = strings.NewReplacer(" ", "-", "/", "", ",", "", ":", "").Replace(name)
	if err := os.MkdirAll(b.profiles, 0o755); err != nil {
		return err
	}
	data := filepath.Join(b.profiles, name+".perf")
	record := exec.CommandContext(ctx, "perf", "record", "-q", "-g", "-F", "997", "-o", data,
		"-p", strconv.Itoa(pid), "--", "sleep", "8")
	if out, err := record.CombinedOutput(); err != nil {
		return fmt.Errorf("perf record: %w: %s", err, out)
	}
	for kind, args := range map[string][]string{
		"self":  {"--no-children", "-g", "none", "--percent-limit", "0.4"},
		"below": {"--children", "-g", "none", "--percent-limit", "2"}, // with all that was called
	} {
		report := exec.CommandContext(ctx, "perf", append([]string{"report", "--stdio", "-i", data, "--sort", "symbol"}, args...)...)
		out, err := report.Output()
		if err != nil {
			return fmt.Errorf("perf report: %w", err)
		}
		if err := os.WriteFile(filepath.Join(b.profiles, name+"."+kind+".txt"), out, 0o644); err != nil {
			return err
		}
	}
	return nil
}
