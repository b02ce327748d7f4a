package transcode

import (
	"fmt"

	"github.com/millrace/millrace/internal/broadcast"
	"github.com/millrace/millrace/internal/media"
)

// A Kind says which renditions a channel has.
type Kind int

// The ladders that IVS documents, by the channel types that have them.
const (
	SourceOnly Kind = iota // what the encoder sends, alone
	Standard
	AdvancedSD
	AdvancedHD
)

// An Input describes what an encoder sends.
type Input struct {
	Width, Height int     // pixels as coded
	FrameRate     float64 // frames a second; 0 counts as 30
	Audio         bool
}

// A Rung is one rendition of a ladder.
type Rung struct {
	Name string // GROUP-ID and path element, such as "720p60"; "source" if it is passed through

	// Source is set if video and audio are passed through unchanged; the fields below are
	// then zero.
	Source bool

	Width, Height int // pixels, both even; 0 without video
	FrameRate     int // 30 or 60: the maximum frames a second
	Bitrate       int // of the video, bit/s
	AudioBitrate  int // bit/s; 0 means that the audio is passed through
}

// AudioOnly reports whether a rung has no video.
func (r Rung) AudioOnly() bool { return !r.Source && r.Height == 0 }

// A step is a rung before it is adapted to an input.
type step struct {
	lines, rate  int
	bitrate      int // kbit/s
	constrained  int // kbit/s for constrained bandwidth
	audioBitrate int // kbit/s; 0: passed through
}

// The ladders that IVS documents, top to bottom.
var (
	standardTop60 = step{720, 60, 3400, 0, 0}
	standardTop30 = step{720, 30, 2400, 0, 0}
	standardRest  = []step{{480, 30, 1400, 0, 0}, {360, 30, 630, 0, 64}, {160, 30, 230, 0, 48}}

	advancedTop60 = step{720, 60, 3000, 2200, 128}
	advancedTop30 = step{720, 30, 2300, 1900, 128}
	advancedRest  = []step{{480, 30, 1300, 800, 128}, {360, 30, 700, 400, 64}, {160, 30, 270, 220, 48}}
)

const audioOnlyBitrate = 64_000

// Rungs returns the ladder of a kind for an input, the best rung first. With
// constrained, the advanced kinds have lower bit rates.
//
// An input counts as the smallest 16:9 frame, upright or lying, that holds it:
// 1920x800 as 1080p, 1080x1920 as 1080p, 960x720 as 720p. A rung has the
// input's own shape in its frame. No rung is larger than its input: the lowest
// that would be takes the input's size.
func Rungs(kind Kind, constrained bool, in Input) []Rung {
	size, fast := frameLines(in), in.FrameRate > 30.5
	switch kind {
	case Standard:
		steps := standardRest
		if size >= 720 && fast {
			steps = append([]step{standardTop60}, steps...)
		} else if size >= 720 {
			steps = append([]step{standardTop30}, steps...)
		}
		rungs := fit(steps, in, false)
		if size > 720 {
			rungs = append([]Rung{{Name: broadcast.SourceName, Source: true}}, rungs...)
		}
		return rungs
	case AdvancedHD, AdvancedSD:
		steps := advancedRest
		if kind == AdvancedHD && fast && size >= 720 {
			steps = append([]step{advancedTop60}, steps...)
		} else if kind == AdvancedHD {
			steps = append([]step{advancedTop30}, steps...)
		}
		rungs := fit(steps, in, constrained)
		if in.Audio {
			rungs = append(rungs, Rung{Name: broadcast.AudioOnlyName, AudioBitrate: audioOnlyBitrate})
		}
		return rungs
	}
	return []Rung{{Name: broadcast.SourceName, Source: true}}
}

// frameLines are the lines of an input, as far as 4:2:0 can hold it.
func frameLines(in Input) int { return media.Lines(even(in.Width), even(in.Height)) }

// scaled returns the resolution of a rung with that many lines, for an input whose frame
// has size lines.
func (in Input) scaled(lines, size int) (width, height int) {
	switch {
	case lines == size:
		return even(in.Width), even(in.Height)
	case media.Is16to9(in.Width, in.Height) && in.Width >= in.Height:
		return even(lines * 16 / 9), lines
	case media.Is16to9(in.Width, in.Height):
		return lines, even(lines * 16 / 9)
	}
	return even(in.Width * lines / size), even(in.Height * lines / size)
}

// even rounds down to what 4:2:0 can hold.
func even(n int) int { return max(2, n/2*2) }

// fit makes rungs of the steps that the input can fill.
func fit(steps []step, in Input, constrained bool) (rungs []Rung) {
	size := frameLines(in)
	for i, s := range steps {
		if i+1 < len(steps) && steps[i+1].lines >= size {
			continue // the next one is large enough
		}
		lines := min(s.lines, size)
		width, height := in.scaled(lines, size)
		r := Rung{
			Name:      fmt.Sprintf("%dp%d", lines, s.rate),
			Width:     width,
			Height:    height,
			FrameRate: s.rate,
			Bitrate:   1000 * s.bitrate,
		}
		if constrained {
			r.Bitrate = 1000 * s.constrained
		}
		if in.Audio {
			r.AudioBitrate = 1000 * s.audioBitrate
		}
		rungs = append(rungs, r)
	}
	return rungs
}

// Cost returns how much work a ladder is; that of a STANDARD channel with an input of
// 1280x720 at 30 frames a second is 1. Decoding and scaling a pixel counts as three
// quarters of encoding one.
func Cost(rungs []Rung, in Input) float64 {
	const unit = 1280 * 720 * 30 * 2.493
	rate := in.FrameRate
	if rate == 0 {
		rate = 30
	}
	pixels := 0.0
	for _, r := range rungs {
		pixels += float64(r.Width*r.Height) * min(rate, float64(r.FrameRate))
	}
	if pixels == 0 {
		return 0
	}
	return (pixels + float64(in.Width*in.Height)*rate*3/4) / unit
}
