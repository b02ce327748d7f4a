package record

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"time"
)

// A journalLine is one line of a journal; one member is set.
type journalLine struct {
	Variant *variant     `json:"variant,omitempty"` // what the track is; the last one counts
	Init    *int64       `json:"init,omitempty"`    // an init segment was written
	Segment *segmentLine `json:"segment,omitempty"`
	Short   *shortLine   `json:"short,omitempty"`
	GivenUp *int64       `json:"givenUp,omitempty"` // the files from this number on
	Next    *int64       `json:"next,omitempty"`    // number of the next file at least
}

// A shortLine says that of a file's segments the first ones are left: a crash of
// the machine has lost the others.
type shortLine struct {
	File     int64 `json:"file"`
	Segments int   `json:"segments"`
}

// A segmentLine adds a segment to a file, or, with Gap, is a time without media.
type segmentLine struct {
	File          int64         `json:"file"`
	Size          int64         `json:"size,omitempty"`
	Duration      time.Duration `json:"duration"`
	Date          time.Time     `json:"date"`
	Discontinuity bool          `json:"discontinuity,omitempty"`
	Gap           bool          `json:"gap,omitempty"`
	Lost          bool          `json:"lost,omitempty"`  // a gap where there was media
	Begin         bool          `json:"begin,omitempty"` // the first of a stream
	Init          int64         `json:"init"`            // -1 where there is none
	Tags          string        `json:"tags,omitempty"`
	Cuts          []cut         `json:"cuts,omitempty"` // offsets count from the start of the segment
}

const journalName = "journal"

// add makes a segment part of the file.
func (f *file) add(l segmentLine, fmp4 bool) {
	if f.size == 0 {
		*f = file{number: l.File, date: l.Date, discontinuity: l.Discontinuity, gap: l.Gap, fmp4: fmp4, init: l.Init}
	}
	for _, c := range l.Cuts {
		c.Offset += f.size
		f.cuts = append(f.cuts, c)
	}
	f.tags += l.Tags
	f.size += l.Size
	f.duration += l.Duration
}

// openTrack reads what a process that is gone has left of a track. Media behind
// what the journal knows is cut off, media that the journal knows and the disk has
// lost becomes a gap, and what the bucket lacks waits to be uploaded. short is how much
// media the disk has lost that it still had the last time.
func openTrack(folder string, fmp4 bool, s *share) (t *track, short time.Duration, err error) {
	t = newTrack(folder, fmp4, s)
	w, q, u := t.writer, t.queue, t.uploads
	all, next, err := t.readJournal()
	if err != nil {
		return nil, 0, err
	}
	plain, ranges := []byte(playlistHead(fmp4, false)), []byte(playlistHead(fmp4, true))
	for i := range all {
		known := all[i].lost()
		pending, err := t.recoverFile(&all[i])
		if err != nil {
			return nil, 0, err
		}
		short += all[i].lost() - known
		for _, f := range all[i].files(fmp4, i > 0 && all[i-1].short()) {
			w.next, w.end = f.number+1, f.date.Add(f.duration)
			if !f.gap {
				q.written.add(f.duration, f.size)
			}
			if pending || len(q.waiting) > 0 {
				q.waiting = append(q.waiting, f)
				continue
			}
			newInit := f.init != u.init
			plain, ranges = appendFile(plain, f, newInit), appendCuts(ranges, f, newInit)
			q.count(f)
			u.count(f)
			u.inits = max(u.inits, f.init+1)
		}
		q.lost += all[i].lost()
		t.addSpans(all[i].segments)
	}
	w.begun = len(t.spans)
	w.next = max(w.next, next)
	q.variant.Name = t.name() // a kill may have come before the journal's first line
	if err := t.removeUnknown(); err != nil {
		return nil, 0, err
	}
	if w.inits > 0 {
		if w.init, err = os.ReadFile(filepath.Join(folder, initName(w.inits-1))); err != nil {
			return nil, 0, err
		}
	}
	return t, short, errors.Join(
		os.WriteFile(filepath.Join(folder, playlistName), plain, 0o644),
		os.WriteFile(filepath.Join(folder, byteRangePlaylistName), ranges, 0o644))
}

// addSpans notes between which dates each stream has media or gaps in the journal.
func (t *track) addSpans(lines []segmentLine) {
	for _, l := range lines {
		if l.Begin || len(t.spans) == 0 {
			t.spans = append(t.spans, span{begin: l.Date})
		}
		t.spans[len(t.spans)-1].end = l.Date.Add(l.Duration)
	}
}

// A journaled is one file as the journal describes it.
type journaled struct {
	segments []segmentLine // at least one
	whole    int           // so many of them are left
}

