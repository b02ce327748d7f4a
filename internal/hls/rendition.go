package hls

import (
	"fmt"
	"time"

	"github.com/millrace/millrace/internal/media"
)

// A Rendition is one encoding of a Stream: a window of segments that players can fetch.
// Finished parts are added to it, by a segmenter or from another node, by one goroutine
// at a time.
type Rendition struct {
	// Immutable.
	stream  *Stream
	name    string
	listing Listing

	// Guarded by stream.mu.
	window   window
	current  renderings
	init     *Init // of the newest part
	details  Details
	stats    Stats
	cued     int64 // number of the next metadata
	ended    bool
	fallback bool
	plays    bool          // the last report of Stream.Renditions
	changed  chan struct{} // closed at the next change; nil while none waits
}

// A Listing holds the attributes with which the multivariant playlist lists a rendition.
type Listing struct {
	Label     string // GROUP-ID, such as "720p30"; "" means height and frame rate
	Bitrate   int    // target of its encoder, bits a second: it is listed with no lower rate
	AudioOnly bool   // it has no video by design: it is listed only on request
}

// A Head holds the attributes of a segment that are known when its first part is complete.
type Head struct {
	Number        int64         // media sequence number
	PTS           time.Duration // of its beginning
	Date          time.Time     // EXT-X-PROGRAM-DATE-TIME
	Init          *Init
	Discontinuity bool // it follows an EXT-X-DISCONTINUITY
	Independent   bool // begins with a key frame
}

// An Init is a Media Initialization Section (EXT-X-MAP), with the tracks that it
// describes.
type Init struct {
	Number       int64  // number in the rendition; part of the init segment's name
	Bytes        []byte // nil for a transport stream
	Video, Audio *media.Track
}

// A Part is a partial segment: a range of its segment's media.
type Part struct {
	Number       int64 // number in the rendition; part of its name
	Offset, Size int64
	End          time.Duration // from the segment's beginning
	Duration     time.Duration // shorter than the distance to the part before it if nothing was sent for a while
	Independent  bool          // contains a key frame
}

// Details are further attributes of a rendition in playlists; they may become more precise
// from part to part.
type Details struct {
	Frame      time.Duration // how long a video frame lasts
	PartTarget time.Duration // EXT-X-PART-INF
	Captions   bool          // the video has had captions

	// KeyInterval is the maximum distance between key frames that the encoder declares; 0
	// if it declares none.
	KeyInterval time.Duration
}

// Stats are counters of a Rendition.
type Stats struct {
	Segments int64 // that have ended
	Parts    int64 // published parts
	Forced   int64 // segments that were cut without a key frame

	SegmentBytes int64         // of the segments that have ended
	PartBytes    int64         // of the parts
	PartDelay    time.Duration // from the date of a part's end to its publication, of all parts together
	SegmentDelay time.Duration // from the date of a segment's end to its publication, of all segments together
}

// Stats returns the counters so far.
func (r *Rendition) Stats() Stats {
	r.stream.mu.Lock()
	defer r.stream.mu.Unlock()
	return r.stats
}

// Name returns the path element under which players find the rendition.
func (r *Rendition) Name() string { return r.name }

// Stream returns the Stream that the rendition belongs to.
func (r *Rendition) Stream() *Stream { return r.stream }

// MaxDuration returns how long a segment may last, before rounding: EXT-X-TARGETDURATION
// or, while that is not decided, its upper bound.
func (r *Rendition) MaxDuration() time.Duration {
	s := r.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.target > 0 {
		return s.target
	}
	return s.longestTarget()
}

