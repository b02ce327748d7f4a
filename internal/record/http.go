package record

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/access"
	"github.com/millrace/millrace/internal/bucket"
	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
)

// Root is where recordings are served:
//
//	/recordings/<bucket>/<key>                           of public channels, with --recordings-public
//	/recordings/<bucket>/<key>?token=<JWT>               of private ones, likewise: redirected to a signed address
//	/recordings/~<expiry>.<MAC>/<bucket>/<key>           for readers who got the URL from a signed call
//	/recordings/~<expiry>.<MAC>.<grant>/<bucket>/<key>   for viewers who had a token
//
// The MAC is over the expiry, the bucket, the recording's prefix and the grant,
// so that the relative URIs of playlists work below it. Below a recording's prefix,
// download.mp4 is a rendition as one MP4 file: ?rendition=720p30, or else the
// best one.
const Root = "/recordings/"

const (
	// signedFor is how long an address works that a signed call was given.
	signedFor = 6 * time.Hour

	// objectTimeout is how long a reader may take for one object. A reader that
	// takes nothing for hls.StallTime is cut off sooner.
	objectTimeout = 10 * time.Minute
)

// A Handler serves recordings. Use NewHandler to make one.
type Handler struct {
	HandlerConfig
	lookups lookups

	// MP4 files that are being made, for each kind of reader: clients that have the
	// address from a signed call, viewers who had a token, and all others.
	signed, viewers, public downloadSlots
}

// A HandlerConfig holds the dependencies of a Handler.
type HandlerConfig struct {
	Recorder *Recorder
	Access   *access.Control // authorizes viewers when Public is set
	Key      []byte          // signs addresses; the same on every node
	Public   bool            // recordings of public channels need no signature, and those of private ones can be opened by a token

	// Channel returns the ARN of a channel that a URL names.
	Channel func(ctx context.Context, name string, scope store.Scope) (arn string, err error)

	// AdmitDownload reserves the resources for making an MP4 file, until release is
	// called, or returns why there are none; signed is set if the URL is from a signed
	// call. nil reserves nothing.
	AdmitDownload func(signed bool) (release func(), err error)
}

// NewHandler makes a Handler.
func NewHandler(c HandlerConfig) *Handler {
	return &Handler{
		HandlerConfig: c, lookups: lookups{slots: make(chan struct{}, maxLookups)},
		signed:  downloadSlots{ofOne: maxDownloads, within: signedFor},
		viewers: downloadSlots{ofOne: 1, within: viewerTimeout},
		public:  downloadSlots{ofOne: 1, within: viewerTimeout},
	}
}

// A RecordingsOutput lists recordings of a channel.
type RecordingsOutput struct {
	ChannelARN string            `json:"channelArn"`
	Recordings []recordingOutput `json:"recordings"`
}

// A recordingOutput is a recording.
type recordingOutput struct {
	ID         string                    `json:"id"`
	SessionID  string                    `json:"recordingSessionId"`
	StreamIDs  []string                  `json:"streamIds"` // merged into it, oldest first
	Bucket     string                    `json:"bucket"`
	Prefix     string                    `json:"keyPrefix"`
	State      string                    `json:"state"`
	Failure    string                    `json:"failure,omitempty"`  // why it failed
	StartTime  ivs.Time                  `json:"startTime,omitzero"` // of Recording Start
	EndTime    ivs.Time                  `json:"endTime,omitzero"`   // of Recording End, or of the failure
	DurationMS int64                     `json:"durationMs"`
	Bytes      int64                     `json:"bytes"`            // of media
	LostMS     int64                     `json:"lostMs,omitempty"` // media that was live, and is not recorded
	LagMS      int64                     `json:"uploadLagMs"`      // age of the oldest media that the bucket does not have
	Renditions []store.RecordedRendition `json:"renditions"`

	Thumbnails          int   `json:"thumbnails"`                    // how many are numbered from 0 on
	ThumbnailIntervalMS int64 `json:"thumbnailIntervalMs,omitempty"` // that the recording configuration asks for

	PlaylistURL   string `json:"playlistUrl,omitempty"`   // multivariant playlist, relative to this server; works for hours
	DownloadURL   string `json:"downloadUrl,omitempty"`   // MP4, once it has ended; likewise
	ThumbnailsURL string `json:"thumbnailsUrl,omitempty"` // folder of thumb0.jpg, thumb1.jpg and so on; likewise
}

