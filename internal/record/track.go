package record

import (
	"os"
	"path/filepath"
	"time"
)

// A track is one rendition of a recording in the spool: a folder with a journal,
// the files that are not in the bucket yet, and the playlists as far as the
// bucket has what they name. Each of its parts has one owner.
//
// The journal says what each file is made of, a line for each segment, written behind the
// segment's media. A kill at any moment loses at most the line that was being written. A
// file that is in the journal and not in the spool is in the bucket, unless the journal
// says that it was given up.
type track struct {
	place
	writer  *writer
	queue   *queue
	uploads *uploads
	spans   []span // times of the streams that openTrack has found
}

// A span is the time of a stream in a recording, as program dates.
type span struct{ begin, end time.Time }

// merge extends the spans of a recording's streams to those that a track has.
func merge(streams, spans []span) []span {
	for i, s := range spans {
		if i == len(streams) {
			streams = append(streams, s)
			continue
		}
		if s.begin.Before(streams[i].begin) {
			streams[i].begin = s.begin
		}
		if s.end.After(streams[i].end) {
			streams[i].end = s.end
		}
	}
	return streams
}

// A place is where a track is in the spool.
type place struct {
	folder string
	fmp4   bool
	share  *share // of the spool
}

// name is the track's folder, in the spool and below media/hls.
func (p *place) name() string { return filepath.Base(p.folder) }

func (p *place) path(number int64) string { return filepath.Join(p.folder, fileName(number, p.fmp4)) }

func newTrack(folder string, fmp4 bool, s *share) *track {
	p := place{folder, fmp4, s}
	q := &queue{place: p}
	return &track{place: p, writer: &writer{place: p, queue: q}, queue: q, uploads: &uploads{place: p, queue: q, init: -1}}
}

// createTrack makes the folder of a track.
func createTrack(folder string, v variant, fmp4 bool, s *share) (*track, error) {
	t := newTrack(folder, fmp4, s)
	t.queue.variant = v
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	for name, byteRanges := range map[string]bool{playlistName: false, byteRangePlaylistName: true} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(playlistHead(fmp4, byteRanges)), 0o644); err != nil {
			return nil, err
		}
	}
	var err error
	if t.writer.journal, err = os.OpenFile(filepath.Join(folder, journalName), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644); err != nil {
		return nil, err
	}
	return t, t.writer.write(journalLine{Variant: &v})
}

// discard frees the space of pending files.
func (t *track) discard() error {
	t.writer.mu.Lock()
	err := t.writer.close()
	t.writer.mu.Unlock()
	t.queue.discard()
	return err
}
