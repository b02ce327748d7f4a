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

// maxListed bounds the viewer sessions in a list.
const maxListed = 1000

// A ViewerList lists the viewer sessions of a channel.
type ViewerList struct {
	ChannelARN string       `json:"channelArn"`
	Viewers    []viewerJSON `json:"viewers"` // newest first, at most maxListed
	Total      int          `json:"total"`
}

// Add adds the list of another node.
func (l *ViewerList) Add(other ViewerList) {
	l.Viewers = append(l.Viewers, other.Viewers...)
	slices.SortStableFunc(l.Viewers, func(a, b viewerJSON) int { return b.Since.Compare(a.Since.Time) })
	l.Viewers = l.Viewers[:min(len(l.Viewers), maxListed)]
	l.Total += other.Total
}

type viewerJSON struct {
	ID           string   `json:"id"`
	ViewerID     string   `json:"viewerId,omitempty"`
	Version      *int64   `json:"viewerSessionVersion,omitempty"`
	Since        ivs.Time `json:"since"`
	Rendition    string   `json:"rendition,omitempty"`
	AddressClass string   `json:"addressClass"`
	Country      string   `json:"country,omitempty"`

	Playback *playbackJSON `json:"playback,omitempty"` // nil unless its player reports (CMCD)
}

// A playbackJSON is what a player reported in the last minute. Times are in seconds.
type playbackJSON struct {
	Stalls  int     `json:"stalls"`            // since the session began
	Stalled bool    `json:"stalled"`           // in the last minute
	Bitrate int     `json:"bitrate,omitempty"` // bits a second
	Buffer  float64 `json:"buffer,omitempty"`
	Startup float64 `json:"startup,omitempty"`
	Latency float64 `json:"latency,omitempty"` // behind live
}

// Viewers returns the viewer sessions of a channel that this node serves.
func (h *Handler) Viewers(channelARN string) ViewerList {
	out := ViewerList{ChannelARN: channelARN, Viewers: []viewerJSON{}}
	viewers := h.streams.watched(channelARN)
	if viewers == nil {
		return out
	}
	var list []audience.Viewer
	list, out.Total = viewers.List(time.Now(), maxListed)
	for _, v := range list {
		shown := viewerJSON{ID: fmt.Sprintf("%016x", v.Number), ViewerID: v.ViewerID, Since: ivs.Time{Time: v.Since.UTC()},
			Rendition: v.Rendition, AddressClass: v.Class.String(), Country: v.Country}
		if v.ViewerID != "" {
			shown.Version = &v.Version
		}
		if p := v.Player; p != nil {
			shown.Playback = &playbackJSON{p.Stalls, p.Stalled, p.Bitrate * 1000, p.Buffer.Seconds(), p.Startup.Seconds(), p.Latency.Seconds()}
		}
		out.Viewers = append(out.Viewers, shown)
	}
	return out
}

// Token handles POST /_millrace/channels/{channel}/playback-token: it returns a token
// that starts playback of the channel within a minute. It is for the console, whose user
// may watch everything.
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
	return writeJSON(w, struct {
		ChannelARN string `json:"channelArn"`
		Token      string `json:"token"`
	}{arn, signed})
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
