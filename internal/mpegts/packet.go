package mpegts

import (
	"encoding/binary"

	"github.com/millrace/millrace/internal/media"
)

// adaptation is the adaptation field of the first transport packet of a PES packet (ISO
// 13818-1, 2.4.3.4).
type adaptation struct {
	hasPCR       bool
	pcr          int64 // ticks of 90 kHz
	randomAccess bool
}

// appendPES cuts m.pes into transport packets. The last one is filled up with
// stuffing in its adaptation field.
func (m *Muxer) appendPES(dst []byte, pid uint16, counter *byte, a adaptation) []byte {
	rest, start := m.pes, byte(0x40) // payload_unit_start_indicator
	for len(rest) > 0 {
		field := 0 // bytes of the adaptation field, its length byte included
		if start != 0 {
			field = a.size()
		}
		n := min(len(rest), packetSize-4-field)
		stuffing := packetSize - 4 - field - n
		control := byte(0x10) // payload only
		if field+stuffing > 0 {
			control = 0x30 // adaptation field and payload
		}
		dst = append(dst, 0x47, start|byte(pid>>8), byte(pid), control|*counter)
		dst = a.append(dst, field, stuffing)
		dst = append(dst, rest[:n]...)
		*counter = (*counter + 1) & 0x0f
		rest, start = rest[n:], 0
	}
	return dst
}

// size is 0 when there is nothing to say.
func (a adaptation) size() int {
	switch {
	case a.hasPCR:
		return 8
	case a.randomAccess:
		return 2
	}
	return 0
}

// append writes a field of the given size and stuffing bytes after it. A field
// without content that must fill one byte is a length of zero.
func (a adaptation) append(dst []byte, field, stuffing int) []byte {
	total := field + stuffing
	if total == 0 {
		return dst
	}
	dst = append(dst, byte(total-1))
	if total == 1 {
		return dst
	}
	used := 2
	var flags byte
	if field > 0 && a.randomAccess {
		flags |= 0x40
	}
	if field > 2 {
		flags |= 0x10
	}
	dst = append(dst, flags)
	if field > 2 {
		base := uint64(a.pcr) & clockMask
		dst = append(dst, byte(base>>25), byte(base>>17), byte(base>>9), byte(base>>1), byte(base<<7)|0x7e, 0)
		used = 8
	}
	for range total - used {
		dst = append(dst, 0xff)
	}
	return dst
}

// appendPESHeader begins a PES packet (ISO 13818-1, 2.4.3.6). Its length is
// left 0, "until the next one begins", which only video may keep.
func appendPESHeader(dst []byte, streamID byte, pts, dts int64) []byte {
	dst = append(dst, 0, 0, 1, streamID, 0, 0)
	if pts == dts {
		dst = append(dst, 0x84, 0x80, 5)
		return appendTime(dst, 0x20, pts)
	}
	dst = append(dst, 0x84, 0xc0, 10)
	dst = appendTime(dst, 0x30, pts)
	return appendTime(dst, 0x10, dts)
}

// appendTime writes 33 bits with a marker bit after the 3rd, 18th and 33rd.
func appendTime(dst []byte, prefix byte, t int64) []byte {
	v := uint64(t) & clockMask
	return append(dst, prefix|byte(v>>29)&0x0e|1, byte(v>>22), byte(v>>14)|1, byte(v>>7), byte(v<<1)|1)
}

// appendTables writes the programme association and map tables, a packet each.
func (m *Muxer) appendTables(dst []byte) []byte {
	var b [96]byte
	pat := append(b[:0], 0, 1, 0xe0|pidPMT>>8, pidPMT&0xff) // programme 1 is mapped by pidPMT
	dst = appendSection(dst, pidPAT, &m.counter[0], 0x00, 0, pat)

	pcr := uint16(pidVideo)
	if m.Video == nil {
		pcr = pidAudio
	}
	version := byte(0)
	pmt := append(b[:0], 0xe0|byte(pcr>>8), byte(pcr), 0xf0, 0) // no programme descriptors
	if m.metadata {
		version = 1
		pmt = append(pmt[:2], 0xf0, byte(len(metadataPointer)))
		pmt = append(pmt, metadataPointer...)
	}
	if m.Video != nil {
		pmt = append(pmt, m.Video.Codec.StreamType(), 0xe0|pidVideo>>8, pidVideo&0xff, 0xf0, 0)
	}
	if m.Audio != nil {
		pmt = append(pmt, m.Audio.Codec.StreamType(), 0xe0|pidAudio>>8, pidAudio&0xff, 0xf0, 0)
	}
	if m.metadata {
		pmt = append(pmt, typeMetadata, 0xe0|pidMetadata>>8, pidMetadata&0xff, 0xf0, byte(len(metadataDescriptor)))
		pmt = append(pmt, metadataDescriptor...)
	}
	return appendSection(dst, pidPMT, &m.counter[1], 0x02, version, pmt)
}

// appendSection writes a table section that fits one packet (ISO 13818-1,
// 2.4.4): table id, 1 as the id of stream or programme, version.
func appendSection(dst []byte, pid uint16, counter *byte, table, version byte, body []byte) []byte {
	end := len(dst) + packetSize
	dst = append(dst, 0x47, 0x40|byte(pid>>8), byte(pid), 0x10|*counter, 0)
	*counter = (*counter + 1) & 0x0f
	section := len(dst)
	dst = append(dst, table, 0xb0, byte(5+len(body)+4), 0, 1, 0xc1|version<<1, 0, 0)
	dst = append(dst, body...)
	dst = binary.BigEndian.AppendUint32(dst, media.CRC32(dst[section:]))
	for len(dst) < end {
		dst = append(dst, 0xff)
	}
	return dst
}
