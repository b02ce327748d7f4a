package main

import (
	"net/http"
	"time"

	"github.com/millrace/millrace/internal/cluster"
	"github.com/millrace/millrace/internal/live"
	"github.com/millrace/millrace/internal/relay"
)

// newRelay returns the Relay for streams of other nodes; nil without a cluster.
func (b base) newRelay(hub *live.Hub, machine *capacity) *relay.Relay {
	if b.cfg.NodeURL == "" {
		return nil
	}
	return &relay.Relay{
		Shares:     hub.Shares,
		Admit:      machine.admitCopy,
		Log:        b.log,
		AwaitNewer: b.node.AwaitOwners,
		Locate: func(key string) (at relay.Place, ok bool) {
			s, ok := b.node.Owner(key)
			if !ok || s.Peer.Self || !s.Started {
				return at, false
			}
			return relay.Place{Node: s.Peer.Name, StreamID: s.ID, Do: func(r *http.Request) (*http.Response, error) {
				r.URL.Path = cluster.Root + r.URL.Path[1:]
				return b.node.Do(r.Context(), s.Peer, r)
			}}, true
		},
	}
}

// relayOwner serves the streams of this node to other nodes.
func (b base) relayOwner(hub *live.Hub) *relay.Owner {
	return &relay.Owner{
		From: cluster.From,
		Log:  b.log,
		Source: func(streamID string) *relay.Source {
			s := hub.PlayableSession(streamID)
			if s == nil {
				return nil
			}
			return &relay.Source{
				Channel: s.Channel, Stream: s.Stream, Viewers: &s.Viewers, AddAudioOnly: s.AddAudioOnly,
				Thumbnail: func() (jpeg []byte, at time.Time) {
					if t := s.Thumbnail(); t != nil {
						jpeg, at = t.JPEG, t.At
					}
					return jpeg, at
				},
			}
		},
	}
}

// endViewers ends the viewer sessions of a viewer.
func endViewers(hub *live.Hub, relays *relay.Relay) func(channelARN, viewerID string, version int64) {
	return func(channelARN, viewerID string, version int64) {
		hub.EndViewer(channelARN, viewerID, version)
		relays.EndViewer(channelARN, viewerID, version)
	}
}

// counts are the streams of this node, and the viewers that it serves.
func counts(hub *live.Hub, relays *relay.Relay) func() (streams, viewers int) {
	return func() (streams, viewers int) {
		streams, viewers = hub.Counts()
		return streams, viewers + relays.Viewers(time.Now())
	}
}
