// Package hls is the origin of HLS and low-latency HLS (RFC 8216 and
// draft-pantos-hls-rfc8216bis): it takes finished parts, keeps them as segments
// in a bounded window, and lets players wait for what comes next. It knows
// nothing of frames; package segment makes parts of those.
//
// A segmenter's goroutine adds parts to a Rendition; viewers' goroutines read
// through Stream.Serve, recorders through a Reader. One lock,
// the Stream's, stands between them and is held for microseconds: a few times
// per part by the writer, once per request by a viewer. The only goroutines that the
// package starts cut off viewers of a segment that leaves the window, one for each
// response, which waits for it.
package hls

import (
	"cmp"
	"errors"
	"sync"
	"time"
)

// Container is the format of the media of a Stream.
type Container uint8

// The containers that HLS players read.
const (
	TS   Container = iota // MPEG transport stream, ISO 13818-1
	FMP4                  // fragmented MP4, ISO 14496-12
)

// ErrClosed is returned for what is added after the end of a Rendition.
var ErrClosed = errors.New("hls: rendition is closed")

// A Share returns how many files and how many bytes the media of all renditions of a
// Stream may take at present. The oldest segments are dropped to meet it, at the end of
// each segment: a Stream that has ended drops none, so that readers can finish. It must
// return quickly and must not use the Stream.
type Share func() (files, bytes int64)

// A Stream is one broadcast as offered to players: one or more renditions of the same
// video. Its exported fields must be set before the first rendition is added, and not
// changed afterwards.
type Stream struct {
	Container  Container
	LowLatency bool // parts and blocking playlist reload; false means plain HLS

	// TargetDuration is EXT-X-TARGETDURATION, whole seconds. It never changes. 0 means
	// the length of the first segment, at least 2 s and at most 6 s, or 10 s with
	// LowLatency. With LowLatency, a player that comes before the end of the first
	// segment fixes it: at 2 s, or up to 4 s if the encoder declares the distance of its
	// key frames.
	TargetDuration time.Duration

	Window     time.Duration // media listed for players, at least 6 segments of it; 0 means 16 s
	MaxBytes   int64         // memory for the media of all renditions, the oldest is dropped first; 0 means 128 MiB
	MaxWaiting int           // requests that may wait for media at the same time, others get 503; 0 means 10,000
	Share      Share         // limits the media in addition to MaxBytes; may be nil

	mu         sync.Mutex
	renditions []*Rendition  // guarded by mu
	target     time.Duration // guarded by mu; TargetDuration once it is known
	cues       cues          // guarded by mu; metadata and ad breaks
	waits      waits         // guarded by mu
	ready      chan struct{} // guarded by mu; closed when a player can start
	isReady    bool          // guarded by mu
	released   bool          // guarded by mu
	left       bool          // guarded by mu

	// Closed at the next change, of the renditions or of anything; nil while none waits.
	renditionsChanged chan struct{} // guarded by mu
	anyChanged        chan struct{} // guarded by mu
}

func (s *Stream) window() time.Duration { return cmp.Or(s.Window, 16*time.Second) }
func (s *Stream) maxBytes() int64       { return cmp.Or(s.MaxBytes, 128<<20) }
func (s *Stream) maxWaiting() int       { return cmp.Or(s.MaxWaiting, 10_000) }

// MaxSegmentBytes returns the size limit of a segment, such that MaxBytes has room for a
// window of several.
func (s *Stream) MaxSegmentBytes() int64 { return s.maxBytes() / 8 }

// AddRendition adds a rendition that players find under name, a path element such as
// "source" or "480p30" that no other rendition has or had. The first rendition added is
// listed first, and others count as playing only if they keep up with it.
func (s *Stream) AddRendition(name string, l Listing) *Rendition {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.target == 0 {
		s.target = s.TargetDuration
	}
	r := &Rendition{stream: s, name: name, listing: l, cued: s.cues.end()}
	s.renditions = append(s.renditions, r)
	s.renditionsChangedLocked()
	return r
}

// Ready returns a channel that is closed when a player can start: after the
// first part with LowLatency, after the first segment without.
func (s *Stream) Ready() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ready == nil {
		s.ready = make(chan struct{})
		if s.isReady {
			close(s.ready)
		}
	}
	return s.ready
}

const (
	shortestTarget = 2 * time.Second
	earlyTarget    = 4 * time.Second // the longest that is decided early
)

// longestTarget is the longest TargetDuration that is taken from a first segment. It is
// longer with parts: players of parts do not mind long segments, but they do mind a
// segment that begins without a key frame.
func (s *Stream) longestTarget() time.Duration {
	if s.LowLatency {
		return 10 * time.Second
	}
	return 6 * time.Second
}

// decideTargetLocked sets TargetDuration when the first segment lasts d.
func (s *Stream) decideTargetLocked(d time.Duration) {
	if s.target == 0 {
		s.target = min(max(wholeSeconds(d), shortestTarget), s.longestTarget())
	}
}

// decideTargetEarlyLocked sets TargetDuration before the end of the first segment, which
// has lasted for d: to the distance of key frames that the encoder declares, 4 s at most.
// If it declares none, that is 2 s, or 4 s if the segment is already longer.
func (s *Stream) decideTargetEarlyLocked(d, keyInterval time.Duration) {
	if s.target > 0 {
		return
	}
	if keyInterval == 0 && wholeSeconds(d) > shortestTarget {
		keyInterval = earlyTarget
	}
	s.target = min(max(wholeSeconds(keyInterval), shortestTarget), earlyTarget)
}

// wholeSeconds returns the target duration for a segment of that length.
func wholeSeconds(d time.Duration) time.Duration {
	return (d - time.Second/4 + time.Second - 1).Truncate(time.Second)
}

func (s *Stream) setReadyLocked() {
	if s.isReady {
		return
	}
	s.isReady = true
	if s.ready != nil {
		close(s.ready)
	}
}

// Leave makes all requests fail with 503, including those that are waiting: the stream
// continues, but this server does not. Players retry, and reach another server.
func (s *Stream) Leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left = true
	for _, r := range s.renditions {
		r.changedLocked()
	}
}

// Release frees the media's memory immediately. Later requests get 404; those in progress
// are completed. For a Stream without references the garbage collector does the same.
func (s *Stream) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.released = true
	for _, r := range s.renditions {
		r.releaseLocked()
	}
	s.renditionsChangedLocked()
}
