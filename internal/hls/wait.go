package hls

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/proxies"
)

var (
	errBadRequest = errors.New("bad delivery directives")
	errNotFound   = errors.New("not found")
	errBusy       = errors.New("too many requests are waiting")
	errTimeout    = errors.New("timed out waiting for media")
	errLeft       = errors.New("this server is about to stop")
)

// A playlist is one rendering, the same bytes for all who ask.
type playlist struct {
	text []byte

	once   sync.Once
	zipped []byte
}

// gzip compresses the text when it is first asked for.
func (p *playlist) gzip() []byte {
	p.once.Do(func() {
		var b bytes.Buffer
		z := zippers.Get().(*gzip.Writer)
		defer zippers.Put(z)
		z.Reset(&b)
		z.Write(p.text) // a bytes.Buffer takes everything
		z.Close()
		p.zipped = b.Bytes()
	})
	return p.zipped
}

// zippers are reused compressors: each has some 300 KB of tables.
var zippers = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is valid
	return z
}}

// renderings are the playlists of the present window, each rendered at its first request.
type renderings [kinds]*playlist

// A kind is a form in which a playlist is rendered.
type kind int

const (
	full  kind = iota
	delta      // a Playlist Delta Update
	plain      // without parts
	kinds
)

// directives are the delivery directives in a request for a playlist (rfc8216bis, 6.2.5),
// and parts=off, an extension.
type directives struct {
	blocking bool
	msn      int64
	part     int // -1 for the whole segment
	kind     kind
}

// parseDirectives reads the directives in a query. It ignores everything else in the
// query, which need not be well-formed.
func parseDirectives(query string) (directives, error) {
	d := directives{part: -1}
	seen := map[string]bool{}
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		name, value, _ := strings.Cut(pair, "=")
		if name == "parts" && value == "off" {
			d.kind = plain
		}
		if !strings.HasPrefix(name, "_HLS_") {
			continue
		}
		if seen[name] || !d.read(name, value) {
			return d, errBadRequest
		}
		seen[name] = true
	}
	if d.part >= 0 && !d.blocking {
		return d, errBadRequest
	}
	return d, nil
}

// read reads a directive, and reports whether it is valid. Unknown directives are
// ignored.
func (d *directives) read(name, value string) (ok bool) {
	switch name {
	case "_HLS_msn":
		d.blocking = true
		d.msn, ok = decimal(value)
		return ok
	case "_HLS_part":
		n, ok := decimal(value)
		d.part = int(min(n, 1<<30))
		return ok
	case "_HLS_skip":
		if d.kind == full {
			d.kind = delta
		}
		return value == "YES" || value == "v2"
	}
	return true
}

// decimal reads a decimal-integer (RFC 8216, 4.2) of at most 18 digits.
func decimal(s string) (n int64, ok bool) {
	if len(s) == 0 || len(s) > 18 {
		return 0, false
	}
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false // without an error to allocate: names of parts are tried as segments
		}
		n = 10*n + int64(c-'0')
	}
	return n, true
}

// An answer is a playlist and its caching rules.
type answer struct {
	*playlist
	newest bool // of a blocking request: the playlist ends at the requested position
}

// awaitPlaylist returns the playlist that d asks for, once there is one.
func (r *Rendition) awaitPlaylist(req *http.Request, session uint64, d directives) (a answer, err error) {
	if !r.stream.LowLatency || d.kind == plain {
		d = directives{part: -1, kind: plain} // no CAN-BLOCK-RELOAD or CAN-SKIP-UNTIL was announced
	}
	waitErr := r.await(req, session, func() bool {
		a, err = r.lookLocked(d)
		return a.playlist != nil || err != nil
	})
	return a, errors.Join(err, waitErr)
}

// lookLocked returns no playlist and no error if d must wait until the playlist has the
// position that d asks for, or a later one (rfc8216bis, 6.2.5.2). A request for a
// position in the past has nothing to wait for, and gets the playlist as it is.
func (r *Rendition) lookLocked(d directives) (a answer, err error) {
	w := &r.window
	msn, part := w.next()
	switch {
	case r.ended && len(w.segments) == 0:
		return a, errNotFound
	case d.blocking && !r.ended && r.tooFar(d, msn, part):
		return a, errBadRequest
	case len(w.segments) == 0, d.kind == plain && !w.segments[w.listed].complete:
		return a, nil
	}
	// A part after the end of a segment is the first part of the next one.
	if g := w.find(d.msn); d.blocking && g != nil && g.complete && d.part >= len(g.parts) {
		d.msn, d.part = d.msn+1, 0
	}
	if d.blocking && !r.ended && (d.msn > msn || d.msn == msn && (d.part < 0 || d.part >= part)) {
		return a, nil
	}
	a.playlist = r.currentLocked(d.kind)
	if d.blocking && !r.ended {
		a.newest = d.msn == msn && d.part == part-1 || d.part < 0 && d.msn == msn-1 && part == 0
	}
	return a, nil
}

// tooFar reports whether d asks for a position that will not exist soon: two segments
// after the last one listed, or further ahead than the parts of three seconds.
func (r *Rendition) tooFar(d directives, msn int64, part int) bool {
	if d.msn > msn+1 {
		return true
	}
	ahead := 3
	if t := r.details.PartTarget; t > 0 && t < time.Second {
		ahead = int((3*time.Second + t - 1) / t)
	}
	return d.msn == msn && d.part >= part+ahead || d.msn > msn && d.part >= ahead
}

// currentLocked returns the playlist of the present window.
func (r *Rendition) currentLocked(k kind) *playlist {
	if !r.stream.LowLatency {
		k = plain
	}
	p := &r.current[k]
	if *p == nil {
		r.stream.decideTargetEarlyLocked(r.window.segments[0].duration, r.details.KeyInterval)
		*p = &playlist{text: r.render(make([]byte, 0, 8<<10), k)}
	}
	return *p
}

// changedLocked wakes all that wait for the rendition.
func (r *Rendition) changedLocked() {
	r.current = renderings{}
	r.stream.anyChangedLocked()
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

// nextChangeLocked returns a channel that is closed at the next change.
func (r *Rendition) nextChangeLocked() <-chan struct{} {
	if r.changed == nil {
		r.changed = make(chan struct{})
	}
	return r.changed
}

// await calls done, with the Stream's lock held, until it reports true: now,
// and after each change. It gives up when the player goes and after three target
// durations.
func (r *Rendition) await(req *http.Request, session uint64, done func() bool) error {
	s, ctx := r.stream, req.Context()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left {
		return errLeft
	}
	if done() {
		return nil
	}
	w := waiter{session, proxies.ClientOf(req.RemoteAddr)}
	if !s.waits.add(w, s.maxWaiting()) {
		return errBusy
	}
	defer s.waits.remove(w)
	timer := time.NewTimer(3 * cmp.Or(s.target, s.longestTarget()))
	defer timer.Stop()
	for {
		changed := r.nextChangeLocked()
		s.mu.Unlock()
		var err error
		select {
		case <-changed:
		case <-ctx.Done():
			err = context.Cause(ctx)
		case <-timer.C:
			err = errTimeout
		}
		s.mu.Lock()
		if s.left {
			return errLeft
		}
		if err != nil {
			return err
		}
		if done() {
			return nil
		}
	}
}
