package monitor

import (
	"cmp"
	"slices"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
)

// A Stream holds the figures of a live stream.
type Stream struct {
	ChannelARN  string          `json:"channelArn"`
	StreamID    string          `json:"streamId"`
	Health      string          `json:"health"`
	ViewerCount int             `json:"viewerCount"`
	Bitrate     float64         `json:"bitrate"`            // bit/s from the encoder over the last 10 seconds
	Framerate   float64         `json:"framerate"`          // frames a second
	Playback    *playbackOutput `json:"playback,omitempty"` // missing where no player reports it
}

// Streams returns the live streams of scope on this node.
func (h *Handler) Streams(scope store.Scope) []Stream {
	all := []Stream{}
	for _, f := range h.Hub.Figures() {
		if a, ok := ivs.ParseARN(f.ChannelARN); !ok || a.Account != scope.Account || a.Region != scope.Region {
			continue
		}
		all = append(all, Stream{f.ChannelARN, f.StreamID, f.Health, f.Views,
			f.Measured.VideoBitrate + f.Measured.AudioBitrate, f.Measured.Framerate, newPlayback(f.Playback)})
	}
	SortStreams(all)
	return all
}

// SortStreams sorts by the channels' ARNs.
func SortStreams(all []Stream) {
	slices.SortFunc(all, func(a, b Stream) int { return cmp.Compare(a.ChannelARN, b.ChannelARN) })
}
