package hls

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"net/url"
	"strconv"
	"sync"
	"time"
)

var (
	errBadRequest = errors.New("bad delivery directives")
	errNotFound   = errors.New("not found")
	errBusy       = errors.New("too many requests are waiting")
	errTimeout    = errors.New("nothing came in time")
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

// zippers are compressors to be used again: each has some 300 KB of tables.
var zippers = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is valid
	return z
}}

// playlists are the renderings of a rendition that may be asked for again.
type playlists struct {
	current [2]*playlist             // full, delta; of the window as it is
	oldest  int64                    // number of the segment before which there are no answers
	answers map[directives]*playlist // to blocking requests: a cache in front may hold one, so they never change
}

// directives are what a player asks of a playlist (rfc8216bis, 6.2.5).
type directives struct {
	blocking bool
	msn      int64
	part     int // -1 for the whole segment
	skip     bool
}

func parseDirectives(query string) (directives, error) {
	d := directives{part: -1}
	if query == "" {
		return d, nil
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return d, errBadRequest
	}
	msn, hasMSN := values["_HLS_msn"]
	part, hasPart := values["_HLS_part"]
	skip, hasSkip := values["_HLS_skip"]
	if len(msn) > 1 || len(part) > 1 || len(skip) > 1 || hasPart && !hasMSN {
		return d, errBadRequest
	}
	ok := true
	if hasMSN {
		d.blocking = true
		d.msn, ok = decimal(msn[0])
	}
	if hasPart && ok {
		var n int64
		n, ok = decimal(part[0])
		d.part = int(min(n, 1<<30))
	}
	if hasSkip {
		d.skip = true
		ok = ok && (skip[0] == "YES" || skip[0] == "v2")
	}
	if !ok {
		return d, errBadRequest
	}
	return d, nil
}

// decimal reads a decimal-integer (RFC 8216, 4.2) of at most 18 digits.
func decimal(s string) (int64, bool) {
	if len(s) == 0 || len(s) > 18 || s[0] == '+' || s[0] == '-' {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

// answerTargets is for how many target durations the answer to a blocking
// request stays the same (rfc8216bis, 6.2.5.2 and appendix B.1).
const answerTargets = 6

// awaitPlaylist returns the playlist that d asks for, once there is one, and
// whether it stays the answer.
func (r *Rendition) awaitPlaylist(ctx context.Context, d directives) (p *playlist, stays bool, err error) {
	if !r.stream.LowLatency {
		d = directives{part: -1} // no CAN-BLOCK-RELOAD or CAN-SKIP-UNTIL was announced
	}
	waitErr := r.await(ctx, func() bool {
		p, stays, err = r.lookLocked(d)
		return p != nil || err != nil
	})
	return p, stays, errors.Join(err, waitErr)
}

// lookLocked returns no playlist and no error where d must wait (rfc8216bis,
// 6.2.5.2).
func (r *Rendition) lookLocked(d directives) (p *playlist, stays bool, err error) {
	w := &r.window
	msn, part := w.next()
	switch {
	case r.ended && len(w.segments) == 0:
		return nil, false, errNotFound
	case d.blocking && !r.ended && r.tooFar(d, msn, part):
		return nil, false, errBadRequest
	case len(w.segments) == 0, !r.stream.LowLatency && !w.segments[w.listed].complete:
		return nil, false, nil
	case !d.blocking:
		return r.currentLocked(d.skip), false, nil
	}
	// A part behind the end of a segment is the first part of the next one.
	if g := w.find(d.msn); g != nil && g.complete && d.part >= len(g.parts) {
		d.msn, d.part = d.msn+1, 0
	}
	if !r.ended && (d.msn > msn || d.msn == msn && (d.part < 0 || d.part >= part)) {
		return nil, false, nil
	}
	if g := w.find(d.msn); g == nil || d.part >= len(g.parts) {
		return r.currentLocked(d.skip), false, nil // behind the end of the broadcast, or long gone
	}
	if r.forgotten(d.msn) {
		return r.currentLocked(d.skip), false, nil
	}
	return r.answerLocked(d), true, nil
}

// tooFar tells whether d is behind anything that the server may soon have: two
// segments from the last one listed, or more parts than three seconds hold.
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

// currentLocked is the playlist of the window as it is.
func (r *Rendition) currentLocked(skip bool) *playlist {
	i := 0
	if skip {
		i = 1
	}
	p := &r.playlists.current[i]
	if *p == nil {
		r.stream.decideTargetLocked(r.window.segments[0].duration)
		*p = &playlist{text: r.render(make([]byte, 0, 8<<10), skip)}
	}
	return *p
}

// answerLocked is the playlist that was first given for d.
func (r *Rendition) answerLocked(d directives) *playlist {
	if p := r.playlists.answers[d]; p != nil {
		return p
	}
	if r.playlists.answers == nil {
		r.playlists.answers = map[directives]*playlist{}
	}
	p := r.currentLocked(d.skip)
	r.playlists.answers[d] = p
	return p
}

// forgetAnswersLocked drops those that are old enough to change.
func (r *Rendition) forgetAnswersLocked() {
	w, age := &r.window, time.Duration(0)
	i := len(w.segments) - 1
	for ; i > 0 && age < answerTargets*r.stream.target; i-- {
		age += w.segments[i].duration
	}
	if i >= 0 {
		r.playlists.oldest = w.segments[i].number
	}
	for d := range r.playlists.answers {
		if r.forgotten(d.msn) {
			delete(r.playlists.answers, d)
		}
	}
}

func (r *Rendition) forgotten(msn int64) bool { return msn < r.playlists.oldest }

// changedLocked wakes all who wait for the rendition.
func (r *Rendition) changedLocked() {
	r.playlists.current = [2]*playlist{}
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

// changeLocked is closed at the next change.
func (r *Rendition) changeLocked() <-chan struct{} {
	if r.changed == nil {
		r.changed = make(chan struct{})
	}
	return r.changed
}

// await calls done, with the Stream's lock held, until it reports true: now,
// and after each change. It gives up when ctx ends and after three target
// durations.
func (r *Rendition) await(ctx context.Context, done func() bool) error {
	s := r.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	if done() {
		return nil
	}
	if s.waiting >= s.maxWaiting() {
		return errBusy
	}
	s.waiting++
	defer func() { s.waiting-- }()
	limit := s.target
	if limit == 0 {
		_, limit = s.targets()
	}
	timer := time.NewTimer(3 * limit)
	defer timer.Stop()
	for {
		changed := r.changeLocked()
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
		if err != nil {
			return err
		}
		if done() {
			return nil
		}
	}
}
