package live

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/millrace/millrace/internal/ingest"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/meter"
	"github.com/millrace/millrace/internal/store"
)

// bitrateEvery is how often the bit rate is compared with its limit.
const bitrateEvery = time.Second

// An admission decides which frames a session takes: it compares what the encoder sends
// with the channel and its limits.
type admission struct {
	channel *ivs.Channel
	limits  Limits
	log     *slog.Logger
	faults  faults

	// The goroutine of the encoder that has the seat has these for itself.
	video      *media.Track // the latest that was compared
	withheld   bool         // frames are being withheld, until the next key frame
	maxBitrate int          // of the latest video, bit/s; 0 before the first
	measured   time.Time    // when the bit rate was last compared
}

// admit reports whether the session takes a frame; m measures those that it has taken. An
// error ends the session, with an event for each limit that the encoder breaks.
func (a *admission) admit(f media.Frame, m *meter.Meter, now time.Time) (ok bool, breaches []store.Event, err error) {
	key := f.Key && f.Track.IsVideo()
	if a.withheld = a.withheld && !key || a.faults.starvation.active(now); a.withheld {
		return false, nil, nil
	}
	if key && (f.Track != a.video || a.faults.resolution.active(now)) {
		breaches, err = a.compareVideo(f.Track, now)
	}
	if err == nil {
		breaches, err = a.compareBitrate(m, now)
	}
	return err == nil, breaches, err
}

// compareVideo compares a new video track with the channel and the limits on resolution,
// and sets the limit on its bit rate.
func (a *admission) compareVideo(t *media.Track, now time.Time) (breaches []store.Event, err error) {
	a.video = t
	if why := t.Video.Limits(); why != "" {
		a.log.Warn("few players can decode the video", "reason", why)
	}
	if m := a.channel.Multitrack; m.Enabled && m.Policy == ivs.MultitrackRequire {
		return nil, errSingleTrack
	}
	a.maxBitrate = a.limits.bitrate(a.channel.Type, t.Video)
	width, height := t.Video.Width, t.Video.Height
	if a.faults.resolution.active(now) {
		width, height = 2*a.limits.Edge, a.limits.Pixels/(2*a.limits.Edge)
	}
	if breaches = a.limits.resolution(width, height, now); len(breaches) > 0 {
		err = ingest.Refuse(ingest.LimitExceeded, fmt.Sprintf("The video is %dx%d; this channel takes at most %d pixels, and %d on the longer edge.",
			width, height, a.limits.Pixels, a.limits.Edge))
	}
	return breaches, err
}

// compareBitrate compares, every bitrateEvery, what the encoder has sent with what its
// channel takes.
func (a *admission) compareBitrate(m *meter.Meter, now time.Time) (breaches []store.Event, err error) {
	if a.maxBitrate == 0 || now.Sub(a.measured) < bitrateEvery {
		return nil, nil
	}
	a.measured = now
	bits, ok := m.Bitrate(now, a.limits.BitrateWindow)
	if a.faults.bitrate.active(now) {
		bits, ok = max(bits, int64(2*a.maxBitrate)), true
	}
	if !ok || bits <= int64(a.maxBitrate) {
		return nil, nil
	}
	return []store.Event{breach(ivs.LimitIngestBitrate, a.maxBitrate, int(bits), ivs.UnitBits, now)},
		ingest.Refuse(ingest.LimitExceeded, fmt.Sprintf("The broadcast sends %.2f Mbit/s; this channel takes at most %.2f.", float64(bits)/1e6, float64(a.maxBitrate)/1e6))
}
