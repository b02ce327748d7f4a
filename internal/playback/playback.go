// Package playback is the viewer's door: it finds the stream behind a playback
// URL, opens a viewer session, counts it, and hands the request to the stream.
package playback

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/live"
)

// Root is where every playback URL begins. Below it stand
//
//	<region>.<account>.channel.<id>.m3u8                      the multivariant playlist
//	<region>.<account>.channel.<id>/<viewer>/<stream>/…       a rendition's playlist and media
//
// <viewer> is 16 hexadecimal digits that name the viewer session. Everything
// behind it is the same for every viewer, so a cache may leave it out of its
// key.
const Root = "/api/video/v1/"

// A Handler serves playback URLs.
type Handler struct {
	Hub *live.Hub
}

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("Access-Control-Expose-Headers", "Age, Content-Length, Date")
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodOptions:
		w.Header().Set("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS")
		w.Header().Set("Access-Control-Allow-Headers", "*")
		w.Header().Set("Access-Control-Max-Age", "86400")
		w.WriteHeader(http.StatusNoContent)
		return
	default:
		w.Header().Set("Allow", "GET, HEAD, OPTIONS")
		h.refuse(w, r, http.StatusMethodNotAllowed, "method_not_allowed", "Playback URLs are read with GET and HEAD")
		return
	}
	path := strings.TrimPrefix(r.URL.Path, Root)
	if name, ok := strings.CutSuffix(path, ".m3u8"); ok && !strings.Contains(name, "/") {
		h.multivariant(w, r, name)
		return
	}
	h.media(w, r, path)
}

// multivariant answers the playback URL itself. Each answer opens a viewer
// session, which costs nothing until the viewer comes back with it.
func (h *Handler) multivariant(w http.ResponseWriter, r *http.Request, name string) {
	w.Header().Set("Cache-Control", "no-store")
	arn, ok := channelARN(name)
	if !ok {
		h.refuse(w, r, http.StatusNotFound, "not_found", "This is not a playback URL of a channel")
		return
	}
	s := h.Hub.Channel(arn)
	if s == nil {
		h.refuse(w, r, http.StatusNotFound, "transcode_does_not_exist", "The channel does not exist or is not live")
		return
	}
	if s.Channel.Authorized {
		h.refuse(w, r, http.StatusForbidden, "invalid_playback_auth_token", "This channel is private, and playback tokens are not supported yet")
		return
	}
	playlist := s.Stream.Multivariant(name + "/" + newViewer() + "/" + s.StreamID + "/")
	w.Header().Set("Content-Type", "application/vnd.apple.mpegurl")
	w.Header().Set("Content-Length", strconv.Itoa(len(playlist)))
	w.Write(playlist)
}

// media answers for what the multivariant playlist names.
func (h *Handler) media(w http.ResponseWriter, r *http.Request, path string) {
	name, rest, _ := strings.Cut(path, "/")
	viewer, rest, _ := strings.Cut(rest, "/")
	stream, file, _ := strings.Cut(rest, "/")
	number, err := strconv.ParseUint(viewer, 16, 64)
	arn, ok := channelARN(name)
	s := h.Hub.Stream(stream)
	if err != nil || len(viewer) != 16 || !ok || s == nil || s.Channel.ARN != arn {
		h.refuse(w, r, http.StatusNotFound, "not_found", "The stream has ended, or never was")
		return
	}
	if s.Channel.Authorized {
		h.refuse(w, r, http.StatusForbidden, "invalid_playback_auth_token", "This channel is private, and playback tokens are not supported yet")
		return
	}
	s.Viewers.Seen(number, time.Now())
	inner := *r
	inner.URL = &url.URL{Path: file, RawQuery: r.URL.RawQuery}
	s.Stream.ServeHTTP(w, &inner)
}

// channelARN reads the name in a playback URL: <region>.<account>.channel.<id>,
// in older ones behind "aws.ivs.".
func channelARN(name string) (string, bool) {
	part := strings.Split(strings.TrimPrefix(name, "aws.ivs."), ".")
	if len(part) != 4 || part[2] != ivs.ChannelType {
		return "", false
	}
	arn := ivs.ARN{Region: part[0], Account: part[1], Type: ivs.ChannelType, ID: part[3]}.String()
	_, ok := ivs.ParseARN(arn)
	return arn, ok
}

// newViewer names a new viewer session.
func newViewer() string {
	var b [8]byte
	rand.Read(b[:])
	const width = 16
	s := strconv.FormatUint(binary.BigEndian.Uint64(b[:]), 16)
	return strings.Repeat("0", width-len(s)) + s
}

// refuse answers as IVS does: with a list of one error.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, status int, code, text string) {
	type refusal struct {
		URL   string `json:"url"`
		Error string `json:"error"`
		Code  string `json:"error_code"`
		Type  string `json:"type"`
	}
	body, _ := json.Marshal([]refusal{{r.URL.RequestURI(), text, code, "error"}}) // strings always marshal
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	if w.Header().Get("Cache-Control") == "" {
		w.Header().Set("Cache-Control", "max-age=1")
	}
	w.WriteHeader(status)
	w.Write(body)
}
