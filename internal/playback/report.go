package playback

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/cmcd"
	"github.com/millrace/millrace/internal/hls"
)

// reportFile is where a viewer session's player posts reports that go with no
// request (CTA-5004-A, event mode): beside the folders of the renditions.
const reportFile = "cmcd"

// maxReport bounds the body of such a request.
const maxReport = 16 << 10

// isReport reports whether a request brings reports of a player.
func isReport(r *http.Request, path string) bool {
	return r.Method == http.MethodPost && strings.HasSuffix(path, "/"+reportFile)
}

// report takes what a player says of a viewer session. What cannot be read of it
// is left out: a player can do nothing about it.
func (h *Handler) report(w http.ResponseWriter, r *http.Request, path string) {
	hls.AllowAnyOrigin(w.Header(), "")
	w.Header().Set("Cache-Control", "no-store")
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxReport))
	if err != nil {
		status := http.StatusBadRequest
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			status = http.StatusRequestEntityTooLarge
		}
		h.refuse(w, r, status, "bad_report", "A report has at most 16 KiB, and arrives whole")
		return
	}
	q := h.find(r, path, false)
	if q == nil || q.file != reportFile || !h.knows(q) {
		h.notFound(w, r, "The stream has ended, or the viewer session is not one that this server has given for it")
		return
	}
	now := time.Now()
	for _, said := range cmcd.ParseEvents(string(body)) {
		q.session.Viewers.Report(q.number, said, now)
	}
	w.WriteHeader(http.StatusNoContent)
}

// knows reports whether the viewer session of a request is one that was given for
// the stream, and notes its number.
func (h *Handler) knows(q *request) (ok bool) {
	if q.session.Channel.Authorized {
		q.number, _, ok = h.names.open(q.session, q.viewer)
		return ok
	}
	q.number, _, ok = h.names.check(q.session, q.viewer)
	return ok
}