// Values of a recording's state in a list.
const (
	StateStarting  = "STARTING"  // nothing is in the bucket yet
	StateRecording = "RECORDING" // a stream is being recorded
	StateWaiting   = "WAITING"   // the stream has ended: it is uploaded, or another stream may continue it
	StateEnded     = "ENDED"
	StateFailed    = "FAILED"
)

// List serves GET /_millrace/channels/{channel}/recordings: the newest 100 recordings of a
// channel, newest first.
func (h *Handler) List(w http.ResponseWriter, r *http.Request, scope store.Scope) error {
	arn, err := h.Channel(r.Context(), r.PathValue("channel"), scope)
	if err != nil {
		return err
	}
	rows, err := h.Recorder.Store.Recordings(r.Context(), arn)
	if err != nil {
		return err
	}
	open := false
	if h.Public {
		c, err := h.Recorder.Store.Channel(r.Context(), arn)
		if err != nil && !ivs.Is(err, ivs.NotFound) {
			return err
		}
		open = err == nil && !c.Authorized
	}
	now := time.Now()
	out := RecordingsOutput{arn, make([]recordingOutput, 0, len(rows))}
	for _, row := range rows {
		l := h.listed(row, open, now)
		if l.State == StateRecording && row.Owner != h.Recorder.Owner && h.streamEnded(r.Context(), row) {
			l.State = StateWaiting
		}
		out.Recordings = append(out.Recordings, l)
	}
	body, err := json.Marshal(out)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body) // the client may have left
	return nil
}

// streamEnded reports whether the last stream of another node's recording has ended.
func (h *Handler) streamEnded(ctx context.Context, row store.Recording) bool {
	last, err := h.Recorder.Store.StreamSession(ctx, row.ChannelARN, row.Streams[len(row.Streams)-1])
	return err == nil && !last.EndTime.IsZero()
}

// listed shows a recording. open says that its addresses need no signature.
func (h *Handler) listed(row store.Recording, open bool, now time.Time) recordingOutput {
	l := recordingOutput{ID: row.ID, SessionID: row.SessionID, StreamIDs: row.Streams, Bucket: row.Bucket, Prefix: row.Prefix, Failure: row.Failure,
		StartTime: ivs.Time{Time: row.StartedAt}, EndTime: ivs.Time{Time: row.EndedAt},
		State: StateEnded}
	result := row.RecordingResult
	c := h.Recorder.find(row.ID)
	switch {
	case !row.EndedAt.IsZero() && row.Failure != "":
		l.State = StateFailed
	case !row.EndedAt.IsZero():
	case row.StartedAt.IsZero():
		l.State = StateStarting
	case c != nil && c.idleStream():
		l.State = StateWaiting
	default:
		l.State = StateRecording
	}
	if c != nil && row.EndedAt.IsZero() {
		result = c.result()
		l.LagMS = c.lag(now).Milliseconds()
	}
	l.DurationMS, l.Bytes, l.LostMS, l.Renditions = result.Duration.Milliseconds(), result.Bytes, result.Lost.Milliseconds(), result.Renditions
	l.Thumbnails, l.ThumbnailIntervalMS = result.Thumbnails, result.ThumbnailInterval.Milliseconds()
	if l.StartTime.IsZero() {
		return l
	}
	base := h.address(row.Bucket, row.Prefix, nil, now)
	if open {
		base = Root + row.Bucket + "/" + row.Prefix
	}
	if len(l.Renditions) > 0 {
		l.PlaylistURL = base + "/" + mediaFolder + "/" + multivariantName
		if !row.EndedAt.IsZero() {
			l.DownloadURL = base + "/" + downloadName
		}
	}
	l.ThumbnailsURL = base + "/" + thumbnailFolder + "/"
	return l
}

// prefixElements is how many elements the prefix of a recording has.
const prefixElements = 10

// ServeHTTP serves an object of a recording, or all of a rendition as one file.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch hls.CrossOrigin(w, r, "Accept-Ranges, Content-Length, Content-Range, Date") {
	case hls.Answered:
		return
	case hls.NotAllowed:
		refuse(w, http.StatusMethodNotAllowed, "recordings are read with GET and HEAD")
		return
	}
	rest := strings.TrimPrefix(r.URL.Path, Root)
	address := ""
	if strings.HasPrefix(rest, "~") {
		address, rest, _ = strings.Cut(rest[1:], "/")
	}
	name, key, _ := strings.Cut(rest, "/")
	elements := strings.Split(key, "/")
	if len(elements) <= prefixElements || elements[0] != "ivs" || elements[1] != "v1" || strings.HasPrefix(name, ".") || name == "" {
		refuse(w, http.StatusNotFound, "there is no such object")
		return
	}
	prefix := strings.Join(elements[:prefixElements], "/")
	o := object{name, prefix, key}
	viewer, ok := h.admit(w, r, address, o)
	if !ok {
		return
	}
	answer := func(r *http.Request) {
		if key == prefix+"/"+downloadName {
			slots := &h.public
			switch {
			case viewer != nil:
				slots = &h.viewers
			case address != "":
				slots = &h.signed
			}
			h.download(w, r, name, prefix, slots)
			return
		}
		h.serve(hls.NewPaced(w, r, objectTimeout), r, name, key, address == "")
	}
	if viewer == nil {
		answer(r)
		return
	}
	if err := h.Access.Serve(w, r, viewer.channelARN, viewer.grant, answer); err != nil {
		h.refused(w, r, o, err)
	}
}

