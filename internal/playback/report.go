package playback

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/cmcd"
	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/reqbody"
)

// reportFile is the file, beside the folders of the renditions, to which a player
// posts reports of its own (CTA-5004-A, event mode).
const reportFile = "cmcd"

// reports bound the bodies of such requests.
var reports = reqbody.Limits{Bytes: 16 << 10, Total: 1024, PerAddress: 64}

// isReport reports whether a request is such a report.
func isReport(r *http.Request, path string) bool {
	return r.Method == http.MethodPost && strings.HasSuffix(path, "/"+reportFile)
}

// report takes the reports of a player. What it cannot parse is ignored: the player
// could do nothing about it.
func (h *Handler) report(w http.ResponseWriter, r *http.Request, path string) {
	hls.AllowAnyOrigin(w.Header(), "")
	w.Header().Set("Cache-Control", "no-store")
	body, err := h.reports.Read(w, r, reports)
	switch {
	case errors.Is(err, reqbody.ErrBusy):
		w.Header().Set("Retry-After", "1")
		h.refuse(w, r, http.StatusServiceUnavailable, "busy", "Too many reports are being received")
		return
	case errors.Is(err, reqbody.ErrTooLarge):
		h.refuse(w, r, http.StatusRequestEntityTooLarge, "bad_report", "A report has at most 16 KiB")
		return
	case err != nil:
		h.refuse(w, r, http.StatusBadRequest, "bad_report", "A report arrives whole, within 10 s")
		return
	}
	q, err := h.find(r, path, false)
	if err != nil || q.file != reportFile || !h.knows(q) {
		h.notFound(w, r, "The stream has ended, or the URL was not issued for it")
		return
	}
	now := time.Now()
	for _, said := range cmcd.ParseEvents(string(body)) {
		q.session.Viewers.Report(q.number, said, now)
	}
	w.WriteHeader(http.StatusNoContent)
}

// knows reports whether the name of the viewer session was issued for the stream, and
// sets its number.
func (h *Handler) knows(q *request) (ok bool) {
	if q.session.Channel.Authorized {
		q.number, _, ok = h.names.open(q.session, q.viewer)
		return ok
	}
	q.number, _, ok = h.names.check(q.session, q.viewer)
	return ok
}