// AddPart publishes a part and its media, which is copied. The part belongs to the
// current segment or, after EndSegment, begins the next one, h. AddPart sets the part's
// Offset and Size. The error is ErrClosed, or says that there is no memory or file
// descriptor for the media: then nothing has changed, and a later part may be added.
func (r *Rendition) AddPart(h Head, p Part, d Details, media []byte) error {
	s := r.stream
	g, err := r.segment(h)
	if err != nil {
		return err
	}
	p.Offset, p.Size = g.size, int64(len(media))
	// Players do not know of it yet: no lock is held.
	defer g.release()
	if err := g.write(media); err != nil {
		inMemory.lost.Add(1)
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.ended {
		return ErrClosed
	}
	r.window.addPart(g, p)
	if r.init == nil || r.init != h.Init {
		r.init = h.Init
		s.renditionsChangedLocked()
	}
	r.details = d
	r.stats.Parts++
	r.stats.PartBytes += p.Size
	r.stats.PartDelay += time.Since(g.date.Add(p.End))
	if r == s.renditions[0] {
		s.cues.advance(g.pts+p.End, g.date.Add(p.End))
	}
	s.notePlayingLocked()
	s.anyChangedLocked()
	if s.LowLatency {
		s.setReadyLocked()
		r.changedLocked()
	}
	return nil
}

// segment returns the segment that parts are added to: the last one, or a new one that
// players do not know of yet. The caller releases it.
func (r *Rendition) segment(h Head) (*segment, error) {
	r.stream.mu.Lock()
	defer r.stream.mu.Unlock()
	if r.ended {
		return nil, ErrClosed
	}
	if g := r.window.last(); g != nil && !g.complete {
		g.file.hold()
		return g, nil
	}
	return newSegment(h), nil
}

// release lets go of the file, if there is one.
func (g *segment) release() {
	if g.file != nil {
		g.file.release()
	}
}

// write appends a part to the file.
func (g *segment) write(media []byte) error {
	if g.file == nil {
		f, err := openFile()
		if err != nil {
			return err
		}
		g.file = f
	}
	if _, err := g.file.WriteAt(media, g.size); err != nil {
		return fmt.Errorf("add %d bytes to segment %d: %w", len(media), g.number, err)
	}
	return nil
}

// EndSegment ends the current segment, which lasts d, to the end of its last part or
// longer. forced says that the next segment does not begin with a key frame.
func (r *Rendition) EndSegment(d time.Duration, forced bool) {
	s := r.stream
	files, bytes := s.share()
	s.mu.Lock()
	defer s.mu.Unlock()
	g := r.window.last()
	if r.ended || g == nil || g.complete {
		return
	}
	g.duration = d
	s.decideTargetLocked(d)
	r.stats.Segments++
	r.stats.SegmentBytes += g.size
	r.stats.SegmentDelay += time.Since(g.date.Add(d))
	if forced {
		r.stats.Forced++
	}
	r.endSegmentLocked(files, bytes)
	s.cues.forgetBreaks(r.window.segments[r.window.listed].date)
	s.setReadyLocked()
}

// AddGap adds a segment without media: EXT-X-GAP. Gaps before the first segment are
// ignored, unless h has an Init: then there were segments that have left the window.
func (r *Rendition) AddGap(h Head, d time.Duration) {
	files, bytes := r.stream.share()
	r.stream.mu.Lock()
	defer r.stream.mu.Unlock()
	last := r.window.last()
	if last != nil {
		h.Init = last.init
	}
	if h.Init == nil || r.ended {
		return
	}
	h.Discontinuity, h.Independent = false, true
	g := newSegment(h)
	g.duration = d
	r.window.append(g)
	r.endSegmentLocked(files, bytes)
}

// endSegmentLocked ends the last segment, and drops old ones until the media of the
// stream is within the given numbers of files and bytes.
func (r *Rendition) endSegmentLocked(files, bytes int64) {
	s := r.stream
	r.window.endSegment(s.window(), s.target)
	s.trimLocked(files, bytes)
	s.notePlayingLocked()
	r.changedLocked()
}

// Close ends the playlist with EXT-X-ENDLIST and answers all waiting requests.
func (r *Rendition) Close() {
	r.stream.mu.Lock()
	defer r.stream.mu.Unlock()
	r.ended = true
	r.changedLocked()
}

// Remove removes the rendition: it is no longer listed, and requests for it get 404.
// Adding to it returns ErrClosed.
func (r *Rendition) Remove() {
	s := r.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	r.releaseLocked()
	for i, other := range s.renditions {
		if other == r {
			s.renditions = append(s.renditions[:i:i], s.renditions[i+1:]...)
			s.renditionsChangedLocked()
			break
		}
	}
}

// SetFallback sets whether the rendition is listed only while no other one with
// video plays.
func (r *Rendition) SetFallback(fallback bool) {
	r.stream.mu.Lock()
	defer r.stream.mu.Unlock()
	if fallback != r.fallback {
		r.fallback = fallback
		r.stream.renditionsChangedLocked()
	}
}

// maxBehind is how many segments a rendition that plays may be behind the first
// one of its Stream.
const maxBehind = 2

// Playing reports whether the rendition has media and keeps up with the first
// one.
func (r *Rendition) Playing() bool {
	r.stream.mu.Lock()
	defer r.stream.mu.Unlock()
	return r.playingLocked()
}

func (r *Rendition) playingLocked() bool {
	g := r.window.last()
	if g == nil || g.gap() {
		return false
	}
	first := r.stream.renditions[0].window.last()
	return first == nil || first.number-g.number <= maxBehind
}

func (r *Rendition) releaseLocked() {
	for len(r.window.segments) > 0 {
		r.window.drop()
	}
	r.ended = true
	r.changedLocked()
}
