package media

import (
	"bytes"
	"strconv"
)

// x264 writes its options into each stream, in a SEI message ahead of the first
// key frame: "x264 - core 164 … keyint=60 keyint_min=6 …".
var (
	x264Options  = []byte("x264 - core")
	x264Interval = []byte(" keyint=")
)

// x264KeyInterval is the keyint of those options; 0 where there are none, or it is
// "infinite".
func x264KeyInterval(data []byte) int {
	_, options, _ := bytes.Cut(data, x264Options)
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
