package record

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/hls"
)

// A track is one rendition of a recording in the spool: a folder with a journal,
// the files that are not in the bucket yet, and the playlists as far as the
// bucket has what they name.
//
// The journal says what each file is made of, a line for each segment, written
// behind the segment's media. A kill at any moment loses at most the line that
// was being written. A file that the journal knows and that is not in the spool
// is in the bucket, but for those that the journal says are given up.
type track struct {
	folder string
	fmp4   bool
	share  *share // of the spool

	writing sync.Mutex // held by who writes segments, for as long as it does

	// Guarded by writing.
	journal    *os.File
	media      *os.File // the file that is being filled; nil between two
	next       int64    // number of the file that comes next, or is being filled
	init       []byte   // of the last init segment
	inits      int64    // how many there are
	lastLength time.Duration
	stream     string    // id of the one whose segments come
	end        time.Time // of its last segment
	missed     bool      // segments after that one were gone before they were read

	mu         sync.Mutex
	variant    variant       // guarded by mu
	filling    file          // guarded by mu; what media holds
	closed     []file        // guarded by mu; that wait to be uploaded, oldest first
	total      time.Duration // guarded by mu; of all media that is in the spool or in the bucket
	bytesTotal int64         // guarded by mu; the same in bytes
	lost       time.Duration // guarded by mu; of media that was live, and is in neither
	cut        bool          // guarded by mu; the newest files were given up, so that none may follow

	uploads uploads // guarded by mu where the uploader writes; it alone does
}

// uploads is what the bucket has of a track.
type uploads struct {
	files      int   // media files that it has
	init       int64 // of the last file in the playlists; -1 before
	inits      int64 // init segments that it has
	bytes      int64
	duration   time.Duration
	peak       int64     // bit/s of the heaviest file
	playlist   time.Time // when it was written; zero before
	byteRanges time.Time // the same of the byte-range playlist
	dirty      bool      // the spool's playlists have more than the bucket's
	ended      bool      // and end with EXT-X-ENDLIST
}

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
	Lost          bool          `json:"lost,omitempty"` // a gap where there was media
	Init          int64         `json:"init"`           // -1 where there is none
	Tags          string        `json:"tags,omitempty"`
	Cuts          []cut         `json:"cuts,omitempty"` // offsets count from the start of the segment
}

const journalName = "journal"

// createTrack makes the folder of a track.
func createTrack(folder string, v variant, fmp4 bool, s *share) (*track, error) {
	t := &track{folder: folder, fmp4: fmp4, share: s, variant: v, uploads: uploads{init: -1}}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	for name, byteRanges := range map[string]bool{playlistName: false, byteRangePlaylistName: true} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(playlistHead(fmp4, byteRanges)), 0o644); err != nil {
			return nil, err
		}
	}
	var err error
	if t.journal, err = os.OpenFile(filepath.Join(folder, journalName), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644); err != nil {
		return nil, err
	}
	return t, t.write(journalLine{Variant: &v})
}

func (t *track) write(line journalLine) error {
	b, err := json.Marshal(line)
	if err != nil {
		return err
	}
	_, err = t.journal.Write(append(b, '\n'))
	return err
}

// describe records what the track is now: its codecs may be known better than
// when it began.
func (t *track) describe(v variant) error {
	t.mu.Lock()
	v.Name = t.variant.Name
	same := v == t.variant
	t.variant = v
	t.mu.Unlock()
	if same {
		return nil
	}
	return t.write(journalLine{Variant: &v})
}

// add writes a segment into the spool. discontinuity says that it does
// not go on from what was written before. The error is errFull where the spool has no room.
func (t *track) add(g *hls.Segment, discontinuity bool) error {
	if g.Gap {
		return t.skip(g.Date, g.Duration, false)
	}
	discontinuity = (discontinuity || g.Discontinuity) && (t.next > 0 || t.media != nil)
	newInit := t.fmp4 && !bytes.Equal(g.Init.Bytes, t.init)
	if t.media != nil && (discontinuity || newInit || t.filled()+g.Duration > longest) {
		if err := t.closeFile(); err != nil {
			return err
		}
	}
	if newInit {
		if err := t.addInit(g.Init.Bytes); err != nil {
			return err
		}
	}
	line := segmentLine{File: t.next, Size: g.Size, Duration: g.Duration, Date: g.Date, Discontinuity: discontinuity, Init: t.inits - 1, Tags: g.DateRanges, Cuts: cuts(g)}
	if err := t.keep(g.Media(), line); err != nil {
		return err
	}
	t.end, t.lastLength = g.Date.Add(g.Duration), g.Duration
	if t.filled()+t.lastLength > longest {
		return t.closeFile()
	}
	return nil
}

