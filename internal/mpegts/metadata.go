package mpegts

import (
	"encoding/binary"
	"time"
)

// What a programme map says of a stream of ID3 tags (Apple, "Timed Metadata for
// HTTP Live Streaming", 2.3): the descriptors of ISO 13818-1, 2.6.58 and
// 2.6.60, whose application format and format are both "ID3 ".
const (
	metadataPointer    = "\x25\x0f\xff\xffID3 \xffID3 \x00\x1f\x00\x01" // of programme 1
	metadataDescriptor = "\x26\x0d\xff\xffID3 \xffID3 \x00\x0f"
)

// AppendMetadata adds an ID3 tag of at most 64 KB to be shown at pts. From its part on,
// the programme has a metadata stream. The tag's number is not used in a transport
// stream.
func (m *Muxer) AppendMetadata(dst []byte, pts time.Duration, _ uint32, id3 []byte) []byte {
	dst = m.open(dst)
	m.metadata = true
	at := ticks(pts)
	m.pes = appendPESHeader(m.pes[:0], 0xbd, at, at) // private_stream_1
	m.pes = append(m.pes, id3...)
	binary.BigEndian.PutUint16(m.pes[4:], uint16(len(m.pes)-6))
	return m.appendPES(dst, pidMetadata, &m.counter[4], adaptation{})
}
