//go:build linux

// Command bench measures what a stream and a viewer cost, on loopback, with a
// real server process: the server on one core, the load on another. It prints
// a table for docs/performance.md. `make bench` runs it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A scenario measures one thing and reports it.
type scenario struct {
	name string
	run  func(ctx context.Context, b *bench) error
}

var scenarios = []scenario{
	{"start", benchStart},
	{"first-part", benchFirstPart},
	{"ingest-ts", func(ctx context.Context, b *bench) error { return benchIngest(ctx, b, "TS", notRecorded) }},
	{"ingest-recorded", func(ctx context.Context, b *bench) error { return benchIngest(ctx, b, "TS", intoFolder) }},
	{"ingest-recorded-s3", func(ctx context.Context, b *bench) error { return benchIngest(ctx, b, "TS", intoS3) }},
	{"ingest-fmp4", func(ctx context.Context, b *bench) error { return benchIngest(ctx, b, "FRAGMENTED_MP4", notRecorded) }},
	{"recording-times", benchRecordingTimes},
	{"latency-recorded", benchRecordedLatency},
	{"latency-1", func(ctx context.Context, b *bench) error { return benchViewers(ctx, b, "LOW", 1) }},
	{"ll-200", func(ctx context.Context, b *bench) error { return benchViewers(ctx, b, "LOW", 200) }},
	{"ll-500", func(ctx context.Context, b *bench) error { return benchViewers(ctx, b, "LOW", 500) }},
	{"ll-1000", func(ctx context.Context, b *bench) error { return benchViewers(ctx, b, "LOW", 1000) }},
	{"ll-2000", func(ctx context.Context, b *bench) error { return benchViewers(ctx, b, "LOW", 2000) }},
	{"ll-500-private", func(ctx context.Context, b *bench) error { return benchPrivate(ctx, b, 500) }},
	{"ll-600-tls", func(ctx context.Context, b *bench) error { return benchTLS(ctx, b, 600) }},
	{"plain-1000", func(ctx context.Context, b *bench) error { return benchViewers(ctx, b, "NORMAL", 1000) }},
	{"plain-3500", func(ctx context.Context, b *bench) error { return benchViewers(ctx, b, "NORMAL", 3500) }},
	{"relay-500", func(ctx context.Context, b *bench) error { return benchRelay(ctx, b, 500) }},
	{"relay-owner", benchRelayOwner},
	{"owner-killed", benchOwnerKilled},
	{"statements-1000", func(ctx context.Context, b *bench) error { return benchStatements(ctx, b, 1000) }},
	{"ceiling", benchCeiling},
	{"browser-ts", func(ctx context.Context, b *bench) error { return benchBrowser(ctx, b, "TS") }},
	{"browser-fmp4", func(ctx context.Context, b *bench) error { return benchBrowser(ctx, b, "FRAGMENTED_MP4") }},
	{"console-1000", func(ctx context.Context, b *bench) error { return benchConsole(ctx, b, 1000) }},
	{"ladder-480p30", func(ctx context.Context, b *bench) error { return benchLadder(ctx, b, footages[0]) }},
	{"ladder-720p30", func(ctx context.Context, b *bench) error { return benchLadder(ctx, b, footages[1]) }},
	{"ladder-1080p30", func(ctx context.Context, b *bench) error { return benchLadder(ctx, b, footages[2]) }},
	{"plain-720p30", func(ctx context.Context, b *bench) error { return benchPlain(ctx, b, footages[1]) }},
	{"plain-1080p30", func(ctx context.Context, b *bench) error { return benchPlain(ctx, b, footages[2]) }},
	{"presets-480p30", func(ctx context.Context, b *bench) error { return benchPresets(ctx, b, footages[0]) }},
	{"presets-720p30", func(ctx context.Context, b *bench) error { return benchPresets(ctx, b, footages[1]) }},
	{"presets-1080p30", func(ctx context.Context, b *bench) error { return benchPresets(ctx, b, footages[2]) }},
}

// bench holds the settings that all scenarios share.
type bench struct {
	binary   string
	footage  string // a video file; "" means what bench makes itself
	duration time.Duration
	profiles string // folder for profiles of the server; "" for none
	hlsjs    string // the player's file
	files    int    // that a process may have open
}

func main() {
	b := &bench{}
	var only string
	flag.StringVar(&b.binary, "millrace", "bin/millrace", "the program to measure")
	flag.DurationVar(&b.duration, "duration", 15*time.Second, "how long to measure, after the load is steady")
	flag.StringVar(&b.footage, "footage", "", "video to transcode in the scenarios ladder-*, plain-*p30 and presets-*; a moving fractal by default")
	flag.StringVar(&b.profiles, "profile", "", "folder for perf's profiles of the server under load; needs perf, and a server with its symbols")
	flag.StringVar(&b.hlsjs, "hlsjs", "console/node_modules/hls.js/dist/hls.min.js", "the player for the browser")
	flag.StringVar(&only, "only", "", "scenarios, separated by commas; all by default: "+names())
	flag.Parse()
	if err := pinSelf(loadCore); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	b.files = raiseFileLimit()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	fmt.Printf("%s\n\n| scenario | result |\n|---|---|\n", machine())
	for _, s := range scenarios {
		if only != "" && !slices.Contains(strings.Split(only, ","), s.name) {
			continue
		}
		if err := s.run(ctx, b); err != nil {
			fmt.Fprintf(os.Stderr, "bench: %s: %v\n", s.name, err)
			os.Exit(1)
		}
	}
}

// names are those of all scenarios.
func names() string {
	var all []string
	for _, s := range scenarios {
		all = append(all, s.name)
	}
	return strings.Join(all, ", ")
}

// machine says where the figures come from.
func machine() string {
	model := "unknown processor"
	cpus, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(cpus)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(value)
		}
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return fmt.Sprintf("%d cores of %s, Linux %s, %s", runtime.NumCPU(), model, strings.TrimSpace(string(kernel)), runtime.Version())
}

// report prints a row of the table.
func report(name, format string, args ...any) {
	fmt.Printf("| %s | %s |\n", name, fmt.Sprintf(format, args...))
}

const (
	serverCore = 0
	loadCore   = 1
)

// pinSelf keeps this process, and what it starts from then on, on those cores.
func pinSelf(cores ...int) error {
	var set unix.CPUSet
	for _, core := range cores {
		set.Set(core)
	}
	// Threads that the runtime started before are few and idle; those it
	// starts from here on inherit the mask.
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, t := range tasks {
		var tid int
		fmt.Sscan(t.Name(), &tid)
		if err := unix.SchedSetaffinity(tid, &set); err != nil {
			return fmt.Errorf("pinning to cores %v: %w", cores, err)
		}
	}
	return nil
}

// raiseFileLimit lets this process, and what it starts, have as many open files as may
// be, and returns how many.
func raiseFileLimit() int {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) == nil {
		l.Cur = l.Max
		_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &l) // what cannot be raised shows as failing connections
	}
	return int(l.Cur)
}
