package playback

import (
	"context"
	"net/http"
	"time"

	"github.com/millrace/millrace/internal/audience"
	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/live"
	"github.com/millrace/millrace/internal/relay"
)

// streams finds the streams that this node can serve.
type streams struct {
	hub   *live.Hub
	relay *relay.Relay // nil without a cluster
}

// A stream is one that viewers watch: of a session of this node, or relayed from the
// node that has the session.
type stream struct {
	Channel  *ivs.Channel
	StreamID string
	Stream   *hls.Stream       // nil if it is relayed, until streams.open
	Viewers  *audience.Viewers // on this node

	session *live.Session // nil if it is relayed
	relayed *relay.Stream // nil if the session is on this node
}

// live returns the stream that is live on a channel. The error wraps relay.ErrNotFound if
// there is none; with any other, the node that has it does not answer.
func (s streams) live(ctx context.Context, channelARN string) (stream, error) {
	if session := s.hub.LiveSession(channelARN); session != nil {
		return ofSession(session), nil
	}
	return ofRelay(s.relay.Live(ctx, channelARN))
}

// watched are the viewers of the stream that is live on a channel on this node; nil if
// there are none.
func (s streams) watched(channelARN string) *audience.Viewers {
	if session := s.hub.LiveSession(channelARN); session != nil {
		return &session.Viewers
	}
	if copied := s.relay.Copied(channelARN); copied != nil {
		return &copied.Viewers
	}
	return nil
}

// byID returns the stream with that id, as live does.
func (s streams) byID(ctx context.Context, id string) (stream, error) {
	if session := s.hub.PlayableSession(id); session != nil {
		return ofSession(session), nil
	}
	return ofRelay(s.relay.Stream(ctx, id))
}

func ofSession(s *live.Session) stream {
	return stream{&s.Channel, s.StreamID, s.Stream, &s.Viewers, s, nil}
}

func ofRelay(s *relay.Stream, err error) (stream, error) {
	if err != nil {
		return stream{}, err
	}
	return stream{&s.Channel, s.ID, nil, &s.Viewers, nil, s}, nil
}

// open has a stream of another node copied, for a request that is authorized.
func (s streams) open(r *http.Request, at *stream) error {
	if at.relayed == nil {
		return nil
	}
	copied, err := s.relay.Open(r.Context(), at.relayed, r.RemoteAddr)
	if err == nil {
		at.relayed, at.Stream, at.Viewers = copied, copied.Media, &copied.Viewers
	}
	return err
}

// multivariant renders the multivariant playlist for a viewer, as hls.Stream.Select
// does. The rendition without video is offered to all viewers of an ADVANCED channel, and to
// those of other channels who ask for it.
func (s stream) multivariant(ctx context.Context, prefix string, sel hls.Selection) []byte {
	switch advanced := s.Channel.Type == ivs.TypeAdvancedSD || s.Channel.Type == ivs.TypeAdvancedHD; {
	case advanced:
		sel.AudioOnly = true
	case sel.AudioOnly:
		s.addAudioOnly(ctx) // ADVANCED has it anyway
	}
	return s.Stream.Select(prefix, sel)
}

func (s stream) addAudioOnly(ctx context.Context) {
	if s.relayed != nil {
		s.relayed.AddAudioOnly(ctx)
		return
	}
	s.session.AddAudioOnly(ctx)
}

// thumbnail returns the latest thumbnail, nil if there is none, and when it was made.
func (s stream) thumbnail(ctx context.Context) (jpeg []byte, at time.Time, err error) {
	if s.relayed != nil {
		return s.relayed.Thumbnail(ctx)
	}
	if t := s.session.Thumbnail(); t != nil {
		jpeg, at = t.JPEG, t.At
	}
	return jpeg, at, nil
}