func (j *journaled) number() int64 { return j.segments[0].File }

func (j *journaled) short() bool { return j.whole < len(j.segments) }

// files are the file, and a gap in the place of what it has lost. interrupted says
// that what was before it is lost.
func (j *journaled) files(fmp4, interrupted bool) (all []file) {
	if j.whole > 0 {
		var f file
		for _, l := range j.segments[:j.whole] {
			f.add(l, fmp4)
		}
		f.discontinuity = f.discontinuity || interrupted && !f.gap
		all = append(all, f)
	}
	if j.short() {
		first := j.segments[j.whole]
		gap := file{number: first.File, date: first.Date, gap: true, lost: true, fmp4: fmp4, init: first.Init}
		for _, l := range j.segments[j.whole:] {
			gap.duration += l.Duration
		}
		all = append(all, gap)
	}
	return all
}

// lost is how much media there was that is nowhere now.
func (j *journaled) lost() (d time.Duration) {
	for i, l := range j.segments {
		if l.Lost || i >= j.whole {
			d += l.Duration
		}
	}
	return d
}

// recoverFile reports whether a file waits to be uploaded, with the segments that
// it has left.
func (t *track) recoverFile(j *journaled) (pending bool, err error) {
	info, err := os.Stat(t.path(j.number()))
	if errors.Is(err, fs.ErrNotExist) || err == nil && j.segments[0].Gap {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	size, whole := int64(0), 0
	for _, l := range j.segments[:j.whole] {
		if size+l.Size > info.Size() {
			break
		}
		size += l.Size
		whole++
	}
	if whole < j.whole {
		j.whole = whole
		if err := t.writer.note(journalLine{Short: &shortLine{j.number(), whole}}); err != nil {
			return false, err
		}
	}
	if whole == 0 {
		return true, os.Remove(t.path(j.number())) // the gap waits to be listed
	}
	if info.Size() > size {
		if err := os.Truncate(t.path(j.number()), size); err != nil {
			return false, err
		}
	}
	t.share.hold(size)
	return true, nil
}

// removeUnknown removes the media file for which the journal has no line.
func (t *track) removeUnknown() error {
	err := os.Remove(t.path(t.writer.next))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// maxLine bounds a line of a journal. There is none that is longer, but what a
// crash of the machine has left may be anything.
const maxLine = 1 << 20

// readJournal returns what the journal says of each file, oldest first, and the
// lowest number that the next one may have.
func (t *track) readJournal() (all []journaled, next int64, err error) {
	name := filepath.Join(t.folder, journalName)
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, maxLine)
	whole, givenUp := int64(0), int64(math.MaxInt64)
	for lines.Scan() {
		var l journalLine
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			break // the last line, cut off
		}
		whole += int64(len(lines.Bytes())) + 1
		switch {
		case l.GivenUp != nil:
			givenUp = min(givenUp, *l.GivenUp)
		case l.Next != nil:
			next = *l.Next
		default:
			all = t.replay(all, l)
		}
	}
	if err := lines.Err(); err != nil && !errors.Is(err, bufio.ErrTooLong) {
		return nil, 0, fmt.Errorf("%s: %w", name, err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	if info.Size() < whole { // the last line lacks its end
		if _, err := f.WriteAt([]byte("\n"), info.Size()); err != nil {
			return nil, 0, err
		}
	}
	all, err = t.removeGivenUp(all, givenUp)
	return all, next, errors.Join(err, f.Truncate(whole))
}

// replay applies a line of the journal.
func (t *track) replay(all []journaled, l journalLine) []journaled {
	switch {
	case l.Variant != nil:
		t.queue.variant = *l.Variant
	case l.Init != nil:
		t.writer.inits = *l.Init + 1
	case l.Segment != nil:
		if n := len(all); n == 0 || all[n-1].number() != l.Segment.File {
			all = append(all, journaled{})
		}
		j := &all[len(all)-1]
		j.segments = append(j.segments, *l.Segment)
		j.whole++
	case l.Short != nil:
		for i := range all {
			if all[i].number() == l.Short.File {
				all[i].whole = min(all[i].whole, l.Short.Segments)
			}
		}
	}
	return all
}

// removeGivenUp removes the files that were given up: those from a number on.
func (t *track) removeGivenUp(all []journaled, number int64) (kept []journaled, err error) {
	t.queue.cut = number < math.MaxInt64
	for _, j := range all {
		if j.number() < number {
			kept = append(kept, j)
			continue
		}
		if err := os.Remove(t.path(j.number())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, l := range j.segments {
			if !l.Gap {
				t.queue.lost += l.Duration
			}
		}
	}
	return kept, nil
}
