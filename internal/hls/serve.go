package hls

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Serve answers a GET or HEAD of a viewer session for the file at path, whatever the
// request's own path is: for "<rendition>/playlist.m3u8", or a name that such a playlist
// lists. Answers are the same for everyone, and say how long they may be kept
// (rfc8216bis, B.1). Only a few requests of a session may wait at the same time;
// session 0 stands for none and has no such limit. The headers of CrossOrigin are set
// already. Serve reports whether the response was media.
func (s *Stream) Serve(w http.ResponseWriter, req *http.Request, path string, session uint64) (media bool) {
	name, file, _ := strings.Cut(path, "/")
	r := s.rendition(name)
	if r == nil {
		s.fail(w, errNotFound)
		return false
	}
	var err error
	isPlaylist := file == "playlist.m3u8"
	if isPlaylist {
		err = r.servePlaylist(w, req, session)
	} else {
		err = r.serveMedia(w, req, session, file)
	}
	if err != nil {
		s.fail(w, err)
		return false
	}
	return !isPlaylist && req.Method == http.MethodGet
}

// Access is the result of CrossOrigin.
type Access int

const (
	Reading    Access = iota // GET or HEAD: to be answered
	Answered                 // a preflight: it is answered
	NotAllowed               // another method: to be refused with 405
)

// AllowAnyOrigin allows pages of any origin to read a response, and those of its headers,
// separated by commas (Fetch standard, 3.3).
func AllowAnyOrigin(h http.Header, expose string) {
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", expose)
}

// CrossOrigin allows pages of any origin to read the response, as AllowAnyOrigin does,
// and answers preflight requests.
func CrossOrigin(w http.ResponseWriter, req *http.Request, expose string) Access {
	h := w.Header()
	AllowAnyOrigin(h, expose)
	switch req.Method {
	case http.MethodGet, http.MethodHead:
		return Reading
	case http.MethodOptions:
		h.Set("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS")
		h.Set("Access-Control-Allow-Headers", "*")
		h.Set("Access-Control-Max-Age", "86400")
		w.WriteHeader(http.StatusNoContent)
		return Answered
	}
	h.Set("Allow", "GET, HEAD, OPTIONS")
	return NotAllowed
}

func (s *Stream) rendition(name string) *Rendition {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.renditionLocked(name)
}

func (s *Stream) renditionLocked(name string) *Rendition {
	for _, r := range s.renditions {
		if r.name == name && !s.released {
			return r
		}
	}
	return nil
}

// fail answers a request that got no media and no playlist. It does not answer for errors
// other than these: the player has gone then.
func (s *Stream) fail(w http.ResponseWriter, err error) {
	status := 0
	switch {
	case errors.Is(err, errBadRequest):
		status = http.StatusBadRequest
	case errors.Is(err, errNotFound):
		status = http.StatusNotFound
	case errors.Is(err, errBusy), errors.Is(err, errTimeout), errors.Is(err, errLeft):
		status = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", "1")
	default:
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, err.Error(), status)
}

func (r *Rendition) servePlaylist(w http.ResponseWriter, req *http.Request, session uint64) error {
	d, err := parseDirectives(req.URL.RawQuery)
	if err != nil {
		return err
	}
	a, err := r.awaitPlaylist(req, session, d)
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", r.stream.playlistAge(d, a))
	a.serve(w, req)
	return nil
}

// ServePlaylist answers req with a playlist, compressed if the client accepts that.
func ServePlaylist(w http.ResponseWriter, req *http.Request, text []byte) {
	(&playlist{text: text}).serve(w, req)
}

func (p *playlist) serve(w http.ResponseWriter, req *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "application/vnd.apple.mpegurl")
	h.Set("Vary", "Accept-Encoding")
	text := p.text
	if acceptsGzip(req.Header.Get("Accept-Encoding")) {
		h.Set("Content-Encoding", "gzip")
		text = p.gzip()
	}
	h.Set("Content-Length", strconv.Itoa(len(text)))
	if req.Method == http.MethodGet {
		w.Write(text) // a player that left needs no answer
	}
}

// answerTargets is the number of target durations for which a shared cache may keep the
// answer to a blocking request (rfc8216bis, appendix B.1).
const answerTargets = 6

// playlistAge is how long an answer may be kept. If the playlist ends at the requested
// position, all players that wait for that position get the same answer, and a cache in
// front of them may keep it. The player itself may not: if it asks for the same position
// again, it wants to know what is new.
func (s *Stream) playlistAge(d directives, a answer) string {
	s.mu.Lock()
	target := s.target
	s.mu.Unlock()
	switch {
	case !s.LowLatency || d.kind == plain:
		return fmt.Sprintf("max-age=%d", target/2/time.Second)
	case a.newest:
		return fmt.Sprintf("max-age=0, s-maxage=%d", answerTargets*target/time.Second)
	case d.blocking:
		return "max-age=0, s-maxage=1"
	}
	return "max-age=1"
}

