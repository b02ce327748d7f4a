package live

import (
	"context"
	"strings"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/media"
)

const (
	soundName = "audio_only"

	// soundAloneWithin is how long the first viewer who may have the sound alone
	// waits for the next segment, with which that begins.
	soundAloneWithin = 6 * time.Second
)

// sound is the rendition without pictures of a channel that has none by its
// type. It costs nothing until a viewer asks for it.
type sound struct {
	wanted    atomic.Bool
	rendition *hls.Rendition // the encoder's goroutine alone uses it
}

// Multivariant renders the multivariant playlist for a viewer: the renditions
// that play and have at most maxLines lines, as media.Lines counts them (for a
// token's aws:maximum-resolution, ivs.MaxLines of it), and with audioOnly, or on
// an ADVANCED channel, also the one that has no picture.
// prefix is as in hls.Stream.Select. It is nil where nothing is left.
func (s *Session) Multivariant(ctx context.Context, prefix string, maxLines int, audioOnly bool) []byte {
	advanced := strings.HasPrefix(s.Channel.Type, "ADVANCED")
	sel := hls.Selection{MaxLines: maxLines, AudioOnly: audioOnly || advanced}
	if audioOnly && !advanced && !s.sound.wanted.Swap(true) {
		s.awaitSound(ctx, prefix)
	}
	return s.Stream.Select(prefix, sel)
}

// awaitSound returns when the sound plays, or will not soon.
func (s *Session) awaitSound(ctx context.Context, prefix string) {
	ctx, cancel := context.WithTimeout(ctx, soundAloneWithin)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(string(s.Stream.Select(prefix, hls.Selection{AudioOnly: true})), "/"+soundName+"/") {
		select {
		case <-ctx.Done():
			return
		case <-s.done:
			return
		case <-tick.C:
		}
	}
}

// writeSound hands a frame of sound to the rendition without pictures, once
// that is wanted.
func (s *Session) writeSound(f media.Frame) {
	if f.Track.IsVideo() || !s.sound.wanted.Load() {
		return
	}
	if s.sound.rendition == nil {
		s.sound.rendition = s.Stream.AddFollower(soundName, true)
	}
	if err := s.sound.rendition.WriteFrame(f); err != nil {
		s.log.Error("sound alone is lost", "error", err)
	}
}
