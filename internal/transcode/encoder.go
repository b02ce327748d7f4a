package transcode

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// DefaultEncoder is part of every common ffmpeg and needs no hardware.
const DefaultEncoder = "libx264"

// An Encoder is one of ffmpeg's H.264 encoders.
type Encoder struct {
	Name     string // ffmpeg's name for it
	About    string
	Hardware bool // it does not use the processor

	global []string // before the input
	filter string   // behind the last filter
	video  []string // with each rung
}

// Encoders are those that Millrace can configure for low latency: no B-frames, no
// lookahead, and a key frame on request. docs/renditions.md explains the preset of
// libx264.
var Encoders = []Encoder{
	{
		Name: DefaultEncoder, About: "x264, on the processor",
		filter: "format=yuv420p",
		video:  []string{"-preset", "veryfast", "-tune", "zerolatency", "-profile:v", "main", "-forced-idr", "1", "-sc_threshold", "0"},
	},
	{
		Name: "h264_nvenc", About: "NVIDIA NVENC", Hardware: true,
		filter: "format=yuv420p",
		video:  []string{"-preset", "p4", "-tune", "ll", "-profile:v", "main", "-rc", "cbr", "-zerolatency", "1", "-delay", "0", "-forced-idr", "1"},
	},
	{
		Name: "h264_vaapi", About: "VA-API: Intel and AMD graphics on Linux", Hardware: true,
		global: []string{"-init_hw_device", "vaapi=va", "-filter_hw_device", "va"},
		filter: "format=nv12,hwupload",
		video:  []string{"-profile:v", "main", "-rc_mode", "CBR", "-async_depth", "1"},
	},
	{
		Name: "h264_qsv", About: "Intel Quick Sync Video", Hardware: true,
		global: []string{"-init_hw_device", "qsv=qs", "-filter_hw_device", "qs"},
		filter: "format=nv12",
		video:  []string{"-preset", "veryfast", "-profile:v", "main", "-async_depth", "1", "-low_delay_brc", "1", "-forced_idr", "1"},
	},
}

// EncoderNamed returns the encoder that ffmpeg calls name; "" is
// DefaultEncoder.
func EncoderNamed(name string) (Encoder, error) {
	var known []string
	for _, e := range Encoders {
		if e.Name == name || name == "" && e.Name == DefaultEncoder {
			return e, nil
		}
		known = append(known, e.Name)
	}
	return Encoder{}, fmt.Errorf("unknown encoder %q: choose one of %s", name, strings.Join(known, ", "))
}

// WithPreset returns e with another preset, to measure its effect.
func (e Encoder) WithPreset(preset string) Encoder {
	e.video = slices.Clone(e.video)
	if i := slices.Index(e.video, "-preset"); i >= 0 {
		e.video[i+1] = preset
	}
	return e
}

// checkTime is how long an encoder may take to show that it works. A machine
// under load starts ffmpeg slowly.
const checkTime = 30 * time.Second

// Check encodes a few frames with e, and returns an error if that does not work.
func (e Encoder) Check(ctx context.Context, ffmpeg string) error {
	_, err := e.trial(ctx, ffmpeg, []Rung{{Name: "160p30", Width: 284, Height: 160, FrameRate: 30, Bitrate: 230_000}}, 100*time.Millisecond)
	return err
}

// Measure returns how many ladders of a STANDARD channel with an input of 1280x720 at 30
// frames a second this machine can make at the same time, with some reserve for other
// work.
func (e Encoder) Measure(ctx context.Context, ffmpeg string, cores int) (float64, error) {
	const length = 2 * time.Second
	rungs := Rungs(Standard, false, Input{Width: 1280, Height: 720, FrameRate: 30})
	used, err := e.trial(ctx, ffmpeg, rungs, length)
	if err != nil {
		return 0, err
	}
	if e.Hardware {
		cores = 1 // what counts is not the processor's time
	}
	return 0.6 * float64(cores) * length.Seconds() / max(used.Seconds(), 0.001), nil
}

// trial makes rungs of a test image and returns the processor's time for it,
// or the clock's where the work is not the processor's.
func (e Encoder) trial(ctx context.Context, ffmpeg string, rungs []Rung, length time.Duration) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	in := Input{Width: 1280, Height: 720, FrameRate: 30}
	args := append([]string{"-hide_banner", "-loglevel", "error", "-nostdin"}, e.global...)
	args = append(args, "-f", "lavfi", "-t", strconv.FormatFloat(length.Seconds(), 'f', -1, 64), "-i", "testsrc2=size=1280x720:rate=30")
	args = append(args, "-filter_complex", e.graph(rungs, in, Thumbnails{}))
	for i, r := range rungs {
		args = append(args, e.output(i, r, in, 1)...)
		args = append(args, "-f", "null", "-")
	}
	p := exec.CommandContext(ctx, ffmpeg, args...)
	var stderr bytes.Buffer
	p.Stderr = &stderr
	p.WaitDelay = time.Second
	began := time.Now()
	if err := p.Run(); err != nil {
		return 0, fmt.Errorf("%s with %s: %w: %s", ffmpeg, e.Name, err, firstLine(stderr.Bytes()))
	}
	if e.Hardware {
		return time.Since(began), nil
	}
	return p.ProcessState.UserTime() + p.ProcessState.SystemTime(), nil
}

// firstLine returns the first line of ffmpeg's output, as valid UTF-8 of limited length.
func firstLine(b []byte) string {
	line, _, _ := bytes.Cut(bytes.TrimSpace(b), []byte("\n"))
	return strings.ToValidUTF8(string(line[:min(len(line), 300)]), "")
}
