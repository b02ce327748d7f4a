// Package playback serves playback URLs: it finds the stream, authorizes viewers, counts
// viewer sessions, and passes requests to the stream.
package playback

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/access"
	"github.com/millrace/millrace/internal/audience"
	"github.com/millrace/millrace/internal/cmcd"
	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/live"
	"github.com/millrace/millrace/internal/relay"
	"github.com/millrace/millrace/internal/reqbody"
	"github.com/millrace/millrace/internal/store"
)

// Root is the prefix of every playback URL. Below it are
//
//	<region>.<account>.channel.<id>.m3u8                      the multivariant playlist, of a new viewer session or of ?viewer=
//	<region>.<account>.channel.<id>.jpg                       the latest thumbnail of a public channel
//	<region>.<account>.channel.<id>/<viewer>/<stream>/…       a rendition's playlist and media
//	<region>.<account>.channel.<id>/<viewer>/<stream>/cmcd    POST: a player's reports
//
// <viewer> names the viewer session and cannot be guessed; see names. Everything
// after it is the same for every viewer, so a cache may leave it out of its key.
// A cache that serves media itself asks before each response, with the same path
// below authorize/, whether the viewer session may have it: 204 or 403.
const Root = "/api/video/v1/"

// A Config holds the dependencies of a Handler.
type Config struct {
	Hub    *live.Hub
	Relay  *relay.Relay // streams of other nodes; nil without a cluster
	Access *access.Control

	// Keys returns the key that signs the names of new viewer sessions, and all keys
	// whose signatures are accepted. They are the same on every node.
	Keys func() (signing string, accepted []string)

	Log *slog.Logger

	// Channel resolves the name of a channel in a URL to its ARN, in an account and
	// region. Only Viewers and Token use it.
	Channel func(ctx context.Context, name string, scope store.Scope) (string, error)
}

// A Handler serves playback URLs.
type Handler struct {
	streams streams
	access  *access.Control
	names   keyring
	log     *slog.Logger
	reports reqbody.Receiver
	channel func(ctx context.Context, name string, scope store.Scope) (string, error)
}

// New returns a Handler.
func New(c Config) *Handler {
	return &Handler{streams: streams{c.Hub, c.Relay}, access: c.Access, names: keyring{keys: c.Keys}, log: c.Log, channel: c.Channel}
}

// ServeHTTP answers requests for what is below Root.
//
// Thousands of requests for media block in it until the next part is complete. The
// garbage collector halves a stack of which less than a quarter is in use, some 800
// bytes of its own included: with 3.2 KB from net/http to the wait, a stack is 8 KB,
// with a little more it is 16 KB. So the functions on that path take pointers, and what
// precedes the wait is in functions that have returned by then. (With
// GOTRACEBACK=system, SIGQUIT prints sp and fp of each frame.)
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if q := h.route(w, r); q != nil {
		h.media(w, q)
	}
}

// route answers all requests but those for media, which it returns.
func (h *Handler) route(w http.ResponseWriter, r *http.Request) *request {
	path, check := strings.CutPrefix(strings.TrimPrefix(r.URL.Path, Root), "authorize/")
	if check {
		w = checkAnswer{w}
	}
	if !check && isReport(r, path) {
		h.report(w, r, path)
		return nil
	}
	if !h.reads(w, r) {
		return nil
	}
	if name, ok := strings.CutSuffix(path, ".m3u8"); ok && !check && !strings.Contains(name, "/") {
		h.multivariant(w, r, name)
		return nil
	}
	if name, ok := strings.CutSuffix(path, ".jpg"); ok && !check && !strings.Contains(name, "/") {
		h.poster(w, r, name)
		return nil
	}
	q, err := h.find(r, path, check)
	if err != nil {
		h.noStream(w, r, err, "not_found", "There is no such stream, or it has ended")
		return nil
	}
	return q
}

// reads reports whether a request is a GET or HEAD. It answers all others.
func (h *Handler) reads(w http.ResponseWriter, r *http.Request) bool {
	asked := hls.CrossOrigin(w, r, "Age, Content-Length, Date")
	if asked == hls.NotAllowed {
		h.refuse(w, r, http.StatusMethodNotAllowed, "method_not_allowed", "Playback URLs support only GET and HEAD")
	}
	return asked == hls.Reading
}

