package live

import (
	"context"
	"time"

	"github.com/millrace/millrace/internal/ivs"
)

// A Thumbnail is a still picture of a broadcast.
type Thumbnail struct {
	JPEG []byte // not to be changed
	At   time.Time
}

// stills say how often a broadcast gets a Thumbnail, and how large it may be.
type stills struct {
	every time.Duration
	lines int // of its frame; 0 means as many as the source has
}

// consoleStills are for channels whose recording configuration asks for none:
// the console shows them.
var consoleStills = stills{10 * time.Second, 360}

// lowestLines are those of ivs.ResolutionLowest.
const lowestLines = 160

// stills are those that the recording configuration of the channel asks for.
func (s *Session) stills() stills {
	if s.Channel.RecordingConfigurationARN == "" {
		return consoleStills
	}
	ctx, cancel := context.WithTimeout(context.Background(), dbTimeout)
	defer cancel()
	c, err := s.store.RecordingConfigurations().Get(ctx, s.Channel.RecordingConfigurationARN)
	if err != nil {
		s.log.Error("thumbnails are made as if nothing were recorded", "error", err)
		return consoleStills
	}
	t := c.ThumbnailConfiguration
	if t.RecordingMode != ivs.ThumbnailsInterval || t.TargetIntervalSeconds == 0 {
		return consoleStills
	}
	lines := ivs.MaxLines(t.Resolution)
	if t.Resolution == ivs.ResolutionLowest {
		lines = lowestLines
	}
	return stills{time.Duration(t.TargetIntervalSeconds) * time.Second, lines}
}

// Thumbnail is the latest still picture of the session; nil if there is none.
// Sessions that are not transcoded have none.
func (s *Session) Thumbnail() *Thumbnail {
	if s.ladder == nil {
		return nil
	}
	return s.ladder.thumb.Load()
}