// acceptsGzip reads an Accept-Encoding (RFC 9110, 12.5.3) as far as players
// make use of it.
func acceptsGzip(accept string) bool {
	for _, coding := range strings.Split(accept, ",") {
		name, weight, _ := strings.Cut(strings.TrimSpace(coding), ";")
		if strings.TrimSpace(name) != "gzip" {
			continue
		}
		q, ok := strings.CutPrefix(strings.ReplaceAll(weight, " ", ""), "q=")
		v, err := strconv.ParseFloat(q, 64)
		return !ok || err == nil && v > 0
	}
	return false
}

// serveMedia answers for an init segment, a part or a segment.
func (r *Rendition) serveMedia(w http.ResponseWriter, req *http.Request, session uint64, name string) error {
	if n, ok := number(name, "init-", ".mp4"); ok {
		return r.serveInit(w, req, n)
	}
	b, err := r.awaitMedia(req, session, name)
	if err == nil {
		r.send(w, req, b)
	}
	return err
}

func (r *Rendition) serveInit(w http.ResponseWriter, req *http.Request, n int64) error {
	b := r.initBytes(n)
	if b == nil {
		return errNotFound
	}
	mediaHeaders(w.Header(), "video/mp4", int64(len(b)))
	if req.Method == http.MethodGet {
		w.Write(b)
	}
	return nil
}

// send answers with b, and closes it.
func (r *Rendition) send(w http.ResponseWriter, req *http.Request, b body) {
	defer b.close()
	h, typ := w.Header(), "video/mp2t"
	if r.stream.Container == FMP4 {
		typ = "video/mp4"
	}
	if req.Header.Get("Range") != "" {
		mediaHeaders(h, typ, -1)
		b.serve(w, req, func(p *Paced) { http.ServeContent(p, req, "", time.Time{}, b.reader()) })
		return
	}
	mediaHeaders(h, typ, b.size)
	if req.Method == http.MethodGet {
		b.serve(w, req, b.writeTo)
	}
}

// mediaHeaders sets the headers of media, whose bytes never change under their name.
func mediaHeaders(h http.Header, typ string, size int64) {
	h.Set("Content-Type", typ)
	h.Set("Cache-Control", "max-age=3600, immutable")
	if size >= 0 {
		h.Set("Content-Length", strconv.FormatInt(size, 10))
	}
}

func (r *Rendition) initBytes(n int64) []byte {
	r.stream.mu.Lock()
	defer r.stream.mu.Unlock()
	for _, g := range r.window.segments {
		if g.init.Number == n {
			return g.init.Bytes
		}
	}
	return nil
}

// awaitMedia finds a part or a segment. It waits for the part that the playlist
// hints at and for the segment that has begun. The caller closes the body.
func (r *Rendition) awaitMedia(req *http.Request, session uint64, name string) (b body, err error) {
	seq, isPart := number(name, "p", r.stream.extension())
	msn, isSegment := number(name, "", r.stream.extension())
	if !isPart && !isSegment || isPart && !r.stream.LowLatency {
		return body{}, errNotFound
	}
	waitErr := r.await(req, session, func() (done bool) {
		if isPart {
			b, done, err = r.partLocked(seq)
		} else {
			b, done, err = r.segmentLocked(msn)
		}
		return done
	})
	return b, errors.Join(err, waitErr)
}

func (r *Rendition) partLocked(seq int64) (b body, done bool, err error) {
	if seq == r.window.nextPart() && !r.ended {
		return body{}, false, nil
	}
	g, p, ok := r.window.findPart(seq)
	if !ok {
		return body{}, true, errNotFound
	}
	g.file.hold()
	return body{g.file, p.Offset, p.Size}, true, nil
}

func (r *Rendition) segmentLocked(msn int64) (b body, done bool, err error) {
	g := r.window.find(msn)
	next, _ := r.window.next()
	if msn == next && !r.ended {
		return body{}, false, nil
	}
	if g == nil || g.gap() {
		return body{}, true, errNotFound
	}
	g.file.hold()
	return body{g.file, 0, g.size}, true, nil
}

// number reads the number between prefix and suffix of a name. It accepts no leading
// zeros, since the names that this package gives have none.
func number(name, prefix, suffix string) (int64, bool) {
	s, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return 0, false
	}
	if s, ok = strings.CutSuffix(s, suffix); !ok || len(s) > 1 && s[0] == '0' {
		return 0, false
	}
	return decimal(s)
}
