package hls

import (
	"errors"
	"time"
)

// Errors of AddMetadata and AddAdBreak.
var (
	ErrTooMuch      = errors.New("hls: too much metadata waits to be carried")
	ErrBreakRunning = errors.New("hls: an ad break is running")
)

const (
	// metadataKept is how long metadata is kept for renditions that lag.
	metadataKept = 10 * time.Second

	// maxMetadata bounds the number of texts that are kept.
	maxMetadata = 1024
)

// cues are the metadata and ad breaks that are inserted at the live edge of a Stream, at
// the same position of the media in every rendition. They are guarded by the Stream's
// lock.
type cues struct {
	edge     time.Duration // PTS at which the first rendition continues
	edgeDate time.Time     // its program date; zero while there is no media

	metadata []Metadata
	gone     int64 // number of texts that were forgotten
	breaks   []adBreak
	changes  int64 // how often breaks were added or set
}

// Metadata is an ID3 tag with its position in the media.
type Metadata struct {
	Number int64 // its number in the Stream
	PTS    time.Duration
	ID3    []byte
}

// AddMetadata puts UTF-8 text at the live edge, in an ID3 tag that every rendition
// carries in its media. It returns ErrTooMuch if too many tags are pending.
func (s *Stream) AddMetadata(text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.cues
	for len(c.metadata) > 0 && c.metadata[0].PTS < c.edge-metadataKept {
		c.metadata = c.metadata[1:]
		c.gone++
	}
	if len(c.metadata) >= maxMetadata {
		return ErrTooMuch
	}
	c.metadata = append(c.metadata, Metadata{c.end(), c.edge, appendID3(nil, text)})
	return nil
}

// advance notes that the first rendition has published up to end, a PTS.
func (c *cues) advance(end time.Duration, date time.Time) {
	c.edge, c.edgeDate = end, date
}

// end returns the number of the next metadata.
func (c *cues) end() int64 { return c.gone + int64(len(c.metadata)) }

// TakeMetadata returns, once, the metadata that belongs to the rendition's media before
// the PTS end.
func (r *Rendition) TakeMetadata(end time.Duration) []Metadata {
	s := r.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	r.cued = max(r.cued, s.cues.gone)
	waiting := s.cues.metadata[r.cued-s.cues.gone:]
	n := 0
	for n < len(waiting) && waiting[n].PTS < end {
		n++
	}
	r.cued += int64(n)
	return waiting[:n:n]
}

// appendID3 writes an ID3v2.4 tag with one frame, TXXX: text that the user
// defines, UTF-8, without a description (id3v2.4.0-frames, 4.2.6).
func appendID3(dst []byte, text string) []byte {
	const header, encodingUTF8 = 10, 3
	body := 2 + len(text) // encoding, the end of an empty description
	dst = append(dst, "ID3\x04\x00\x00"...)
	dst = appendSyncSafe(dst, header+body)
	dst = append(dst, "TXXX"...)
	dst = appendSyncSafe(dst, body)
	dst = append(dst, 0, 0, encodingUTF8, 0)
	return append(dst, text...)
}

// appendSyncSafe writes 28 bits, seven to a byte (id3v2.4.0-structure, 6.2).
func appendSyncSafe(dst []byte, n int) []byte {
	return append(dst, byte(n>>21)&0x7f, byte(n>>14)&0x7f, byte(n>>7)&0x7f, byte(n)&0x7f)
}
