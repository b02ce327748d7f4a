package transcode

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/segment"
)

// Thumbnails describe the JPEG images of a broadcast. The zero value makes none.
type Thumbnails struct {
	Interval      time.Duration // time between two of them; 0 makes none
	Width, Height int           // pixels, both even
}

// thin passes on at most 30 of 60 frames a second, all key frames among them.
const thin = `select='key+isnan(prev_selected_t)+gte(t-prev_selected_t\,0.0255)'`

// thinned reports whether a rung has half of the frames of its input.
func (in Input) thinned(r Rung) bool { return in.FrameRate > 30.5 && r.FrameRate == 30 }

// square takes the rounding of a rung's size out of its sample aspect ratio;
// what is anamorphic stays so.
const square = `setsar='if(lt(abs(sar-1)\,0.02)\,1\,sar)'`

// graph decodes once and makes all rungs: [v0], [v1] ... for those with a
// video, [jpeg] for thumbnails. Each is made from the one above it, which has
// fewer pixels to scale than the source.
func (e Encoder) graph(rungs []Rung, in Input, t Thumbnails) string {
	var chains []string
	at, width, height, thinned := "[0:v:0]", in.Width, in.Height, false
	left := videoRungs(rungs)
	if t.Interval > 0 {
		from := at
		if left > 0 {
			chains = append(chains, at+"split[rungs][still]")
			at, from = "[rungs]", "[still]"
		}
		chains = append(chains, fmt.Sprintf(`%sselect='gte(t-start_t+0.005\,selected_n*%g)',scale=%d:%d,setsar=1,format=yuvj420p[jpeg]`,
			from, t.Interval.Seconds(), t.Width, t.Height))
	}
	for i, r := range rungs {
		if r.AudioOnly() {
			continue
		}
		var filters []string
		if in.thinned(r) && !thinned {
			filters, thinned = append(filters, thin), true
		}
		if r.Width != width || r.Height != height {
			filters = append(filters, fmt.Sprintf("scale=%d:%d", r.Width, r.Height), square)
			width, height = r.Width, r.Height
		}
		if left--; left > 0 {
			chains = append(chains, fmt.Sprintf("%s%s[r%d][below%d]", at, strings.Join(append(filters, "split"), ","), i, i))
			at, filters = fmt.Sprintf("[r%d]", i), nil
		}
		chains = append(chains, fmt.Sprintf("%s%s[v%d]", at, strings.Join(append(filters, e.filter), ","), i))
		at = fmt.Sprintf("[below%d]", i)
	}
	return strings.Join(chains, ";")
}

// output are the options of one rung, up to its format. What makes it line up
// with its source: every frame keeps its time, and is a key frame where what ffmpeg
// is given has one (keyFrames).
func (e Encoder) output(i int, r Rung, in Input, threads int) []string {
	var args []string
	if !r.AudioOnly() {
		bits := strconv.Itoa(r.Bitrate)
		rate := in.rate()
		if in.thinned(r) {
			rate /= 2
		}
		group := max(1, int(math.Ceil(1.5*segment.KeyInterval.Seconds()*rate))) // keyFrames asks for one sooner
		args = append(args, "-map", fmt.Sprintf("[v%d]", i), "-c:v", e.Name)
		args = append(args, e.video...)
		args = append(args, "-bf", "0", "-g", strconv.Itoa(group), "-force_key_frames", "source",
			"-fps_mode", "passthrough", "-enc_time_base", "-1",
			"-b:v", bits, "-maxrate", bits, "-bufsize", bits)
		if !e.Hardware {
			args = append(args, "-threads", strconv.Itoa(threads))
		}
	}
	switch {
	case !in.Audio:
	case r.AudioBitrate == 0:
		args = append(args, "-map", "0:a:0", "-c:a", "copy")
	default:
		args = append(args, "-map", "0:a:0", "-c:a", "aac", "-b:a", strconv.Itoa(r.AudioBitrate))
	}
	return args
}

// rate returns the frame rate; 30 if it is unknown.
func (in Input) rate() float64 {
	if in.FrameRate > 0 {
		return in.FrameRate
	}
	return 30
}

// firstPipe is the file descriptor of the first rung's output.
const firstPipe = 3

// args is the command line of a Job: FLV from standard input, each rung as FLV
// to a pipe of its own, thumbnails to the last one.
func (j *Job) args() []string {
	e := j.Encoder
	args := append([]string{"-hide_banner", "-loglevel", "error", "-nostdin"}, e.global...)
	args = append(args,
		"-protocol_whitelist", "pipe", "-analyzeduration", "0", "-copyts", "-noautorotate",
		"-threads", strconv.Itoa(j.decoders()), "-f", "flv", "-i", "pipe:0",
		"-filter_complex_threads", "1")
	if videoRungs(j.Rungs) > 0 || j.Thumbnails.Interval > 0 {
		args = append(args, "-filter_complex", e.graph(j.Rungs, j.Input, j.Thumbnails))
	}
	for i, r := range j.Rungs {
		args = append(args, e.output(i, r, j.Input, j.threads(r))...)
		args = append(args, "-avoid_negative_ts", "disabled", "-max_interleave_delta", "500000",
			"-flush_packets", "1", "-flvflags", "no_duration_filesize", "-f", "flv", fmt.Sprintf("pipe:%d", firstPipe+i))
	}
	if j.Thumbnails.Interval > 0 {
		args = append(args, "-map", "[jpeg]", "-c:v", "mjpeg", "-q:v", "4", "-fps_mode", "passthrough",
			"-flush_packets", "1", "-f", "image2pipe", fmt.Sprintf("pipe:%d", firstPipe+len(j.Rungs)))
	}
	return args
}

// busy is the maximum number of pixels a second that one thread of ffmpeg should process:
// everything without a thread of its own shares one, which must keep up with real time.
const busy = 1280 * 720 * 31

// decoders is how many frames are decoded at the same time. Each beyond the
// first is one more frame of delay.
func (j *Job) decoders() int {
	if float64(j.Input.Width*j.Input.Height)*j.Input.rate() > busy {
		return 2
	}
	return 1
}

// threads is how many slices of a frame are encoded at the same time: one,
// which costs least, unless the frame would then take too long.
func (j *Job) threads(r Rung) int {
	if float64(r.Width*r.Height)*min(j.Input.rate(), float64(r.FrameRate)) > busy {
		return 2
	}
	return 1
}

// videoRungs is how many of the rungs have video.
func videoRungs(rungs []Rung) (n int) {
	for _, r := range rungs {
		if !r.AudioOnly() {
			n++
		}
	}
	return n
}

// NewThumbnails returns those for an input, within a frame of that many lines; 0 means
// any.
func NewThumbnails(in Input, interval time.Duration, lines int) Thumbnails {
	size := frameLines(in)
	if lines == 0 {
		lines = size
	}
	width, height := in.scaled(min(lines, size), size)
	return Thumbnails{interval, width, height}
}