// has reports whether a segment begins before the end of the track, so that the
// track has its media, or the beginning of it.
func (t *track) has(g *hls.Segment) bool { return t.end.Sub(g.Date) > hole }

// keep appends a segment if the spool has room and the disk takes it, or else
// nothing.
func (t *track) keep(media io.Reader, line segmentLine) error {
	if err := t.share.take(line.Size); err != nil {
		return err
	}
	if err := t.append(media, line); err != nil {
		t.share.give(line.Size)
		return errors.Join(err, t.undo())
	}
	return nil
}

// append writes media behind what the file has, and then says so in the journal.
func (t *track) append(media io.Reader, line segmentLine) (err error) {
	if t.media == nil {
		if t.media, err = os.OpenFile(t.path(t.next), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644); err != nil {
			return err
		}
	}
	buffer := copyBuffers.Get().(*[copyBuffer]byte)
	defer copyBuffers.Put(buffer)
	if _, err := io.CopyBuffer(onlyWriter{t.media}, onlyReader{media}, buffer[:]); err != nil {
		return err
	}
	if err := t.write(journalLine{Segment: &line}); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.filling.add(line, t.fmp4)
	t.total += line.Duration
	t.bytesTotal += line.Size
	return nil
}

// undo removes what an append that failed has left behind the file's segments,
// and a file that has none.
func (t *track) undo() error {
	if t.media == nil {
		return nil
	}
	t.mu.Lock()
	size := t.filling.size
	t.mu.Unlock()
	if size == 0 {
		err := errors.Join(t.media.Close(), os.Remove(t.media.Name()))
		t.media = nil
		return err
	}
	_, err := t.media.Seek(size, io.SeekStart)
	return errors.Join(err, t.media.Truncate(size))
}

// Media is copied through large buffers, which few goroutines have at a time.
const copyBuffer = 512 << 10

var copyBuffers = sync.Pool{New: func() any { return new([copyBuffer]byte) }}

// onlyReader and onlyWriter keep io.CopyBuffer from going around its buffer.
type onlyReader struct{ io.Reader }
type onlyWriter struct{ io.Writer }

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

// cuts are the GOPs of a segment: each begins with a part that
// has a key frame.
func cuts(g *hls.Segment) (all []cut) {
	for i, p := range g.Parts {
		if i == 0 || p.Independent {
			all = append(all, cut{Offset: p.Offset})
		}
		c := &all[len(all)-1]
		c.Size += p.Size
		c.Duration += p.Duration
	}
	if n := len(all); n > 0 { // parts may leave holes between them
		rest := g.Duration
		for _, c := range all {
			rest -= c.Duration
		}
		all[n-1].Duration += rest
	}
	return all
}

// skip writes that there is no media for a time; lost says that there was some.
func (t *track) skip(from time.Time, length time.Duration, lost bool) error {
	if err := t.closeFile(); err != nil {
		return err
	}
	for length > 0 {
		d := min(length, target)
		if length-d < time.Second && length <= longest {
			d = length
		}
		line := segmentLine{File: t.next, Duration: d, Date: from, Gap: true, Lost: lost, Init: t.inits - 1}
		if err := t.write(journalLine{Segment: &line}); err != nil {
			return err
		}
		f := file{}
		f.add(line, t.fmp4)
		if err := t.enqueue(f); err != nil {
			return err
		}
		if lost {
			t.mu.Lock()
			t.lose(d)
			t.mu.Unlock()
		}
		from, length = from.Add(d), length-d
	}
	t.end = from
	return nil
}

func (t *track) addInit(init []byte) error {
	number := t.inits
	if err := writeSynced(filepath.Join(t.folder, initName(number)), init); err != nil {
		return err
	}
	t.init, t.inits = init, number+1
	return t.write(journalLine{Init: &number})
}

func (t *track) filled() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.filling.duration
}

