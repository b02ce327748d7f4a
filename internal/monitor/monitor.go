// Package monitor serves the state of a channel's stream: its series of measurements, its
// health and its thumbnail. It also injects faults.
package monitor

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/millrace/millrace/internal/audience"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/live"
	"github.com/millrace/millrace/internal/meter"
	"github.com/millrace/millrace/internal/store"
)

// A Handler handles calls that are signed by an account, which is the scope of each
// method. Errors are those of package ivs.
type Handler struct {
	Hub    *live.Hub
	Store  *store.DB
	Faults bool // faults may be requested

	// BucketFault makes one of BucketFaults happen to the bucket in which a channel is
	// recorded.
	BucketFault  func(channelARN, fault string, d time.Duration) error
	BucketFaults []string
}

// Channel returns the ARN of a channel of scope that a URL names by its ARN or by the id
// in it. It returns NotFound for a channel that does not exist, unless sessions of it are
// still kept.
func (h *Handler) Channel(ctx context.Context, name string, scope store.Scope) (string, error) {
	arn := name
	if _, ok := ivs.ParseARN(name); !ok {
		arn = ivs.ARN{Region: scope.Region, Account: scope.Account, Type: ivs.ChannelType, ID: name}.String()
	}
	a, ok := ivs.ParseARN(arn)
	if ok && a.Type == ivs.ChannelType && a.Account == scope.Account && a.Region == scope.Region {
		known, err := h.Store.KnowsChannel(ctx, arn)
		if known || err != nil {
			return arn, err
		}
	}
	return "", ivs.Errorf(ivs.NotFound, "Channel %s does not exist", name)
}

// A HealthOutput is the state of a channel's stream.
type HealthOutput struct {
	ChannelARN  string           `json:"channelArn"`
	StreamID    string           `json:"streamId,omitempty"`
	State       string           `json:"state"`
	Health      string           `json:"health,omitempty"` // missing while the channel is not live
	ViewerCount int              `json:"viewerCount"`
	Announced   meter.Announced  `json:"announced"`
	Measured    meter.Measured   `json:"measured"`
	Renditions  []live.Rendition `json:"renditions,omitempty"` // what viewers are offered, as the multivariant playlist lists it
	Playback    *playbackOutput  `json:"playback,omitempty"`   // missing where no player reports it
	Sentence    string           `json:"sentence"`             // what it means
	Refused     *refusedOutput   `json:"refused,omitempty"`    // the last stream, or the one requested, where the server refused or ended it
}

// A playbackOutput summarizes the playback that players reported in the last minute
// (CMCD). Means are over the players that report.
type playbackOutput struct {
	Reporting  int            `json:"reporting"`            // viewer sessions whose players report
	Stalled    int            `json:"stalled"`              // how many of them stalled
	Renditions map[string]int `json:"renditions,omitempty"` // how many stalled on each rendition
	Bitrate    int            `json:"bitrate"`              // bit/s
	Buffer     float64        `json:"buffer"`               // seconds
	Startup    float64        `json:"startup,omitempty"`    // seconds
	Latency    float64        `json:"latency,omitempty"`    // seconds behind live
}

func newPlayback(p audience.Playback) *playbackOutput {
	if p.Reporting == 0 {
		return nil
	}
	return &playbackOutput{p.Reporting, p.Stalled, p.Renditions, int(p.Bitrate.Value()) * 1000, p.Buffer.Duration().Seconds(), p.Startup.Duration().Seconds(), p.Latency.Duration().Seconds()}
}

// sentence says how many stalled, and whether it is one rendition's doing; "" if
// none did.
func (p *playbackOutput) sentence() string {
	if p == nil || p.Stalled == 0 {
		return ""
	}
	text := fmt.Sprintf(" Of the viewers whose players report playback, %d %% stalled in the last minute", max(1, 100*p.Stalled/p.Reporting))
	for name, n := range p.Renditions {
		if n == p.Stalled && name != "" {
			text += ", all on the " + name + " rendition"
		}
	}
	return text + "."
}

// A refusedOutput is a stream that the server refused or ended.
type refusedOutput struct {
	StreamID string    `json:"streamId"`
	At       time.Time `json:"at"`
	Reason   string    `json:"reason"`
}

// Health serves GET /_millrace/channels/{channel}/health: the present state of a channel's
// stream, what the encoder announced, what arrives, and what that means in a sentence.
//
//   - streamId: The stream that refused is about; the latest by default.
func (h *Handler) Health(w http.ResponseWriter, r *http.Request, scope store.Scope) error {
	arn, err := h.Channel(r.Context(), r.PathValue("channel"), scope)
	if err != nil {
		return err
	}
	out := HealthOutput{ChannelARN: arn, State: ivs.StateOffline, Sentence: "The channel is not live."}
	stream, err := h.Store.Stream(r.Context(), arn)
	if err == nil {
		out.StreamID, out.State, out.Health, out.ViewerCount = stream.StreamID, ivs.StateLive, stream.Health, stream.ViewerCount
		out.Sentence = "Another node has the stream; its report has more."
	} else if !ivs.Is(err, ivs.NotBroadcasting) && !ivs.Is(err, ivs.NotFound) {
		return err
	}
	if err := h.addEndReason(r, &out); err != nil {
		return err
	}
	if s := h.Hub.LiveSession(arn); s != nil {
		report := s.Report()
		out.Announced, out.Measured, out.Sentence = report.Announced, report.Measured, report.Sentence
		out.Renditions = s.Renditions()
		out.Playback = newPlayback(s.Viewers.Playback(time.Now()))
		out.Sentence += out.Playback.sentence()
	}
	return writeJSON(w, out)
}

// addEndReason says why the stream that is asked for was refused or ended; it is
// the last one unless the request names another.
func (h *Handler) addEndReason(r *http.Request, out *HealthOutput) error {
	named := r.URL.Query().Get("streamId")
	end, ok, err := h.Store.EndReason(r.Context(), out.ChannelARN, named)
	if err != nil || !ok {
		return err
	}
	out.Refused = &refusedOutput{end.StreamID, end.At.UTC(), end.Text}
	switch {
	case out.State == ivs.StateLive || named != "":
	case end.WasLive:
		out.Sentence = "The channel is not live. Its last stream was ended: " + end.Text
	default:
		out.Sentence = "The channel is not live. Its last encoder was refused: " + end.Text
	}
	return nil
}

// Thumbnail serves GET /_millrace/channels/{channel}/thumbnail: the latest thumbnail of the
// live stream.
//
// Having none is no error, which browsers would log.
func (h *Handler) Thumbnail(w http.ResponseWriter, r *http.Request, scope store.Scope) error {
	arn, err := h.Channel(r.Context(), r.PathValue("channel"), scope)
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "private, no-cache")
	s := h.Hub.LiveSession(arn)
	if s == nil || s.Thumbnail() == nil {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	t := s.Thumbnail()
	w.Header().Set("Content-Type", "image/jpeg")
	http.ServeContent(w, r, "", t.At, bytes.NewReader(t.JPEG))
	return nil
}

func writeJSON(w http.ResponseWriter, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body) // the client may have left
	return nil
}
