package logs

import (
	"bytes"
	"regexp"
)

// What may be a stream key or a playback token, wherever in a line somebody has
// put it: into an address, a path, an error of a library.
var (
	streamKey     = regexp.MustCompile(`(^|[^a-z]|%2f)sk_[0-9A-Za-z-]+_[0-9A-Za-z_-]+`)
	playbackToken = regexp.MustCompile(`eyJ[0-9A-Za-z_-]+\.[0-9A-Za-z_-]+(\.[0-9A-Za-z_-]*)?`)
)

// masked is line without secrets. The result may be line itself.
func masked(line []byte) []byte {
	if bytes.Contains(line, []byte("sk_")) {
		line = streamKey.ReplaceAll(line, []byte("${1}sk_…"))
	}
	if bytes.Contains(line, []byte("eyJ")) {
		line = playbackToken.ReplaceAll(line, []byte("eyJ…"))
	}
	return line
}