// closeFile ends the file that is being filled: it waits to be uploaded.
func (t *track) closeFile() error {
	if t.media == nil {
		return nil
	}
	err := errors.Join(t.media.Sync(), t.media.Close(), t.journal.Sync())
	t.media = nil
	t.mu.Lock()
	f := t.filling
	t.filling = file{}
	t.mu.Unlock()
	return errors.Join(err, t.enqueue(f))
}

// enqueue has a file wait to be uploaded, unless older ones were given up.
func (t *track) enqueue(f file) error {
	t.next = f.number + 1
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cut {
		return t.drop(f)
	}
	t.closed = append(t.closed, f)
	return nil
}

// giveUp deletes the newest file that waits, but for the first one, which may be
// on its way, and returns how many bytes that has freed. More is false where
// there is no such file.
func (t *track) giveUp() (freed int64, more bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	last := len(t.closed) - 1
	if last < 1 {
		return 0, false, nil
	}
	f := t.closed[last]
	b, err := json.Marshal(journalLine{GivenUp: &f.number})
	if err == nil {
		err = t.appendJournal(append(b, '\n'))
	}
	if err != nil {
		return 0, false, err
	}
	t.closed, t.cut = t.closed[:last], true
	return f.size, true, t.drop(f)
}

// appendJournal writes a line into the journal while another goroutine may have it
// open, or nobody.
func (t *track) appendJournal(line []byte) error {
	f, err := os.OpenFile(filepath.Join(t.folder, journalName), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(line)
	return errors.Join(err, f.Close())
}

// newest is when the file begins that giveUp would delete; zero without one.
func (t *track) newest() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.closed) < 2 {
		return time.Time{}
	}
	return t.closed[len(t.closed)-1].date
}

// drop deletes a file that does not get into the bucket. mu is held.
func (t *track) drop(f file) error {
	if f.gap {
		return nil
	}
	t.total -= f.duration
	t.bytesTotal -= f.size
	t.lose(f.duration)
	t.share.give(f.size)
	return os.Remove(t.path(f.number))
}

// lose counts media that was live and gets into no bucket. mu is held.
func (t *track) lose(d time.Duration) {
	t.lost += d
	t.share.spool.lost.Add(int64(d))
}

// first returns the oldest file that waits to be uploaded.
func (t *track) first() (file, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.closed) == 0 {
		return file{}, false
	}
	return t.closed[0], true
}

