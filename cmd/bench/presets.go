//go:build linux

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/millrace/millrace/internal/flv"
	"github.com/millrace/millrace/internal/transcode"
)

// presets of libx264 that are considered, fastest first.
var presets = []string{"ultrafast", "superfast", "veryfast", "faster", "fast"}

// benchPresets measures what each preset of libx264 costs, a rung and a ladder,
// and how near to the source its frames are. It runs just what the server
// runs, on two cores, as fast as it goes.
func benchPresets(ctx context.Context, b *bench, f footage) (err error) {
	if err := pinSelf(serverCore, loadCore); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pinSelf(loadCore)) }()
	file, err := f.file(ctx, b)
	if err != nil {
		return err
	}
	in := transcode.Input{FrameRate: footageRate, Audio: true}
	fmt.Sscanf(f.size, "%dx%d", &in.Width, &in.Height)
	decoding, err := decodingTime(ctx, file)
	if err != nil {
		return err
	}
	report(f.size+" at 30: decoding alone", "%.3f core", decoding.Seconds()/footageSeconds)
	for _, preset := range presets {
		if err := benchPreset(ctx, file, in, preset, decoding); err != nil {
			return err
		}
	}
	return nil
}

func benchPreset(ctx context.Context, file string, in transcode.Input, preset string, decoding time.Duration) error {
	var rungs []transcode.Rung
	for _, r := range transcode.Rungs(transcode.Standard, false, in) {
		if !r.Source {
			rungs = append(rungs, r)
		}
	}
	folder, err := os.MkdirTemp("", "millrace-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	whole, elapsed, err := transcodeFile(ctx, file, in, rungs, preset, folder)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%dx%d at 30, %s", in.Width, in.Height, preset)
	report(name+": ladder", "%.3f core, %.2f times real time on two", whole.Seconds()/footageSeconds, footageSeconds/elapsed.Seconds())
	for i, r := range rungs {
		q, err := compare(ctx, file, filepath.Join(folder, r.Name+".flv"), r)
		if err != nil {
			return err
		}
		alone, _, err := transcodeFile(ctx, file, in, rungs[i:i+1], preset, folder)
		if err != nil {
			return err
		}
		report(name+": "+r.Name, "%.3f core, %.0f of %d kbit/s, SSIM %.4f, PSNR %.2f dB",
			(alone-decoding).Seconds()/footageSeconds, q.kbits, r.Bitrate/1000, q.ssim, q.psnr)
	}
	return nil
}

// transcodeFile makes rungs of a file, each a file in folder, and returns the
// processor's and the clock's time for that.
func transcodeFile(ctx context.Context, file string, in transcode.Input, rungs []transcode.Rung, preset, folder string) (cpu, elapsed time.Duration, err error) {
	src, err := os.Open(file)
	if err != nil {
		return 0, 0, err
	}
	defer src.Close()
	e, err := transcode.EncoderNamed("")
	if err != nil {
		return 0, 0, err
	}
	j := &transcode.Job{FFmpeg: "ffmpeg", Encoder: e.WithPreset(preset), Folder: folder, Input: in, Rungs: rungs}
	for _, r := range rungs {
		out, err := os.Create(filepath.Join(folder, r.Name+".flv"))
		if err != nil {
			return 0, 0, err
		}
		defer out.Close()
		j.Outputs = append(j.Outputs, flv.NewWriter(out))
	}
	before, began := childrenTime(), time.Now()
	err = j.Run(ctx, flv.NewReader(src))
	return childrenTime() - before, time.Since(began), err
}

// decodingTime is the processor's time to decode a file.
func decodingTime(ctx context.Context, file string) (time.Duration, error) {
	before := childrenTime()
	_, err := ffmpeg(ctx, "-threads", "1", "-i", file, "-map", "0:v", "-f", "null", "-")
	return childrenTime() - before, err
}

// childrenTime is the processor's time of all processes that have ended and
// were waited for.
func childrenTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_CHILDREN, &u) // it cannot fail with these
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// quality is how near to its source a rung is.
type quality struct {
	kbits      float64 // of the video
	ssim, psnr float64 // of all planes
}

var (
	ssimLine  = regexp.MustCompile(`SSIM .*All:([0-9.]+)`)
	psnrLine  = regexp.MustCompile(`PSNR .*average:([0-9.]+)`)
	videoSize = regexp.MustCompile(`video:([0-9]+)kB`)
)

// compare holds the frames of a rung against those of the source, scaled to
// the same size.
func compare(ctx context.Context, source, rung string, r transcode.Rung) (q quality, err error) {
	said, err := ffmpeg(ctx, "-copyts", "-i", rung, "-copyts", "-i", source, "-filter_complex",
		fmt.Sprintf("[1:v]scale=%d:%d:flags=bicubic,format=yuv420p,split[a][b];[0:v]format=yuv420p,split[c][d];[c][a]ssim;[d][b]psnr", r.Width, r.Height),
		"-f", "null", "-")
	if err != nil {
		return q, err
	}
	sizes, err := ffmpeg(ctx, "-i", rung, "-map", "0:v", "-c", "copy", "-f", "null", "-")
	if err != nil {
		return q, err
	}
	number := func(m []string) float64 {
		if m == nil {
			err = cmp.Or(err, errors.New("ffmpeg did not say how good the rung is: "+strings.TrimSpace(said)))
			return 0
		}
		v, _ := strconv.ParseFloat(m[1], 64) // the expression lets only numbers through
		return v
	}
	q = quality{
		kbits: number(videoSize.FindStringSubmatch(sizes)) * 1024 * 8 / 1000 / footageSeconds,
		ssim:  number(ssimLine.FindStringSubmatch(said)),
		psnr:  number(psnrLine.FindStringSubmatch(said)),
	}
	return q, err
}
