package record

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// A queue is the state that a track's writer and its uploads share: the files on their
// way to the bucket, and how much media there is. When the spool is full, any goroutine
// may give up the newest of these files.
type queue struct {
	place

	mu      sync.Mutex
	variant variant       // guarded by mu
	open    file          // guarded by mu; the file that is being filled
	waiting []file        // guarded by mu; to be uploaded, oldest first
	taken   bool          // guarded by mu; the oldest waiting file is in the bucket, and about to be listed
	broken  bool          // guarded by mu; the newest waiting file was written off, so that the next one follows a gap
	cut     bool          // guarded by mu; the newest files were given up, so that none may follow
	written amount        // guarded by mu; media that is in the spool or in the bucket
	uploads amount        // guarded by mu; media that is in the bucket
	peak    int64         // guarded by mu; bit/s of the file with the highest bit rate in the bucket
	lost    time.Duration // guarded by mu; media that was live, and is in neither the spool nor the bucket
}

// An amount is how much media there is.
type amount struct {
	duration time.Duration
	bytes    int64
}

func (a *amount) add(d time.Duration, bytes int64) {
	a.duration += d
	a.bytes += bytes
}

// describe sets the attributes of the track, except its name, and reports whether they
// have changed.
func (q *queue) describe(v variant) (described variant, changed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	v.Name = q.variant.Name
	changed = v != q.variant
	q.variant = v
	return v, changed
}

// fill adds a segment to the file that is being filled.
func (q *queue) fill(line segmentLine) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.open.add(line, q.fmp4)
	q.written.add(line.Duration, line.Size)
}

// filling returns the file that is being filled; it has no size between two files.
func (q *queue) filling() file {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.open
}

// filled removes and returns the file that was being filled.
func (q *queue) filled() file {
	q.mu.Lock()
	defer q.mu.Unlock()
	f := q.open
	q.open = file{}
	return f
}

// add has a file wait to be uploaded, or drops it where older ones were given up.
func (q *queue) add(f file) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.cut {
		return q.drop(f)
	}
	f.discontinuity = f.discontinuity || q.broken && !f.gap
	q.broken = false
	q.waiting = append(q.waiting, f)
	return nil
}

// first returns the oldest file that waits to be uploaded.
func (q *queue) first() (file, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		return file{}, false
	}
	return q.waiting[0], true
}

// take reports whether the file that first has returned, which the bucket has now, is
// still there. Then it is not given up any more.
func (q *queue) take(f file) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.taken = len(q.waiting) > 0 && q.waiting[0].number == f.number
	return q.taken
}

// uploaded removes the file that was taken.
func (q *queue) uploaded() {
	q.mu.Lock()
	defer q.mu.Unlock()
	f := q.waiting[0]
	q.waiting, q.taken = q.waiting[1:], false
	q.count(f)
}

// bytes returns how many bytes of waiting media giveUp can free.
func (q *queue) bytes() (n int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, f := range q.givable() {
		n += f.size
	}
	return n
}

// givable returns the files that giveUp may delete; none if all of them are gaps, which
// free nothing. mu is held.
func (q *queue) givable() []file {
	files := q.waiting
	if q.taken {
		files = files[1:]
	}
	if !slices.ContainsFunc(files, func(f file) bool { return !f.gap }) {
		return nil
	}
	return files
}

// count adds a file to what the bucket has. mu is held.
func (q *queue) count(f file) {
	if f.gap {
		return
	}
	q.uploads.add(f.duration, f.size)
	if f.duration > 0 {
		q.peak = max(q.peak, int64(float64(f.size)*8/f.duration.Seconds()))
	}
}

// giveUp deletes the newest file that waits, which may be on its way to the bucket, and
// returns how many bytes that has freed. More is false if there is no such file.
func (q *queue) giveUp() (freed int64, more bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	last := len(q.waiting) - 1
	if len(q.givable()) == 0 {
		return 0, false, nil
	}
	f := q.waiting[last]
	b, err := json.Marshal(journalLine{GivenUp: &f.number})
	if err == nil {
		err = q.appendJournal(append(b, '\n'))
	}
	if err != nil {
		return 0, false, err
	}
	q.waiting, q.cut = q.waiting[:last], true
	return f.size, true, q.drop(f)
}

// writeOff replaces the file that first has returned by a gap, because it cannot be read
// from the spool any more: the files after it must not wait for ever. A file that was
// given up meanwhile is left out.
func (q *queue) writeOff(f file) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 || q.waiting[0].number != f.number {
		return nil
	}
	b, err := json.Marshal(journalLine{Short: &shortLine{File: f.number}})
	if err == nil {
		err = q.appendJournal(append(b, '\n'))
	}
	if err != nil {
		return err
	}
	q.removed(f)
	q.share.give(f.size)
	q.waiting[0] = file{number: f.number, duration: f.duration, date: f.date, gap: true, lost: true, fmp4: f.fmp4, init: f.init}
	if len(q.waiting) == 1 {
		q.broken = true
	} else if next := &q.waiting[1]; !next.gap {
		next.discontinuity = true
	}
	if err := os.Remove(q.path(f.number)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// appendJournal writes a line into the journal, which the writer may have open at the
// same time.
func (q *queue) appendJournal(line []byte) error {
	f, err := os.OpenFile(filepath.Join(q.folder, journalName), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(line)
	return errors.Join(err, f.Close())
}

// newest returns the beginning of the file that giveUp would delete; zero if there is
// none.
func (q *queue) newest() time.Time {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.givable()) == 0 {
		return time.Time{}
	}
	return q.waiting[len(q.waiting)-1].date
}

// drop deletes a file that does not get into the bucket. mu is held.
func (q *queue) drop(f file) error {
	if f.gap {
		return nil
	}
	q.removed(f)
	q.share.give(f.size)
	return os.Remove(q.path(f.number))
}

// removed counts a file that was written as lost instead. mu is held.
func (q *queue) removed(f file) {
	q.written.add(-f.duration, -f.size)
	q.loseLocked(f.duration)
}

// lose counts media that was live and gets into no bucket.
func (q *queue) lose(d time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.loseLocked(d)
}

func (q *queue) loseLocked(d time.Duration) {
	q.lost += d
	q.share.spool.lost.Add(int64(d))
}

// listed returns the track as a multivariant playlist of the bucket shows it.
func (q *queue) listed() variant {
	q.mu.Lock()
	defer q.mu.Unlock()
	v := q.variant
	v.peak = q.peak
	if q.uploads.duration > 0 {
		v.average = int64(float64(q.uploads.bytes) * 8 / q.uploads.duration.Seconds())
	}
	return v
}

// totals returns how much media is in the bucket and in the spool together, how much of
// it is in the bucket, and how much more was live.
func (q *queue) totals() (written, uploaded amount, lost time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.written, q.uploads, q.lost
}

// discard frees the space of the waiting files.
func (q *queue) discard() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, f := range q.waiting {
		if !f.gap {
			q.removed(f)
		}
		q.share.give(f.size)
	}
	q.waiting = nil
}