// uploaded notes that the bucket has the first file: the playlists name it, and
// the spool deletes it. Where the playlists cannot grow, it waits on.
func (t *track) uploaded(f file) error {
	newInit := f.init != t.uploads.init
	if err := t.list(appendFile(nil, f, newInit), appendCuts(nil, f, newInit)); err != nil {
		return err
	}
	t.count(f)
	t.mu.Lock()
	t.closed = t.closed[1:]
	t.mu.Unlock()
	if f.gap {
		return nil
	}
	if err := os.Remove(t.path(f.number)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	t.share.give(f.size)
	return nil
}

func (t *track) count(f file) {
	t.mu.Lock()
	defer t.mu.Unlock()
	u := &t.uploads
	u.init, u.dirty = f.init, true // the bucket's playlists lack it
	if f.gap {
		return
	}
	u.files++
	u.bytes += f.size
	u.duration += f.duration
	if f.duration > 0 {
		u.peak = max(u.peak, int64(float64(f.size)*8/f.duration.Seconds()))
	}
}

// list appends to both of the spool's playlists, or, where the disk does not take
// that, to neither.
func (t *track) list(plain, ranges []byte) error {
	size, err := t.grow(playlistName, plain)
	if err != nil {
		return err
	}
	if _, err := t.grow(byteRangePlaylistName, ranges); err != nil {
		return errors.Join(err, os.Truncate(filepath.Join(t.folder, playlistName), size))
	}
	return nil
}

// grow appends all of a text to a playlist, or nothing. It returns how many bytes
// the playlist had before.
func (t *track) grow(name string, text []byte) (before int64, err error) {
	f, err := os.OpenFile(filepath.Join(t.folder, name), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return 0, errors.Join(err, f.Close())
	}
	if _, err = f.Write(text); err != nil {
		err = errors.Join(err, f.Truncate(info.Size()))
	}
	return info.Size(), errors.Join(err, f.Close())
}

// finish ends the spool's playlists.
func (t *track) finish() error {
	if t.uploads.ended {
		return nil
	}
	if err := t.list([]byte(playlistEnd), []byte(playlistEnd)); err != nil {
		return err
	}
	t.uploads.ended = true
	return nil
}

// listed is the track as a multivariant playlist of the bucket shows it.
func (t *track) listed() variant {
	t.mu.Lock()
	defer t.mu.Unlock()
	v := t.variant
	v.peak = t.uploads.peak
	if t.uploads.duration > 0 {
		v.average = int64(float64(t.uploads.bytes) * 8 / t.uploads.duration.Seconds())
	}
	return v
}

// name is the track's folder, in the spool and below media/hls.
func (t *track) name() string { return filepath.Base(t.folder) }

// written is how much media there is, in the bucket and in the spool, and how much
// more was live.
func (t *track) written() (duration, lost time.Duration, bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.total, t.lost, t.bytesTotal
}

// discard gives back the room of what waits.
func (t *track) discard() error {
	t.writing.Lock()
	err := t.close()
	t.writing.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range t.closed {
		if !f.gap {
			t.total -= f.duration
			t.bytesTotal -= f.size
			t.lose(f.duration)
		}
		t.share.give(f.size)
	}
	t.closed = nil
	return err
}

func (t *track) path(number int64) string { return filepath.Join(t.folder, fileName(number, t.fmp4)) }

// close ends the last file and closes the journal. It may be called again.
func (t *track) close() error {
	if t.journal == nil {
		return nil
	}
	err := errors.Join(t.closeFile(), t.journal.Close())
	t.journal = nil
	return err
}

// open lets segments be added, again if need be.
func (t *track) open() (err error) {
	if t.journal != nil {
		return nil
	}
	t.journal, err = os.OpenFile(filepath.Join(t.folder, journalName), os.O_WRONLY|os.O_APPEND, 0)
	return err
}

// openTrack reads what a process that is gone has left of a track. Media behind
// what the journal knows is cut off, media that the journal knows and the disk has
// lost becomes a gap, and what the bucket has not got waits to be uploaded.
func openTrack(folder string, fmp4 bool, s *share) (*track, error) {
	t := &track{folder: folder, fmp4: fmp4, share: s, uploads: uploads{init: -1}}
	all, next, err := t.readJournal()
	if err != nil {
		return nil, err
	}
	plain, ranges := []byte(playlistHead(fmp4, false)), []byte(playlistHead(fmp4, true))
	for i := range all {
		pending, err := t.recoverFile(&all[i])
		if err != nil {
			return nil, err
		}
		for _, f := range all[i].files(fmp4, i > 0 && all[i-1].short()) {
			t.next, t.end = f.number+1, f.date.Add(f.duration)
			if !f.gap {
				t.total += f.duration
				t.bytesTotal += f.size
			}
			if pending || len(t.closed) > 0 {
				t.closed = append(t.closed, f)
				continue
			}
			newInit := f.init != t.uploads.init
			plain, ranges = appendFile(plain, f, newInit), appendCuts(ranges, f, newInit)
			t.count(f)
			t.uploads.inits = max(t.uploads.inits, f.init+1)
		}
		t.lost += all[i].lost()
	}
	t.next = max(t.next, next)
	if err := t.removeUnknown(); err != nil {
		return nil, err
	}
	if t.inits > 0 {
		if t.init, err = os.ReadFile(filepath.Join(folder, initName(t.inits-1))); err != nil {
			return nil, err
		}
	}
	return t, errors.Join(
		os.WriteFile(filepath.Join(folder, playlistName), plain, 0o644),
		os.WriteFile(filepath.Join(folder, byteRangePlaylistName), ranges, 0o644))
}

// A journaled is what a journal says of one file.
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
		if err := t.note(journalLine{Short: &shortLine{j.number(), whole}}); err != nil {
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

// note writes a line into a journal that is not open.
func (t *track) note(line journalLine) error {
	if err := t.open(); err != nil {
		return err
	}
	return errors.Join(t.write(line), t.close())
}

// removeUnknown removes the media file for which the journal has no line.
func (t *track) removeUnknown() error {
	err := os.Remove(t.path(t.next))
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

// replay adds what a line of the journal says.
func (t *track) replay(all []journaled, l journalLine) []journaled {
	switch {
	case l.Variant != nil:
		t.variant = *l.Variant
	case l.Init != nil:
		t.inits = *l.Init + 1
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
	t.cut = number < math.MaxInt64
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
				t.lost += l.Duration
			}
		}
	}
	return kept, nil
}
