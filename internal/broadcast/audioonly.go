package broadcast

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/hls"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/segment"
)

// The names of the rendition that is the encoder's own, and of the one without video.
const (
	SourceName    = "source"
	AudioOnlyName = "audio_only"
)

// audioOnlyWithin is how long the first viewer who may have audio alone waits
// for the next segment, with which that rendition begins.
const audioOnlyWithin = 6 * time.Second

// audioOnly is the source's audio as a rendition of its own. It costs nothing
// until a viewer asks for it.
type audioOnly struct {
	rendition atomic.Pointer[segment.Follower] // nil until a viewer asks for it

	ended chan struct{} // closed at the end of the broadcast

	mu   sync.Mutex // held while rendition is set and while ended is closed
	lost bool       // guarded by mu; writing it failed, and it does not come again
}

// add adds the rendition to s and returns it; nil if there is one already, it
// was lost, or the broadcast has ended.
func (a *audioOnly) add(s *hls.Stream, source *segment.Leader) *hls.Rendition {
	a.mu.Lock()
	defer a.mu.Unlock()
	select {
	case <-a.ended:
		return nil
	default:
	}
	if a.lost || a.rendition.Load() != nil {
		return nil
	}
	r := s.AddRendition(AudioOnlyName, hls.Listing{AudioOnly: true})
	a.rendition.Store(segment.NewFollower(r, source, true))
	return r
}

// write takes a frame of audio, on the writer's goroutine.
func (a *audioOnly) write(f media.Frame, log *slog.Logger) {
	r := a.rendition.Load()
	if r == nil {
		return
	}
	if err := r.WriteFrame(f); err != nil {
		log.Error("the audio-only rendition was removed: writing it failed", "error", err)
		a.remove()
	}
}

// remove takes the rendition away for good: no later frame can be written
// either. The broadcast continues without it.
func (a *audioOnly) remove() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rendition.Swap(nil).Rendition().Remove()
	a.lost = true
}

// close ends the rendition cleanly, once the writer has ended.
func (a *audioOnly) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	close(a.ended)
	if r := a.rendition.Load(); r != nil {
		_ = r.Close() // only the last part is lost, of a rendition that players can do without
	}
}

// AddAudioOnly adds the rendition without video, unless there is one, and returns when it
// plays, or when it is clear that it will not soon. It may be called from any goroutine.
func (b *Broadcast) AddAudioOnly(ctx context.Context) {
	r := b.audioOnly.add(b.stream, b.source)
	if r == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, audioOnlyWithin)
	defer cancel()
	for {
		_, changed := b.stream.Renditions()
		if r.Playing() {
			return
		}
		select {
		case <-changed:
		case <-b.audioOnly.ended:
			return
		case <-ctx.Done():
			return
		}
	}
}
