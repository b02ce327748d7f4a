package media

import (
	"bytes"
	"strconv"
)

// x264 writes its options into each stream, in a SEI message ahead of the first
// key frame: "x264 - core 164 … open_gop=0 … keyint=60 keyint_min=6 … intra_refresh=0 …".
var (
	x264Options  = []byte("x264 - core")
	x264Interval = []byte(" keyint=")
	x264OpenGOP  = []byte(" open_gop=1 ")
	x264Refresh  = []byte(" intra_refresh=1 ")
)

// noKeyFrames stands for an interval that has no end: nine hours of 30 frames a second.
const noKeyFrames = 1e6

// x264KeyInterval is the keyint of those options, and noKeyFrames where the frames
// that it counts begin with recovery points; 0 where there are no options, or keyint is
// "infinite".
func x264KeyInterval(data []byte) int {
	_, options, _ := bytes.Cut(data, x264Options)
	options, _, _ = bytes.Cut(options[:min(len(options), 4096)], []byte{0})
	if bytes.Contains(options, x264OpenGOP) || bytes.Contains(options, x264Refresh) {
		return noKeyFrames
	}
	_, value, ok := bytes.Cut(options, x264Interval)
	end := bytes.IndexByte(value, ' ')
	if !ok || end < 0 {
		return 0
	}
	n, err := strconv.ParseUint(string(value[:min(end, 9)]), 10, 24)
	if err != nil {
		return 0
	}
	return int(n)
}
