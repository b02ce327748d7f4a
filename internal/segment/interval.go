package segment

import (
	"bytes"
	"strconv"
	"time"
)

// x264 writes its options into each stream, in a SEI message ahead of the first
// key frame: "x264 - core 164 … keyint=60 keyint_min=6 …".
var (
	x264Options = []byte("x264 - core")
	keyInterval = []byte(" keyint=")
)

// announcedInterval is how far apart the key frames of an encoder are at most,
// as it says in the data of one; 0 where it does not. frame is how long a frame
// lasts.
func announcedInterval(data []byte, frame time.Duration) time.Duration {
	_, options, _ := bytes.Cut(data, x264Options)
	_, value, ok := bytes.Cut(options, keyInterval)
	end := bytes.IndexByte(value, ' ')
	if !ok || end < 0 {
		return 0
	}
	n, err := strconv.ParseUint(string(value[:min(end, 9)]), 10, 24)
	if err != nil {
		return 0 // "infinite"
	}
	return time.Duration(n) * frame
}
