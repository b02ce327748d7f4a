package segment

import (
	"errors"
	"sync"
	"time"
)

// maxMarks is how many cuts of a Leader are remembered: at least 40 s of parts.
const maxMarks = 256

// ErrBehind is the error of a Follower for frames so old that the Leader's cuts are no
// longer known. The Follower must be removed.
var ErrBehind = errors.New("segment: rendition is too far behind the one that it follows")

// A mark is where a Leader has cut. Followers cut there and nowhere else.
type mark struct {
	kind markKind
	at   time.Duration // PTS
	msn  int64         // of the segment that begins here
	date time.Time     // EXT-X-PROGRAM-DATE-TIME of that segment
}

type markKind uint8

const (
	markPart    markKind = iota // a part ends
	markSegment                 // a segment ends and the next one begins
	markBegin                   // a segment begins behind a discontinuity, or is the first one
)

// marks are the marks of a Leader that Followers may still need.
type marks struct {
	mu         sync.Mutex
	list       []mark        // guarded by mu
	gone       int64         // guarded by mu; how many were forgotten
	partTarget time.Duration // guarded by mu; of the Leader
}

func (m *marks) add(k mark, partTarget time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.list) == maxMarks {
		m.list = m.list[:copy(m.list, m.list[maxMarks/2:])]
		m.gone += maxMarks / 2
	}
	m.list = append(m.list, k)
	m.partTarget = partTarget
}

// oldest is the number of the oldest mark that is remembered.
func (m *marks) oldest() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.gone
}

// get returns the mark of a number, counted from zero, if it is made already.
func (m *marks) get(number int64) (k mark, partTarget time.Duration, ok bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := number - m.gone
	switch {
	case i < 0:
		return mark{}, 0, false, ErrBehind
	case i == int64(len(m.list)):
		return mark{}, 0, false, nil
	}
	return m.list[i], m.partTarget, true, nil
}
