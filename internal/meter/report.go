package meter

import (
	"fmt"
	"math"
	"time"
)

// A Report describes the present state of a broadcast for its operator.
type Report struct {
	Health    Health
	Announced Announced
	Measured  Measured
	Sentence  string // what is wrong, if anything, in plain words
}

// Measured describes what arrived in the last 10 seconds, or since the start.
type Measured struct {
	VideoBitrate     float64 `json:"videoBitrate"`     // bit/s
	AudioBitrate     float64 `json:"audioBitrate"`     // bit/s
	Framerate        float64 `json:"framerate"`        // frames a second
	KeyframeInterval float64 `json:"keyframeInterval"` // seconds; 0 if there were fewer than two key frames
	Pace             float64 `json:"pace"`             // media time per wall time; 1 is real time
	Behind           float64 `json:"behind"`           // seconds that the frames are late
}

const reported = 10 // seconds

// Report returns a report of the broadcast's present state.
func (m *Meter) Report(now time.Time) Report {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.turnLocked(m.unixLocked(now))
	r := Report{Health: m.verdict.health, Announced: m.announced}
	if total, had := m.sumLocked(reported); had > 0 {
		seconds := float64(had)
		r.Measured = Measured{
			VideoBitrate: float64(total.videoBytes) * 8 / seconds,
			AudioBitrate: float64(total.audioBytes) * 8 / seconds,
			Framerate:    float64(total.frames) / seconds,
			Pace:         total.media.Seconds() / seconds,
			Behind:       m.schedule.behind(now).Seconds(),
		}
		if total.keys > 0 {
			r.Measured.KeyframeInterval = total.keyGaps.Seconds() / float64(total.keys)
		}
	}
	r.Sentence = m.sentenceLocked(r, now)
	return r
}

func (m *Meter) sentenceLocked(r Report, now time.Time) string {
	a, got := r.Announced, r.Measured
	quiet := m.schedule.silent(now)
	switch {
	case r.Health == Unknown:
		return "The broadcast has just begun and is still being measured."
	case r.Health == Healthy:
		return healthySentence(a, got) + m.keySentenceLocked()
	case quiet > pause && now.Sub(m.lastAudio) < pause:
		return fmt.Sprintf("No video has come for %.0f seconds while audio continues; the encoder's video is frozen.", quiet.Seconds())
	case quiet > pause:
		return fmt.Sprintf("Nothing has come from the encoder for %.0f seconds; the video has stopped.", quiet.Seconds())
	case a.VideoBitrate > 0 && got.VideoBitrate < 0.9*a.VideoBitrate:
		return fmt.Sprintf("The encoder announced %s and delivers %s; the video will stall.", megabits(a.VideoBitrate), megabits(got.VideoBitrate))
	case got.Pace < 0.98:
		return fmt.Sprintf("Only %.2f s of video arrive each second; the video will stall.", got.Pace)
	}
	return "Video arrives in time again; the health is still being confirmed."
}

// keyless is how much media without a key frame is reported: the encoder uses intra
// refresh, or sends no further frame at which a decoder can start.
const keyless = 15 * time.Second

func (m *Meter) keySentenceLocked() string {
	without := m.schedule.dts - m.lastKey
	if m.lastKey == 0 || without < keyless {
		return ""
	}
	return fmt.Sprintf(" No key frame has come for %.0f s: new viewers of the source see nothing until one comes. "+
		"Set the encoder's key frame interval to 2 s, without intra refresh.", without.Seconds())
}

func healthySentence(a Announced, got Measured) string {
	text := fmt.Sprintf("Video arrives in time: %s, %.0f frames per second.", megabits(got.VideoBitrate), got.Framerate)
	if a.Framerate > 0 && got.Framerate > 0 && math.Abs(got.Framerate-a.Framerate) > a.Framerate/10 {
		text += fmt.Sprintf(" The encoder announced %.0f frames per second.", a.Framerate)
	}
	if got.KeyframeInterval > 4.5 {
		text += fmt.Sprintf(" Key frames are %.0f s apart; players start faster with one every 2 s.", got.KeyframeInterval)
	}
	return text
}

func megabits(bits float64) string { return fmt.Sprintf("%.1f Mbit/s", bits/1e6) }
