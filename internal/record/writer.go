package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/hls"
)

// A writer writes segments into the spool. It belongs to the goroutine that holds
// mu.
type writer struct {
	place
	queue *queue // takes the files that are filled
	mu    sync.Mutex

	journal *os.File // the journal; nil while no segments come
	media   *os.File // the file that is being filled; nil between two files
	next    int64    // number of the file that is being filled, or of the next one
	init    []byte   // of the last init segment
	inits   int64    // number of init segments

	stream string    // id of the stream whose segments come
	begun  int       // how many streams the track has, or gaps in their place
	begins bool      // the next segment is the first one of another stream
	end    time.Time // end of the last segment
	missed bool      // segments after the last one were gone before they were read
}

func (w *writer) write(line journalLine) error {
	b, err := json.Marshal(line)
	if err != nil {
		return err
	}
	_, err = w.journal.Write(append(b, '\n'))
	return err
}

// describe records the present attributes of the track: its codecs may be known better
// than at its beginning.
func (w *writer) describe(v variant) error {
	if v, changed := w.queue.describe(v); changed {
		return w.write(journalLine{Variant: &v})
	}
	return nil
}

// add writes a segment into the spool. discontinuity says that it does not continue what
// was written before. The error is errFull if the spool has no room.
func (w *writer) add(g *hls.Segment, discontinuity bool) error {
	if g.Gap {
		return w.skip(g.Date, g.Duration, false)
	}
	discontinuity = (discontinuity || g.Discontinuity) && (w.next > 0 || w.media != nil)
	newInit := w.fmp4 && !bytes.Equal(g.Init.Bytes, w.init)
	if w.media != nil && (discontinuity || newInit || w.queue.filling().duration+g.Duration > longest) {
		if err := w.closeFile(); err != nil {
			return err
		}
	}
	if newInit {
		if err := w.addInit(g.Init.Bytes); err != nil {
			return err
		}
	}
	line := segmentLine{File: w.next, Size: g.Size, Duration: g.Duration, Date: g.Date, Discontinuity: discontinuity, Begin: w.begin(), Init: w.inits - 1, Tags: g.DateRanges, Cuts: cuts(g)}
	if err := w.keep(g.Media(), line); err != nil {
		return err
	}
	w.end = g.Date.Add(g.Duration)
	if w.queue.filling().duration+g.Duration > longest {
		return w.closeFile()
	}
	return nil
}

// begin reports, once, whether what is written next is the first of a stream.
func (w *writer) begin() bool {
	if !w.begins {
		return false
	}
	w.begins = false
	w.begun++
	return true
}

// align adds gaps to a track that lacks the end of a stream or all of it, up to the end
// of the recording's streams so far. So the playlists of all tracks have the same times,
// and the same number of discontinuities between streams.
func (w *writer) align(streams []span) error {
	for i, s := range streams {
		begin := w.end
		switch {
		case i < w.begun-1:
			continue
		case i >= w.begun:
			begin, w.begins = s.begin, true
		case s.end.Sub(w.end) <= time.Second:
			continue // no gap: renditions differ by as much
		}
		if err := w.skip(begin, s.end.Sub(begin), w.missed); err != nil {
			return err
		}
		w.missed = false
	}
	return nil
}

// has reports whether a segment begins before the end of the track, so that the
// track has its media, or the beginning of it.
func (w *writer) has(g *hls.Segment) bool { return w.end.Sub(g.Date) > hole }

// keep appends a whole segment, or nothing if the spool has no room or the disk fails.
func (w *writer) keep(media io.Reader, line segmentLine) error {
	if err := w.share.take(line.Size); err != nil {
		return err
	}
	if err := w.append(media, line); err != nil {
		w.share.give(line.Size)
		return errors.Join(err, w.undo())
	}
	return nil
}

