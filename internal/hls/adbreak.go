package hls

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/mpegts"
)

// An adBreak is a stretch of the broadcast that ads may replace.
type adBreak struct {
	id     string
	pts    time.Duration // where it begins
	date   time.Time     // the same as a program date
	length time.Duration
}

func (b adBreak) over(edge time.Duration) bool { return edge >= b.pts+b.length }

// AddAdBreak puts the cue of a break of so long at the live edge of every
// rendition, under an id that is unique in the Stream. It returns the program
// date at which the break begins, or ErrBreakRunning.
func (s *Stream) AddAdBreak(id string, length time.Duration) (start time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.cues
	if n := len(c.breaks); n > 0 && !c.breaks[n-1].over(c.edge) {
		return time.Time{}, ErrBreakRunning
	}
	c.breaks = append(c.breaks, adBreak{id, c.edge, c.edgeDate, length})
	return c.edgeDate, nil
}

// forgetBreaks drops those that ended before the oldest media that is listed,
// which is from the given date on.
func (c *cues) forgetBreaks(oldest time.Time) {
	for len(c.breaks) > 0 && c.breaks[0].over(c.edge) && c.breaks[0].date.Add(c.breaks[0].length).Before(oldest) {
		c.breaks = c.breaks[1:]
	}
}

// render writes the date ranges of the breaks (RFC 8216, 4.3.2.7.1): the way
// out of the programme and, when that is due, the way back. They are in
// playlist delta updates too.
func (c *cues) render(dst []byte) []byte {
	for _, b := range c.breaks {
		dst = b.render(dst, "PLANNED-DURATION", "SCTE35-OUT", true)
		if b.over(c.edge) {
			dst = b.render(dst, "DURATION", "SCTE35-IN", false)
		}
	}
	return dst
}

// within writes the date ranges of what begins and ends in [from, to).
func (c *cues) within(from, to time.Time) (dst []byte) {
	in := func(at time.Time) bool { return !at.Before(from) && at.Before(to) }
	for _, b := range c.breaks {
		if in(b.date) {
			dst = b.render(dst, "PLANNED-DURATION", "SCTE35-OUT", true)
		}
		if in(b.date.Add(b.length)) {
			dst = b.render(dst, "DURATION", "SCTE35-IN", false)
		}
	}
	return dst
}

func (b adBreak) render(dst []byte, duration, cue string, out bool) []byte {
	dst = append(dst, "#EXT-X-DATERANGE:ID=\""...)
	dst = append(append(dst, b.id...), "\",START-DATE=\""...)
	dst = b.date.AppendFormat(dst, "2006-01-02T15:04:05.000Z")
	dst = append(append(append(dst, "\","...), duration...), '=')
	dst = appendSeconds(dst, b.length)
	dst = append(append(append(dst, ','), cue...), "=0x"...)
	dst = append(dst, strings.ToUpper(hex.EncodeToString(b.splice(out)))...)
	return append(dst, '\n')
}

// splice is a splice_info_section with a splice_insert (SCTE 35, 9.6 and
// 9.7.3), out of the programme or back into it.
func (b adBreak) splice(out bool) []byte {
	pts, flags := b.pts, byte(0x4f) // of a whole programme, not immediate
	if out {
		flags |= 0x80 | 0x20 // out of network; a duration follows
	} else {
		pts += b.length
	}
	command := binary.BigEndian.AppendUint32(nil, mpegts.CRC32([]byte(b.id))) // the event's number
	command = append(command, 0x7f, flags)
	command = append33(command, pts)
	if out {
		command = append33(command, b.length) // ends by itself
	}
	command = append(command, 0, 1, 0, 0) // programme 1, no avails

	const fixed = 11 // bytes from protocol_version to splice_command_type
	section := []byte{0xfc, 0x30, byte(fixed + len(command) + 2 + 4), 0, 0, 0, 0, 0, 0, 0, 0xff, 0xf0, byte(len(command)), 0x05}
	section = append(section, command...)
	section = append(section, 0, 0) // no descriptors
	return binary.BigEndian.AppendUint32(section, mpegts.CRC32(section))
}

// append33 writes seven bits that are set and 33 bits of a 90 kHz clock.
func append33(dst []byte, d time.Duration) []byte {
	v := uint64(d) * 9 / 100_000 & (1<<33 - 1)
	return binary.BigEndian.AppendUint32(append(dst, 0xfe|byte(v>>32)), uint32(v))
}
