package fmp4

import (
	"encoding/binary"
	"time"
)

// id3Scheme marks an event whose message is an ID3 tag (AOM, "Carriage of ID3
// Timed Metadata in the Common Media Application Format", section 2).
const id3Scheme = "https://aomedia.org/emsg/ID3"

// AppendMetadata collects an ID3 tag to be shown at pts, and returns dst unchanged. It
// becomes an event message box, version 1 (ISO 23009-1, 5.10.3.3), in front of the
// fragment. Tags with different numbers are different events.
func (m *Muxer) AppendMetadata(dst []byte, pts time.Duration, number uint32, id3 []byte) []byte {
	b, emsg := beginFull(m.events, "emsg", 1, 0)
	b = u32(b, videoTimescale)
	b = binary.BigEndian.AppendUint64(b, uint64(max(ticks(pts, videoTimescale), 0)))
	b = u32(b, 0, number) // no duration: the tag speaks of a moment
	b = append(b, id3Scheme+"\x00"+"\x00"...)
	m.events = end(append(b, id3...), emsg)
	return dst
}
