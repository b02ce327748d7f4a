//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/internal/transcode"
)

// benchPlain measures the processor's time of a STANDARD channel, all of it,
// and of the ffmpeg command that a person would write to make the same ladder
// into HLS files: the same frames from the same broadcast, by the same
// presets.
func benchPlain(ctx context.Context, b *bench, f footage) error {
	file, err := f.file(ctx, b)
	if err != nil {
		return err
	}
	own, child, err := ladderTime(ctx, b, file)
	if err != nil {
		return err
	}
	name := "ladder of " + f.size + " at 30, no viewers"
	ours := own + child
	report(name+": Millrace and its ffmpeg", "%.3f core, of which %.3f (%.1f %%) are Millrace's own", ours, own, 100*own/ours)
	for _, tune := range []string{"", "zerolatency"} {
		plain, err := plainTime(ctx, b, file, f, tune)
		if err != nil {
			return err
		}
		what := "ffmpeg into files"
		if tune != "" {
			what += ", -tune " + tune
		}
		report(name+": "+what, "%.3f core; Millrace takes %+.1f %%", plain, 100*(ours/plain-1))
	}
	return nil
}

// ladderTime is how many cores a broadcast of file takes on a STANDARD channel:
// the server itself, and its ffmpeg.
func ladderTime(ctx context.Context, b *bench, file string) (own, child float64, err error) {
	s, err := startServerOn(b, "0,1", "GOMAXPROCS=2", "--transcode", "required", "--transcode-capacity", "10")
	if err != nil {
		return 0, 0, err
	}
	defer s.stop()
	if _, err := s.createChannel("ladder", "LOW", "TS"); err != nil {
		return 0, 0, err
	}
	stop, err := s.publish("--file", file, "ladder")
	if err != nil {
		return 0, 0, err
	}
	defer stop()
	if err := s.waitLive(ctx, 1); err != nil {
		return 0, 0, err
	}
	if err := sleep(ctx, 10*time.Second); err != nil {
		return 0, 0, err
	}
	pid, err := childOf(s.process.Process.Pid)
	if err != nil {
		return 0, 0, err
	}
	from, childFrom, err := s.usageWith(pid)
	if err != nil {
		return 0, 0, err
	}
	if err := sleep(ctx, b.loops()); err != nil {
		return 0, 0, err
	}
	to, childTo, err := s.usageWith(pid)
	return cores(from, to), cores(childFrom, childTo), err
}

// plainTime is how many cores the plain command takes. It reads the file as
// fast as a broadcast comes.
func plainTime(ctx context.Context, b *bench, file string, f footage, tune string) (float64, error) {
	folder, err := os.MkdirTemp("", "millrace-bench-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(folder)
	p := exec.Command("taskset", append([]string{"-c", "0,1", "ffmpeg"}, plainCommand(file, f, tune, folder)...)...)
	if err := p.Start(); err != nil {
		return 0, err
	}
	defer func() { p.Process.Signal(unix.SIGTERM); p.Wait() }()
	if err := sleep(ctx, 10*time.Second); err != nil {
		return 0, err
	}
	from, err := usageOf(p.Process.Pid)
	if err != nil {
		return 0, err
	}
	if err := sleep(ctx, b.loops()); err != nil {
		return 0, err
	}
	to, err := usageOf(p.Process.Pid)
	return cores(from, to), err
}

func plainCommand(file string, f footage, tune, folder string) []string {
	in := transcode.Input{FrameRate: footageRate, Audio: true}
	fmt.Sscanf(f.size, "%dx%d", &in.Width, &in.Height)
	args := []string{"-hide_banner", "-loglevel", "error", "-nostdin", "-re", "-stream_loop", "-1", "-i", file}
	var chains, outs, maps []string
	var options []string
	for i, r := range transcode.Rungs(transcode.Standard, false, in) {
		maps = append(maps, fmt.Sprintf("v:%d,a:%d", i, i))
		if r.Source {
			options = append(options, "-map", "0:v", "-map", "0:a", fmt.Sprintf("-c:v:%d", i), "copy", fmt.Sprintf("-c:a:%d", i), "copy")
			continue
		}
		outs = append(outs, fmt.Sprintf("[s%d]", i))
		chains = append(chains, fmt.Sprintf("[s%d]scale=%d:%d[v%d]", i, r.Width, r.Height, i))
		bits := fmt.Sprint(r.Bitrate)
		options = append(options, "-map", fmt.Sprintf("[v%d]", i), "-map", "0:a",
			fmt.Sprintf("-c:v:%d", i), transcode.DefaultEncoder, fmt.Sprintf("-preset:v:%d", i), "veryfast", fmt.Sprintf("-profile:v:%d", i), "main",
			fmt.Sprintf("-b:v:%d", i), bits, fmt.Sprintf("-maxrate:v:%d", i), bits, fmt.Sprintf("-bufsize:v:%d", i), bits)
		if tune != "" {
			options = append(options, fmt.Sprintf("-tune:v:%d", i), tune)
		}
		if r.AudioBitrate == 0 {
			options = append(options, fmt.Sprintf("-c:a:%d", i), "copy")
		} else {
			options = append(options, fmt.Sprintf("-c:a:%d", i), "aac", fmt.Sprintf("-b:a:%d", i), fmt.Sprint(r.AudioBitrate))
		}
	}
	args = append(args, "-filter_complex", fmt.Sprintf("[0:v]split=%d%s;%s", len(outs), strings.Join(outs, ""), strings.Join(chains, ";")))
	args = append(args, options...)
	return append(args, "-g", fmt.Sprint(2*footageRate), "-keyint_min", fmt.Sprint(2*footageRate), "-sc_threshold", "0",
		"-f", "hls", "-hls_time", "2", "-hls_list_size", "15", "-hls_flags", "delete_segments+independent_segments+program_date_time",
		"-master_pl_name", "index.m3u8", "-var_stream_map", strings.Join(maps, " "), filepath.Join(folder, "%v", "playlist.m3u8"))
}