// append appends media to the file, and then a line about it to the journal.
func (w *writer) append(media io.Reader, line segmentLine) (err error) {
	if w.media == nil {
		if w.media, err = os.OpenFile(w.path(w.next), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644); err != nil {
			return err
		}
	}
	buffer := copyBuffers.Get().(*[copyBuffer]byte)
	defer copyBuffers.Put(buffer)
	if _, err := io.CopyBuffer(onlyWriter{w.media}, onlyReader{media}, buffer[:]); err != nil {
		return err
	}
	if err := w.write(journalLine{Segment: &line}); err != nil {
		return err
	}
	w.queue.fill(line)
	return nil
}

// undo removes what a failed append has left after the file's segments, and the file
// itself if it has no segments.
func (w *writer) undo() error {
	if w.media == nil {
		return nil
	}
	size := w.queue.filling().size
	if size == 0 {
		err := errors.Join(w.media.Close(), os.Remove(w.media.Name()))
		w.media = nil
		return err
	}
	_, err := w.media.Seek(size, io.SeekStart)
	return errors.Join(err, w.media.Truncate(size))
}

// Media is copied through large buffers, which few goroutines have at a time.
const copyBuffer = 512 << 10

var copyBuffers = sync.Pool{New: func() any { return new([copyBuffer]byte) }}

// onlyReader and onlyWriter hide WriteTo and ReadFrom, so that io.CopyBuffer uses its
// buffer.
type onlyReader struct{ io.Reader }
type onlyWriter struct{ io.Writer }

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

// skip adds a gap to the track; lost says that there was media in that time.
func (w *writer) skip(from time.Time, length time.Duration, lost bool) error {
	if err := w.closeFile(); err != nil {
		return err
	}
	for length > 0 {
		d := min(length, target)
		if length-d < time.Second && length <= longest {
			d = length
		}
		begin := w.begin()
		line := segmentLine{File: w.next, Duration: d, Date: from, Gap: true, Lost: lost, Begin: begin, Discontinuity: begin && w.next > 0, Init: w.inits - 1}
		if err := w.write(journalLine{Segment: &line}); err != nil {
			return err
		}
		f := file{}
		f.add(line, w.fmp4)
		if err := w.enqueue(f); err != nil {
			return err
		}
		if lost {
			w.queue.lose(d)
		}
		from, length = from.Add(d), length-d
	}
	w.end = from
	return nil
}

// fill is align for a writer that gets no segments at present.
func (w *writer) fill(streams []span) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.open(); err != nil {
		return err
	}
	return errors.Join(w.align(streams), w.close())
}

func (w *writer) addInit(init []byte) error {
	number := w.inits
	if err := writeSynced(filepath.Join(w.folder, initName(number)), init); err != nil {
		return err
	}
	w.init, w.inits = init, number+1
	return w.write(journalLine{Init: &number})
}

// closeFile ends the file that is being filled: it waits to be uploaded.
func (w *writer) closeFile() error {
	if w.media == nil {
		return nil
	}
	err := errors.Join(w.media.Sync(), w.media.Close(), w.journal.Sync())
	w.media = nil
	return errors.Join(err, w.enqueue(w.queue.filled()))
}

// enqueue has a file wait to be uploaded, unless older ones were given up.
func (w *writer) enqueue(f file) error {
	w.next = f.number + 1
	return w.queue.add(f)
}

// open lets segments be added. It may be called again after close.
func (w *writer) open() (err error) {
	if w.journal != nil {
		return nil
	}
	w.journal, err = os.OpenFile(filepath.Join(w.folder, journalName), os.O_WRONLY|os.O_APPEND, 0)
	return err
}

// close ends the last file and closes the journal. It may be called again.
func (w *writer) close() error {
	if w.journal == nil {
		return nil
	}
	err := errors.Join(w.closeFile(), w.journal.Close())
	w.journal = nil
	return err
}

// note writes a line into a journal that is not open.
func (w *writer) note(line journalLine) error {
	if err := w.open(); err != nil {
		return err
	}
	return errors.Join(w.write(line), w.close())
}
