package playback

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/millrace/millrace/internal/audience"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
)

// MaxListed bounds the viewer sessions in a list.
const MaxListed = 1000

// A ViewerList lists the viewer sessions of a channel.
type ViewerList struct {
	ChannelARN string         `json:"channelArn"`
	Viewers    []viewerOutput `json:"viewers"` // newest first
	Total      int            `json:"total"`   // viewer sessions of all nodes that have answered; a viewer whose requests reach several nodes counts on each
}

// Add adds the list of another node.
func (l *ViewerList) Add(other ViewerList) {
	l.Viewers = append(l.Viewers, other.Viewers...)
	slices.SortStableFunc(l.Viewers, func(a, b viewerOutput) int { return b.Since.Compare(a.Since.Time) })
	l.Viewers = l.Viewers[:min(len(l.Viewers), MaxListed)]
	l.Total += other.Total
}

// A viewerOutput is a viewer session.
type viewerOutput struct {
	ID           string   `json:"id"`
	ViewerID     string   `json:"viewerId,omitempty"`             // of the playback token
	Version      *int64   `json:"viewerSessionVersion,omitempty"` // of the playback token
	Since        ivs.Time `json:"since"`
	Rendition    string   `json:"rendition,omitempty"` // the last one requested
	AddressClass string   `json:"addressClass"`        // the kind of network that its requests come from
	Country      string   `json:"country,omitempty"`   // ISO 3166-1 alpha-2, with --geoip

	Playback *viewerPlaybackOutput `json:"playback,omitempty"` // missing where its player does not report (CMCD)
}

// A viewerPlaybackOutput describes what a player reported in the last minute (CMCD).
type viewerPlaybackOutput struct {
	Stalls  int     `json:"stalls"`            // how often its buffer ran empty since the session began
	Stalled bool    `json:"stalled"`           // in the last minute
	Bitrate int     `json:"bitrate,omitempty"` // bit/s
	Buffer  float64 `json:"buffer,omitempty"`  // seconds
	Startup float64 `json:"startup,omitempty"` // seconds from the first request, or from the wish to play, to the start
	Latency float64 `json:"latency,omitempty"` // seconds behind live
}

// Viewers returns the viewer sessions of a channel that this node serves.
func (h *Handler) Viewers(channelARN string) ViewerList {
	out := ViewerList{ChannelARN: channelARN, Viewers: []viewerOutput{}}
	viewers := h.streams.watched(channelARN)
	if viewers == nil {
		return out
	}
	var list []audience.Viewer
	list, out.Total = viewers.List(time.Now(), MaxListed)
	for _, v := range list {
		shown := viewerOutput{ID: fmt.Sprintf("%016x", v.Number), ViewerID: v.ViewerID, Since: ivs.Time{Time: v.Since.UTC()},
			Rendition: v.Rendition, AddressClass: v.Class.String(), Country: v.Country}
		if v.ViewerID != "" {
			shown.Version = &v.Version
		}
		if p := v.Player; p != nil {
			shown.Playback = &viewerPlaybackOutput{p.Stalls, p.Stalled, p.Bitrate * 1000, p.Buffer.Seconds(), p.Startup.Seconds(), p.Latency.Seconds()}
		}
		out.Viewers = append(out.Viewers, shown)
	}
	return out
}

// A TokenOutput holds a playback token.
type TokenOutput struct {
	ChannelARN string `json:"channelArn"`
	Token      string `json:"token"`
}

// Token serves POST /_millrace/channels/{channel}/playback-token: a token that starts
// playback of a private channel within a minute, for operators.
//
// The user of the console may watch everything.
func (h *Handler) Token(w http.ResponseWriter, r *http.Request, scope store.Scope) error {
	arn, err := h.channel(r.Context(), r.PathValue("channel"), scope)
	if err != nil {
		return err
	}
	signed, err := h.access.Mint(r.Context(), arn)
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	return writeJSON(w, TokenOutput{arn, signed})
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
