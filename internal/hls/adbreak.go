package hls

import (
	"encoding/hex"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/scte35"
)

// An adBreak is a stretch of the broadcast that ads may replace.
type adBreak struct {
	id     string
	pts    time.Duration // where it begins
	date   time.Time     // the same as a program date
	length time.Duration
}

func (b adBreak) over(edge time.Duration) bool { return edge >= b.pts+b.length }

// AddAdBreak puts the cue of an ad break of that length at the live edge of every
// rendition, under an id that is unique in the Stream. It returns the program date at
// which the break begins, or ErrBreakRunning.
func (s *Stream) AddAdBreak(id string, length time.Duration) (start time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.cues
	if n := len(c.breaks); n > 0 && !c.breaks[n-1].over(c.edge) {
		return time.Time{}, ErrBreakRunning
	}
	c.breaks = append(c.breaks, adBreak{id, c.edge, c.edgeDate, length})
	c.changes++
	return c.edgeDate, nil
}

// An AdBreak is a cue that AddAdBreak has put into a Stream.
type AdBreak struct {
	ID     string
	PTS    time.Duration // where it begins
	Date   time.Time     // the same as a program date
	Length time.Duration
}

// SetAdBreaks makes playlists show the cues of another Stream, of which this one is a
// copy.
func (s *Stream) SetAdBreaks(list []AdBreak) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cues.breaks = nil
	for _, b := range list {
		s.cues.breaks = append(s.cues.breaks, adBreak{b.ID, b.PTS, b.Date, b.Length})
	}
	s.cues.changes++
}

func (c *cues) adBreaks() (list []AdBreak) {
	for _, b := range c.breaks {
		list = append(list, AdBreak{b.id, b.pts, b.date, b.length})
	}
	return list
}

// forgetBreaks drops those that ended before the oldest media that is listed,
// which is from the given date on.
func (c *cues) forgetBreaks(oldest time.Time) {
	for len(c.breaks) > 0 && c.breaks[0].over(c.edge) && c.breaks[0].date.Add(c.breaks[0].length).Before(oldest) {
		c.breaks = c.breaks[1:]
	}
}

// render writes the date ranges of the breaks (RFC 8216, 4.3.2.7.1): the exit from the
// programme and, when it is due, the return. They are in playlist delta updates too.
func (c *cues) render(dst []byte) []byte {
	for _, b := range c.breaks {
		dst = b.render(dst, "PLANNED-DURATION", "SCTE35-OUT", true)
		if b.over(c.edge) {
			dst = b.render(dst, "DURATION", "SCTE35-IN", false)
		}
	}
	return dst
}

// within writes the date ranges of breaks that begin or end in [from, to).
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
	dst = append(dst, strings.ToUpper(hex.EncodeToString(b.section(out)))...)
	return append(dst, '\n')
}

func (b adBreak) section(out bool) []byte {
	section := scte35.Break{ID: b.id, PTS: b.pts, Duration: b.length}
	if out {
		return section.Out()
	}
	return section.In()
}
