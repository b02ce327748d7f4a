package main

import (
	"fmt"
	"time"

	"github.com/millrace/millrace/internal/live"
)

// limitFlags limit broadcasts and their number.
type limitFlags struct {
	MaxStreams         int           `name:"max-streams" default:"100" placeholder:"N" help:"Streams live at a time in an account and region (${default})."`
	MaxViews           int           `name:"max-views" default:"15000" placeholder:"N" help:"Viewers at a time in an account and region (${default})."`
	MaxViewsPerAddress int           `name:"max-views-per-address" default:"0" placeholder:"N" help:"Viewers at a time from one client address, or one IPv6 /64. 0 means a tenth of --max-views, and at least 1000."`
	MaxTakeovers       int           `name:"max-takeovers" default:"100" placeholder:"N" help:"Takeovers of one stream (${default})."`
	MaxStreamDuration  time.Duration `name:"max-stream-duration" default:"48h" help:"How long a stream may last (${default})."`
	MaxBitrate         int           `name:"max-bitrate" default:"8500000" placeholder:"BITS" help:"Maximum bit rate of a STANDARD or ADVANCED channel, in bit/s (${default})."`
	MaxBitrateBasic    int           `name:"max-bitrate-basic" default:"3500000" placeholder:"BITS" help:"The same for a BASIC channel (${default})."`
	MaxBitrateBasicSD  int           `name:"max-bitrate-basic-sd" default:"1500000" placeholder:"BITS" help:"The same for a BASIC channel with video of up to 480 lines (${default})."`
	BitrateWindow      time.Duration `name:"bitrate-window" default:"10s" help:"Time over which the bit rate is measured, up to a minute (${default})."`
	MaxPixels          int           `name:"max-pixels" default:"2100000" placeholder:"N" help:"Pixels of a video frame (${default})."`
	MaxEdge            int           `name:"max-edge" default:"1920" placeholder:"N" help:"Pixels of the frame's longer edge (${default})."`
}

// maxStreamDuration bounds --max-stream-duration. Revocations are kept for longer
// than a stream lasts.
const maxStreamDuration = 10 * 365 * 24 * time.Hour

// check rejects limits of 0 or less: 0 in live.Limits is the limit of Amazon IVS, and a
// user who sets a flag to 0 does not mean that.
func (l limitFlags) check() error {
	err := atLeastOne([]setting{
		{"max-streams", l.MaxStreams}, {"max-views", l.MaxViews}, {"max-takeovers", l.MaxTakeovers},
		{"max-bitrate", l.MaxBitrate}, {"max-bitrate-basic", l.MaxBitrateBasic}, {"max-bitrate-basic-sd", l.MaxBitrateBasicSD},
		{"max-pixels", l.MaxPixels}, {"max-edge", l.MaxEdge},
	})
	if err != nil {
		return err
	}
	if l.MaxStreamDuration < time.Second {
		return fmt.Errorf("--max-stream-duration %v: must be at least 1s", l.MaxStreamDuration)
	}
	if l.MaxStreamDuration > maxStreamDuration {
		return fmt.Errorf("--max-stream-duration %v: must be at most %v (ten years)", l.MaxStreamDuration, maxStreamDuration)
	}
	if l.BitrateWindow < time.Second || l.BitrateWindow > time.Minute {
		return fmt.Errorf("--bitrate-window %v: must be between 1s and 1m", l.BitrateWindow)
	}
	return nil
}

// A setting is a flag that is a number.
type setting struct {
	name  string
	value int
}

func atLeastOne(settings []setting) error {
	for _, s := range settings {
		if s.value < 1 {
			return fmt.Errorf("--%s %d: must be at least 1", s.name, s.value)
		}
	}
	return nil
}

func (l limitFlags) limits() live.Limits {
	return live.Limits{
		Streams: l.MaxStreams, Views: l.MaxViews, PerAddress: l.MaxViewsPerAddress, Takeovers: l.MaxTakeovers, Duration: l.MaxStreamDuration,
		BasicSDBitrate: l.MaxBitrateBasicSD, BasicHDBitrate: l.MaxBitrateBasic, Bitrate: l.MaxBitrate, BitrateWindow: l.BitrateWindow,
		Pixels: l.MaxPixels, Edge: l.MaxEdge,
	}
}
