package live

import (
	"time"

	"github.com/millrace/millrace/internal/broadcast"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/transcode"
)

// consoleThumbnails are for channels whose recording configuration asks for
// none: the console shows them.
var consoleThumbnails = transcode.ThumbnailSettings{Interval: 10 * time.Second, Lines: 360}

// lowestLines is the height of ivs.ResolutionLowest.
const lowestLines = 160

// thumbnails returns the settings that a recording configuration asks for, which may be
// nil.
func thumbnails(rec *ivs.RecordingConfiguration) transcode.ThumbnailSettings {
	if rec == nil {
		return consoleThumbnails
	}
	t := rec.ThumbnailConfiguration
	if t.RecordingMode != ivs.ThumbnailsInterval || t.TargetIntervalSeconds == 0 {
		return consoleThumbnails
	}
	lines := ivs.MaxLines(t.Resolution)
	if t.Resolution == ivs.ResolutionLowest {
		lines = lowestLines
	}
	return transcode.ThumbnailSettings{Interval: time.Duration(t.TargetIntervalSeconds) * time.Second, Lines: lines}
}

// Transcoded reports whether the session has renditions other than its source, or will
// have. It returns false once they were given up, or the encoder has left.
func (s *Session) Transcoded() bool { return s.renditions.working() }

// Thumbnail returns the latest thumbnail of the session; nil if there is none. Sessions
// that are not transcoded have none.
func (s *Session) Thumbnail() *broadcast.Thumbnail { return s.broadcast.Thumbnail() }
