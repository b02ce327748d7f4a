package monitor

import (
	"cmp"
	"net/http"
	"slices"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
)

// A streamOutput is a live stream of this node in the answer of Streams.
type streamOutput struct {
	ChannelARN  string          `json:"channelArn"`
	StreamID    string          `json:"streamId"`
	Health      string          `json:"health"` // HEALTHY, STARVING, UNKNOWN
	ViewerCount int             `json:"viewerCount"`
	Bitrate     float64         `json:"bitrate"` // bits a second from the encoder, over the last 10 s
	Framerate   float64         `json:"framerate"`
	Playback    *playbackOutput `json:"playback,omitempty"` // nil where no player reports it
}

// Streams answers GET /_millrace/streams with figures of every live stream of
// scope that this node has, in the order of their channels' ARNs: one call for
// all, where health is one for each.
func (h *Handler) Streams(w http.ResponseWriter, _ *http.Request, scope store.Scope) error {
	out := struct {
		Streams []streamOutput `json:"streams"`
	}{[]streamOutput{}}
	for _, f := range h.Hub.Figures() {
		if a, ok := ivs.ParseARN(f.ChannelARN); !ok || a.Account != scope.Account || a.Region != scope.Region {
			continue
		}
		out.Streams = append(out.Streams, streamOutput{f.ChannelARN, f.StreamID, f.Health, f.Views,
			f.Measured.VideoBitrate + f.Measured.AudioBitrate, f.Measured.Framerate, newPlayback(f.Playback)})
	}
	slices.SortFunc(out.Streams, func(a, b streamOutput) int { return cmp.Compare(a.ChannelARN, b.ChannelARN) })
	return writeJSON(w, out)
}