// refuse answers with an error that no cache keeps.
func refuse(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, text, status)
}

// serve answers with an object. Caches may keep it if it is public: what needs a
// signed address is checked with each request.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, name, key string, public bool) {
	f, o, err := h.Recorder.Buckets.Get(r.Context(), name, key)
	switch {
	case errors.Is(err, bucket.ErrNotFound):
		refuse(w, http.StatusNotFound, "there is no such object")
		return
	case err != nil:
		h.Recorder.Log.Warn("a recording cannot be served", "error", err)
		refuse(w, http.StatusBadGateway, "the bucket does not answer")
		return
	}
	defer f.Close()
	w.Header().Set("Content-Type", bucket.ContentType(key))
	switch {
	case !public:
		o.Cache = "private, no-store"
	case o.Cache == "":
		o.Cache = h.cacheOf(r.Context(), name, key, f)
	}
	w.Header().Set("Cache-Control", o.Cache)
	if o.ETag != "" { // Last-Modified alone has whole seconds: a playlist may change twice in one
		w.Header().Set("ETag", o.ETag)
	}
	http.ServeContent(w, r, "", o.Modified, f)
}

// cacheOf is how long caches may keep an object of a recording in a folder. S3 has
// that with the object.
func (h *Handler) cacheOf(ctx context.Context, name, key string, content io.ReadSeeker) string {
	base := path.Base(key)
	switch path.Ext(key) {
	case ".ts", ".mp4":
		return bucket.Immutable
	case ".jpg":
		if !strings.HasSuffix(key, "/"+latestThumbnailName) {
			return bucket.Immutable
		}
	case ".json":
		return bucket.Final
	case ".m3u8":
		multivariant := base == multivariantName || base == byteRangeMultiName
		if multivariant && h.over(ctx, name, strings.TrimSuffix(key, "/"+mediaFolder+"/"+base)) || !multivariant && hasEnded(content) {
			return bucket.Final
		}
	}
	return bucket.Growing
}

// over reports whether a recording has ended: a multivariant playlist does not
// show it.
func (h *Handler) over(ctx context.Context, name, prefix string) bool {
	for _, file := range []string{endedName, failedName} {
		if f, _, err := h.Recorder.Buckets.Get(ctx, name, prefix+"/"+file); err == nil {
			f.Close()
			return true
		}
	}
	return false
}

// hasEnded reports whether a playlist ends with EXT-X-ENDLIST.
func hasEnded(playlist io.ReadSeeker) bool {
	if _, err := playlist.Seek(-int64(len(playlistEnd)), io.SeekEnd); err != nil {
		return false
	}
	var tail [len(playlistEnd)]byte
	_, err := io.ReadFull(playlist, tail[:])
	return err == nil && string(tail[:]) == playlistEnd
}

// find returns an open recording of this node, or nil.
func (r *Recorder) find(id string) *recording {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.open[id]
}

// Faults of buckets that can be injected.
const (
	FaultBucketSlow = "bucket-slow" // each read and write takes 3 s longer
	FaultBucketFail = "bucket-fail" // writes fail, as if the bucket did not answer
)

// Fault injects a fault into the bucket in which a channel is being recorded.
func (r *Recorder) Fault(channelARN, fault string, d time.Duration) error {
	for _, c := range r.recordings() {
		if c.ChannelARN != channelARN {
			continue
		}
		if fault == FaultBucketSlow {
			r.Buckets.Slow(c.Bucket, d)
		} else {
			r.Buckets.Fail(c.Bucket, d)
		}
		c.log.Warn("FAULT ON DEMAND", "fault", fault, "duration", d)
		return nil
	}
	return ivs.Errorf(ivs.Validation, "fault %s needs a channel that is being recorded on this server", fault)
}
