// Package playback is the viewer's door: it finds the stream behind a playback
// URL, opens a viewer session, counts it, and hands the request to the stream.
package playback

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/audience"
	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/live"
)

// Root is where every playback URL begins. Below it stand
//
//	<region>.<account>.channel.<id>.m3u8                      the multivariant playlist
//	<region>.<account>.channel.<id>/<viewer>/<stream>/…       a rendition's playlist and media
//
// <viewer> is 32 hexadecimal digits that name the viewer session: its number,
// and a MAC by which we know that we gave it, for this channel. Everything
// behind it is the same for every viewer, so a cache may leave it out of its
// key.
const Root = "/api/video/v1/"

// A Handler serves playback URLs.
type Handler struct {
	Hub *live.Hub
	Key []byte // signs viewer sessions; the same on every node
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
	if !h.Hub.AdmitView(r.Context(), s) {
		w.Header().Set("Retry-After", "10")
		h.refuse(w, r, http.StatusTooManyRequests, "too_many_viewers", "As many viewers watch as this account may have")
		return
	}
	audioOnly := r.URL.Query().Get("allow_audio_only") == "true"
	playlist := s.Multivariant(r.Context(), name+"/"+h.newViewer(arn)+"/"+s.StreamID+"/", 0, audioOnly)
	if playlist == nil { // it has ended meanwhile
		h.refuse(w, r, http.StatusNotFound, "transcode_does_not_exist", "The channel is not live any more")
		return
	}
	hls.ServePlaylist(w, r, playlist)
}

// media answers for what the multivariant playlist names.
func (h *Handler) media(w http.ResponseWriter, r *http.Request, path string) {
	name, rest, _ := strings.Cut(path, "/")
	viewer, rest, _ := strings.Cut(rest, "/")
	stream, file, _ := strings.Cut(rest, "/")
	arn, ok := channelARN(name)
	s := h.Hub.Stream(stream)
	if !ok || s == nil || s.Channel.ARN != arn || !h.count(s, viewer, r) {
		h.refuse(w, r, http.StatusNotFound, "not_found", "The stream has ended, or never was")
		return
	}
	if s.Channel.Authorized {
		h.refuse(w, r, http.StatusForbidden, "invalid_playback_auth_token", "This channel is private, and playback tokens are not supported yet")
		return
	}
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

// newViewer names a new viewer session of a channel.
func (h *Handler) newViewer(arn string) string {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(h.sign(b[:], arn))
}

// count notes that a viewer session of s asks for something. It reports false
// for one that we did not name: what somebody made up does not count as a
// viewer. The MAC of one that is counted already is not looked at again.
func (h *Handler) count(s *live.Session, name string, r *http.Request) bool {
	var b [16]byte
	if len(name) != 2*len(b) {
		return false
	}
	if _, err := hex.Decode(b[:], []byte(name)); err != nil {
		return false
	}
	number, now := binary.BigEndian.Uint64(b[:]), time.Now()
	if s.Viewers.Renew(number, now) {
		return true
	}
	if !hmac.Equal(b[:], h.sign(b[:8:8], s.Channel.ARN)) {
		return false
	}
	s.Viewers.Seen(number, audience.NewClient(r.RemoteAddr, r.UserAgent()), now)
	return true
}

// sign appends half a MAC to the number of a viewer session.
func (h *Handler) sign(number []byte, arn string) []byte {
	m := hmac.New(sha256.New, h.Key)
	m.Write(number)
	m.Write([]byte(arn))
	return append(number, m.Sum(nil)[:8]...)
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
