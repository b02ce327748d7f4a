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
	"time"
)

// footage is test video that is as hard to encode as a real broadcast: bars and counters
// cost an encoder next to nothing. It is a fall into the Mandelbrot set under the grain of
// a film camera, with a running clock on it, or whatever -footage names.
type footage struct {
	size  string // as 1280x720
	kbits int
}

// footages are those that ladders are measured with, at the bit rates that
// Amazon IVS recommends to broadcasters.
var footages = []footage{{"852x480", 1500}, {"1280x720", 4500}, {"1920x1080", 6000}}

const (
	footageSeconds = 10
	footageRate    = 30
	grain          = 10 // noise of each pixel of each frame, of 255
)

// loops is how long to measure a broadcast of footage over and over, so that
// each second of it counts the same.
func (b *bench) loops() time.Duration {
	const length = footageSeconds * time.Second
	return max(length, (b.duration+length/2)/length*length)
}

// file is the footage as FLV. It is made once for all runs of bench.
func (f footage) file(ctx context.Context, b *bench) (string, error) {
	folder := filepath.Join(os.TempDir(), "millrace-bench-footage")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", err
	}
	input := []string{"-i", b.footage}
	if b.footage == "" {
		input = []string{"-f", "lavfi", "-i", fmt.Sprintf("mandelbrot=size=%s:rate=%d:start_scale=0.3:end_scale=0.002:end_pts=400:maxiter=1000,noise=alls=%d:allf=t", f.size, footageRate, grain)}
	}
	name := filepath.Join(folder, fmt.Sprintf("%s-%d-%d%s.flv", f.size, f.kbits, grain, strings.ReplaceAll(b.footage, "/", "_")))
	if _, err := os.Stat(name); err == nil {
		return name, nil
	}
	bits := strconv.Itoa(f.kbits) + "k"
	args := append(input, "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000",
		"-map", "0:v:0", "-map", "1:a", "-t", strconv.Itoa(footageSeconds),
		"-vf", fmt.Sprintf("scale=%s,fps=%d,drawtext=text='%%{pts\\:hms}':fontsize=h/12:fontcolor=white:box=1:boxcolor=black@0.6:x=(w-tw)/2:y=h/20", strings.Replace(f.size, "x", ":", 1), footageRate),
		"-c:v", "libx264", "-preset", "veryfast", "-profile:v", "high", "-pix_fmt", "yuv420p",
		"-g", strconv.Itoa(2*footageRate), "-sc_threshold", "0", "-b:v", bits, "-maxrate", bits, "-bufsize", bits,
		"-c:a", "aac", "-b:a", "128k", "-ac", "2", "-f", "flv", name+".part")
	if _, err := ffmpeg(ctx, args...); err != nil {
		return "", err
	}
	return name, os.Rename(name+".part", name)
}

// ffmpeg runs it and returns what it said.
func ffmpeg(ctx context.Context, args ...string) (said string, err error) {
	p := exec.CommandContext(ctx, "ffmpeg", append([]string{"-hide_banner", "-nostats", "-nostdin", "-y"}, args...)...)
	out, err := p.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("ffmpeg %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}