// checkAnswer is the response to an authorize/ request: any refusal has status 403,
// with the reason in the body. nginx takes any other status for a failure of the
// check, and responds with 500.
type checkAnswer struct{ http.ResponseWriter }

func (a checkAnswer) WriteHeader(status int) {
	if status != http.StatusNoContent {
		status = http.StatusForbidden
	}
	a.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (a checkAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// multivariant serves the playback URL itself. Each response opens a viewer
// session, which takes no memory until it requests media.
func (h *Handler) multivariant(w http.ResponseWriter, r *http.Request, name string) {
	w.Header().Set("Cache-Control", "no-store")
	arn, ok := channelARN(name)
	if !ok {
		h.refuse(w, r, http.StatusNotFound, "not_found", "This is not a playback URL of a channel")
		return
	}
	s, err := h.streams.live(r.Context(), arn)
	if err != nil {
		h.noStream(w, r, err, codeOffline, "The channel does not exist or is not live")
		return
	}
	grant, viewer, err := h.viewer(r, s)
	if err != nil {
		h.deny(w, r, s, err)
		return
	}
	if !s.Viewers.HasRoom(clientOf(r)) {
		h.refuseShare(w, r)
		return
	}
	if !h.streams.hub.AdmitView(r.Context(), s.Channel.ARN) {
		w.Header().Set("Retry-After", "10")
		h.refuse(w, r, http.StatusTooManyRequests, "too_many_viewers", "The account has reached its limit of concurrent viewers")
		return
	}
	if !h.open(w, r, &s) {
		return
	}
	query := r.URL.Query()
	sel := hls.Selection{
		MaxLines:  ivs.MaxLines(grant.MaxResolution),
		AudioOnly: query.Get("allow_audio_only") == "true",
		Plain:     query.Get("parts") == "off",
	}
	prefix := name + "/" + viewer + "/" + s.StreamID + "/"
	playlist := s.multivariant(r.Context(), prefix, sel)
	switch {
	case playlist == nil && grant.MaxResolution != "":
		h.deny(w, r, s, forbidden("the stream has no rendition that aws:maximum-resolution "+grant.MaxResolution+" allows now"))
		return
	case playlist == nil: // the stream has just ended
		h.refuse(w, r, http.StatusNotFound, codeOffline, "The channel is no longer live")
		return
	}
	if err := h.access.Start(r.Context(), grant, r.Method == http.MethodHead); err != nil {
		h.deny(w, r, s, err)
		return
	}
	hls.ServePlaylist(w, r, playlist)
}

// poster serves the latest thumbnail of a public channel that is live: what a player can
// show until it plays. Having none is no error, which browsers would log on the viewers'
// page.
func (h *Handler) poster(w http.ResponseWriter, r *http.Request, name string) {
	arn, ok := channelARN(name)
	if !ok {
		noPoster(w)
		return
	}
	s, err := h.streams.live(r.Context(), arn)
	if err != nil || s.Channel.Authorized {
		noPoster(w)
		return
	}
	if _, err := h.begin(r, s); err != nil {
		h.deny(w, r, s, err)
		return
	}
	jpeg, at, err := s.thumbnail(r.Context())
	if err != nil {
		h.log.Warn("asking the node of a stream for its thumbnail failed", "channel", arn, "error", err)
	}
	if len(jpeg) == 0 {
		noPoster(w)
		return
	}
	w.Header().Set("Content-Type", "image/jpeg")
	w.Header().Set("Cache-Control", "private, max-age=5") // others may not be allowed to see it
	http.ServeContent(w, r, "", at, bytes.NewReader(jpeg))
}

func noPoster(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
}

// open has s copied if another node has it. It answers the request if that is not
// possible. The request must be authorized.
func (h *Handler) open(w http.ResponseWriter, r *http.Request, s *stream) bool {
	err := h.streams.open(r, s)
	switch {
	case err == nil:
		return true
	case errors.Is(err, relay.ErrNoRoom):
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Retry-After", "1")
		h.refuse(w, r, http.StatusServiceUnavailable, "no_capacity", "This server has no room for another stream now; try again")
	default:
		h.noStream(w, r, err, codeOffline, "The channel is no longer live")
	}
	return false
}

// noStream answers a request for a stream that was not found: with 404, unless there may be
// one on a node that does not answer. Players try again then, and take 404 for final.
func (h *Handler) noStream(w http.ResponseWriter, r *http.Request, err error, code, text string) {
	if errors.Is(err, relay.ErrNotFound) {
		h.refuse(w, r, http.StatusNotFound, code, text)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Retry-After", "1")
	h.refuse(w, r, http.StatusServiceUnavailable, "stream_unavailable", "The server that has the stream does not answer now; try again")
}

// begin authorizes a request to start playback of s. The grant of a public channel
// is empty.
func (h *Handler) begin(r *http.Request, s stream) (*access.Grant, error) {
	if !s.Channel.Authorized {
		return &access.Grant{}, h.access.AllowPublic(r.Context(), access.NewRequest(*s.Channel, r, ""), false)
	}
	return h.access.Authorize(r.Context(), access.NewRequest(*s.Channel, r, r.URL.Query().Get("token")))
}

// viewer authorizes a request for the playback URL and names its viewer session. That is
// a new one, or the one that ?viewer= names, for a player that reads the playlist before
// the browser does: it is one viewer, and its token is not needed twice.
func (h *Handler) viewer(r *http.Request, s stream) (grant *access.Grant, name string, err error) {
	name = r.URL.Query().Get("viewer")
	if s.Channel.Authorized {
		if _, grant, ok := h.names.open(s, name); ok {
			return grant, name, h.access.Allow(s.Channel.ARN, grant, "", false)
		}
	}
	if grant, err = h.begin(r, s); err != nil {
		return nil, "", err
	}
	if !s.Channel.Authorized {
		if _, _, ok := h.names.check(s, name); ok {
			return grant, name, nil
		}
	}
	return grant, h.names.give(s, grant), nil
}

// A request is one for a URL that the multivariant playlist lists.
type request struct {
	*http.Request
	session stream
	viewer  string // name of the viewer session
	file    string // below the session's URLs
	check   bool   // from a cache that asks whether it may serve the file

	// The viewer session.
	number  uint64
	counted bool
	who     audience.Identity // zero if the token has no viewer id
}

// media serves the URLs that the multivariant playlist lists.
func (h *Handler) media(w http.ResponseWriter, r *request) {
	if r.check {
		w = checkAnswer{w}
	}
	switch {
	case r.session.Channel.Authorized:
		h.privateMedia(w, r)
	case h.admit(w, r):
		h.serve(w, r)
	}
}

// find reads the path of a request for media. The error is that of streams.byID.
func (h *Handler) find(r *http.Request, path string, check bool) (*request, error) {
	name, rest, _ := strings.Cut(path, "/")
	viewer, rest, _ := strings.Cut(rest, "/")
	id, file, _ := strings.Cut(rest, "/")
	arn, ok := channelARN(name)
	if !ok {
		return nil, relay.ErrNotFound
	}
	s, err := h.streams.byID(r.Context(), id)
	if err != nil {
		return nil, err
	}
	if s.Channel.ARN != arn {
		return nil, relay.ErrNotFound
	}
	return &request{Request: r, session: s, viewer: viewer, file: file, check: check}, nil
}

// admit reports whether a viewer session of a public channel may have what it requests,
// and answers it if not.
func (h *Handler) admit(w http.ResponseWriter, r *request) (ok bool) {
	if err := h.restricted(r); err != nil {
		h.denyMedia(w, r, err)
		return false
	}
	if r.number, r.counted, ok = h.names.check(r.session, r.viewer); !ok {
		h.notFound(w, r.Request, "The URL was not issued for this channel")
		return false
	}
	return h.open(w, r.Request, &r.session)
}

// restricted returns the refusal of the channel's playback restriction policy, or
// nil if the request may pass.
func (h *Handler) restricted(r *request) error {
	if r.session.Channel.PlaybackRestrictionPolicyARN == "" {
		return nil
	}
	return h.access.AllowPublic(r.Context(), access.NewRequest(*r.session.Channel, r.Request, ""), true)
}

// privateMedia serves a viewer session of a private channel.
func (h *Handler) privateMedia(w http.ResponseWriter, r *request) {
	number, grant, ok := h.names.open(r.session, r.viewer)
	if !ok {
		h.denyMedia(w, r, forbidden("the URL was not issued for this stream"))
		return
	}
	err := h.access.Serve(w, r.Request, r.session.Channel.ARN, grant, func(inner *http.Request) {
		r.Request, r.number, r.who = inner, number, grant.Identity
		h.servePrivate(w, r, grant)
	})
	if err != nil {
		h.denyMedia(w, r, err)
	}
}

func (h *Handler) servePrivate(w http.ResponseWriter, r *request, grant *access.Grant) {
	if !h.open(w, r.Request, &r.session) {
		return
	}
	rendition, _, _ := strings.Cut(r.file, "/")
	if most := ivs.MaxLines(grant.MaxResolution); most > 0 && r.session.Stream.Lines(rendition) > most {
		h.denyMedia(w, r, forbidden("the rendition is above aws:maximum-resolution "+grant.MaxResolution))
		return
	}
	r.counted = r.session.Viewers.Renew(r.number, time.Now())
	h.serve(w, r)
}

func (h *Handler) notFound(w http.ResponseWriter, r *http.Request, text string) {
	h.refuse(w, r, http.StatusNotFound, "not_found", text)
}

func forbidden(text string) error {
	return &access.Refusal{Status: http.StatusForbidden, Code: access.CodeAuth, Text: text}
}

// serve lets the stream serve a viewer session. A session is counted from its first
// media on, and refused if its client address has reached its limit.
func (h *Handler) serve(w http.ResponseWriter, r *request) {
	if !r.note() {
		h.refuseShare(w, r.Request)
		return
	}
	var media bool
	if r.check {
		media = allow(w, r)
	} else {
		media = r.session.Stream.Serve(w, r.Request, r.file, r.number)
	}
	if media && !r.counted {
		h.count(r)
	}
}

// note records what a request says about its viewer session: the rendition and, as
// CMCD, the state of playback. It reports false if there is no room for a new one.
func (r *request) note() bool {
	viewers := r.session.Viewers
	if !r.counted && !viewers.HasRoom(clientOf(r.Request)) {
		return false
	}
	if said, ok := cmcd.OfRequest(r.Request); ok { // about the rendition that it had before
		viewers.Report(r.number, said, time.Now())
	}
	if rendition, isPlaylist := strings.CutSuffix(r.file, "/playlist.m3u8"); isPlaylist && r.session.Stream.Lines(rendition) > 0 {
		viewers.Rendition(r.number, rendition)
	}
	return true
}

// allow tells a cache that it may serve the file, and reports whether that is media.
func allow(w http.ResponseWriter, r *request) (media bool) {
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
	return !strings.HasSuffix(r.file, ".m3u8")
}

// channelARN parses the name in a playback URL: <region>.<account>.channel.<id>,
// with the prefix "aws.ivs." in older URLs.
func channelARN(name string) (string, bool) {
	part := strings.Split(strings.TrimPrefix(name, "aws.ivs."), ".")
	if len(part) != 4 || part[2] != ivs.ChannelType {
		return "", false
	}
	arn := ivs.ARN{Region: part[0], Account: part[1], Type: ivs.ChannelType, ID: part[3]}.String()
	_, ok := ivs.ParseARN(arn)
	return arn, ok
}

const codeOffline = "transcode_does_not_exist"

// deny responds with a refusal, and logs its reason, but never the token.
func (h *Handler) deny(w http.ResponseWriter, r *http.Request, s stream, err error) {
	w.Header().Set("Cache-Control", "no-store")
	refusal, ok := errors.AsType[*access.Refusal](err)
	if !ok {
		refusal = &access.Refusal{Status: http.StatusInternalServerError, Code: "internal_error", Text: "Internal server error"}
	}
	h.log.Warn("playback refused", "channel", s.Channel.ARN, "remote", r.RemoteAddr, "viewer", refusal.ViewerID, "reason", err)
	if refusal.Status != http.StatusForbidden {
		w.Header().Set("Retry-After", "1")
	}
	h.refuse(w, r, refusal.Status, refusal.Code, refusal.Text)
}

// denyMedia is deny for the URLs that the multivariant playlist lists. If media must
// be requested with an Origin and is not, the response is plain text, as from IVS.
func (h *Handler) denyMedia(w http.ResponseWriter, r *request, err error) {
	if errors.Is(err, access.ErrNoOrigin) && !strings.HasSuffix(r.file, ".m3u8") {
		w.Header().Set("Cache-Control", "no-store")
		http.Error(w, "origin required", http.StatusForbidden)
		return
	}
	h.deny(w, r.Request, r.session, err)
}

// refuse responds as IVS does: with a list of one error.
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
