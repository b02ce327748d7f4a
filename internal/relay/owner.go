package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/audience"
	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/ivs"
)

// A Source is a stream of this node that others may copy.
type Source struct {
	Channel ivs.Channel
	Stream  *hls.Stream
	Viewers *audience.Viewers

	// AddAudioOnly adds the rendition without video, and returns when it plays, or when
	// it is clear that it will not soon.
	AddAudioOnly func(context.Context)

	// Thumbnail returns the latest thumbnail, nil if there is none, and when it was made.
	Thumbnail func() (jpeg []byte, at time.Time)
}

// An Owner serves copies of this node's streams to other nodes.
type Owner struct {
	// Source returns a stream that this node itself has, nil if it does not. It must not
	// return relayed streams: a relay of a relay is refused.
	Source func(streamID string) *Source

	From func(*http.Request) string // returns the name of the node that sent a request
	Log  *slog.Logger
}

// Endpoints returns the handlers for other nodes, by method and path below the root of
// their protocol.
func (o *Owner) Endpoints() map[string]http.Handler {
	return map[string]http.Handler{
		"GET streams/{stream}":             http.HandlerFunc(o.feed),
		"GET streams/{stream}/channel":     http.HandlerFunc(o.channel),
		"GET streams/{stream}/thumbnail":   http.HandlerFunc(o.thumbnail),
		"POST streams/{stream}/audio-only": http.HandlerFunc(o.addAudioOnly),
		"POST viewers":                     http.HandlerFunc(o.viewers),
	}
}

// channel answers with the channel of a stream, from which it is known who may watch.
func (o *Owner) channel(w http.ResponseWriter, r *http.Request) {
	s := o.Source(r.PathValue("stream"))
	if s == nil {
		http.Error(w, "this node does not have the stream", http.StatusNotFound)
		return
	}
	c := s.Channel
	c.SRT = ivs.SRT{} // its passphrase is for encoders
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(c) // the other node may have left
}

// writeTime is how long another node may take for a part. One that is slower is cut off,
// and asks again from where it is.
const writeTime = 10 * time.Second

// feed answers with a stream, from the oldest segment that viewers can fetch to its
// end, as it comes. An answer that does not end cleanly was cut off.
func (o *Owner) feed(w http.ResponseWriter, r *http.Request) {
	s := o.Source(r.PathValue("stream"))
	if s == nil {
		http.Error(w, "this node does not have the stream", http.StatusNotFound)
		return
	}
	have, err := parsePositions(r.URL.Query()["have"])
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	o.Log.Info("another node relays a stream", "channel", s.Channel.ARN, "stream", r.PathValue("stream"), "node", o.From(r))
	w.Header().Set("Content-Type", "application/vnd.millrace.stream")
	err = send(r.Context(), w, s, have)
	o.Log.Info("another node stopped relaying a stream", "stream", r.PathValue("stream"), "node", o.From(r), "reason", err)
	if !errors.Is(err, io.EOF) {
		panic(http.ErrAbortHandler)
	}
}

// send writes a stream until its end, which is io.EOF.
func send(ctx context.Context, w http.ResponseWriter, s *Source, have map[string]hls.Position) error {
	d, err := s.Stream.Feed(ctx, have)
	if err != nil {
		return err
	}
	c := http.NewResponseController(w)
	out := &writer{w: w}
	err = out.write(greeting{s.Stream.Container, s.Stream.LowLatency, d.TargetDuration, s.Stream.Window, s.Stream.MaxBytes}, nil)
	for first := true; err == nil; first = false {
		var list []hls.Change
		if list, err = d.Next(ctx); err != nil {
			return err
		}
		for i := range list {
			if err == nil {
				if err = c.SetWriteDeadline(time.Now().Add(writeTime)); err == nil {
					err = out.change(&list[i])
				}
			}
			list[i].Close()
		}
		if err == nil && first {
			err = out.write(change{Kind: kindSynced}, nil)
		}
		if err == nil {
			err = c.Flush()
		}
		if err == nil {
			err = c.SetWriteDeadline(time.Time{}) // else it would cut off an answer that waits for what is to come
		}
	}
	return err
}

func (w *writer) change(c *hls.Change) error {
	var body *io.SectionReader
	if c.Kind == hls.PartAdded {
		body = c.Media()
	}
	return w.write(newChange(c), body)
}

func formatPositions(have map[string]hls.Position) string {
	q := url.Values{}
	for name, p := range have {
		q.Add("have", fmt.Sprintf("%s:%d:%d", name, p.Segment, p.Parts))
	}
	return q.Encode()
}

func parsePositions(list []string) (map[string]hls.Position, error) {
	if len(list) > maxRenditions {
		return nil, fmt.Errorf("%d renditions are more than a stream has", len(list))
	}
	have := map[string]hls.Position{}
	for _, text := range list {
		field := strings.Split(text, ":")
		if len(field) != 3 || !nameForm.MatchString(field[0]) {
			return nil, fmt.Errorf("%.100q is not the position in a rendition", text)
		}
		segment, err1 := strconv.ParseInt(field[1], 10, 64)
		parts, err2 := strconv.ParseInt(field[2], 10, 32)
		if err1 != nil || err2 != nil || segment < 0 || parts < 0 {
			return nil, fmt.Errorf("%.100q is not the position in a rendition", text)
		}
		have[field[0]] = hls.Position{Segment: segment, Parts: int(parts)}
	}
	return have, nil
}

// addAudioOnly answers when the stream has its rendition without video, or will not
// soon.
func (o *Owner) addAudioOnly(w http.ResponseWriter, r *http.Request) {
	s := o.Source(r.PathValue("stream"))
	if s == nil {
		http.Error(w, "this node does not have the stream", http.StatusNotFound)
		return
	}
	s.AddAudioOnly(r.Context())
	w.WriteHeader(http.StatusNoContent)
}

// viewerCounts are how many viewers another node has of streams, and what their
// players report. A version that does not know of the latter leaves it out.
type viewerCounts struct {
	Streams  map[string]int               `json:"streams"` // by stream id, as is what follows
	Playback map[string]audience.Playback `json:"playback,omitempty"`
}

const maxReport = 256 << 10 // bytes; no body between nodes is larger

func (o *Owner) viewers(w http.ResponseWriter, r *http.Request) {
	var in viewerCounts
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxReport)).Decode(&in); err != nil {
		http.Error(w, "the numbers of viewers are not understood: "+err.Error(), http.StatusBadRequest)
		return
	}
	now := time.Now()
	for id, n := range in.Streams {
		if s := o.Source(id); s != nil {
			s.Viewers.SetElsewhere(o.From(r), n, in.Playback[id], now)
		}
	}
	w.WriteHeader(http.StatusNoContent)
}
