package record

import "time"

// streams are those that a recording is made of, one after the other.
type streams struct {
	attached string    // id of the one that is recorded; "" between two
	source   *source   // that one, once it is read
	until    time.Time // when the wait for another one ends
	last     dates     // of the last one
	ended    []span    // those that have ended, and had media
	closed   bool      // no other may be attached any more
}

// dates are the program dates between which a stream has media. One without any ends
// where the stream before it did.
type dates struct {
	begin time.Time // zero before the first segment
	end   time.Time // where ended
	ended bool
}

// attach begins the stream with that id.
func (s *streams) attach(id string) { s.attached, s.last = id, dates{end: s.last.end} }

// end ends the media of the attached stream; date is zero if it had none.
func (s *streams) end(date time.Time) {
	s.last.ended = true
	if date.After(s.last.begin) {
		s.last.end = date
		s.ended = append(s.ended, span{s.last.begin, date})
	}
}

// detach ends the stream. Another one may follow until then.
func (s *streams) detach(until time.Time) { s.attached, s.source, s.until = "", nil, until }

// restore sets what the spool has of those before a restart.
func (s *streams) restore(ended []span) {
	s.ended, s.last.ended = ended, true
	if n := len(ended); n > 0 {
		s.last.end = ended[n-1].end
	}
}

// waiting reports whether another stream may be attached now.
func (s *streams) waiting(now time.Time) bool {
	return s.attached == "" && !s.closed && now.Before(s.until)
}
