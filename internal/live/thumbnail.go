package live

import (
	"context"
	"time"

	"github.com/millrace/millrace/internal/broadcast"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/transcode"
)

// consoleThumbnails are for channels whose recording configuration asks for
// none: the console shows them.
var consoleThumbnails = transcode.ThumbnailSettings{Interval: 10 * time.Second, Lines: 360}

// lowestLines are those of ivs.ResolutionLowest.
const lowestLines = 160

// thumbnails are those that the recording configuration of the channel asks for.
func (s *Session) thumbnails() transcode.ThumbnailSettings {
	if s.Channel.RecordingConfigurationARN == "" {
		return consoleThumbnails
	}
	ctx, cancel := context.WithTimeout(context.Background(), dbTimeout)
	defer cancel()
	c, err := s.store.RecordingConfigurations().Get(ctx, s.Channel.RecordingConfigurationARN)
	if err != nil {
		s.log.Error("thumbnails are made as if nothing were recorded", "error", err)
		return consoleThumbnails
	}
	t := c.ThumbnailConfiguration
	if t.RecordingMode != ivs.ThumbnailsInterval || t.TargetIntervalSeconds == 0 {
		return consoleThumbnails
	}
	lines := ivs.MaxLines(t.Resolution)
	if t.Resolution == ivs.ResolutionLowest {
		lines = lowestLines
	}
	return transcode.ThumbnailSettings{Interval: time.Duration(t.TargetIntervalSeconds) * time.Second, Lines: lines}
}

// Thumbnail is the latest thumbnail of the session; nil if there is none.
// Sessions that are not transcoded have none.
func (s *Session) Thumbnail() *broadcast.Thumbnail { return s.broadcast.Thumbnail() }
