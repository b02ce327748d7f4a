// Package scte35 writes the cues of ad breaks: splice_info_section with a
// splice_insert (SCTE 35, 9.6 and 9.7.3).
package scte35

import (
	"encoding/binary"
	"time"

	"github.com/millrace/millrace/internal/media"
)

// A Break is a part of a broadcast that ads may replace.
type Break struct {
	ID       string        // unique in the broadcast; the number of the event is made of it
	PTS      time.Duration // where it begins
	Duration time.Duration
}

// Out returns the section that leaves the programme, for the duration of b.
func (b Break) Out() []byte { return b.section(true, b.PTS) }

// In returns the section that returns to the programme, at the end of b.
func (b Break) In() []byte { return b.section(false, b.PTS+b.Duration) }

func (b Break) section(out bool, pts time.Duration) []byte {
	flags := byte(0x4f) // of a whole programme, not immediate
	if out {
		flags |= 0x80 | 0x20 // out of network; a duration follows
	}
	command := binary.BigEndian.AppendUint32(nil, media.CRC32([]byte(b.ID)))
	command = append(command, 0x7f, flags)
	command = append33(command, pts)
	if out {
		command = append33(command, b.Duration) // ends by itself
	}
	command = append(command, 0, 1, 0, 0) // programme 1, no avails

	const fixed = 11 // bytes from protocol_version to splice_command_type
	section := []byte{0xfc, 0x30, byte(fixed + len(command) + 2 + 4), 0, 0, 0, 0, 0, 0, 0, 0xff, 0xf0, byte(len(command)), 0x05}
	section = append(section, command...)
	section = append(section, 0, 0) // no descriptors
	return binary.BigEndian.AppendUint32(section, media.CRC32(section))
}

// append33 writes seven bits that are set and 33 bits of a 90 kHz clock.
func append33(dst []byte, d time.Duration) []byte {
	v := uint64(d) * 9 / 100_000 & (1<<33 - 1)
	return binary.BigEndian.AppendUint32(append(dst, 0xfe|byte(v>>32)), uint32(v))
}
