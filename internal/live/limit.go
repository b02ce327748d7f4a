package live

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/millrace/millrace/internal/ingest"
	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/media"
	"github.com/millrace/millrace/internal/store"
)

// Limits bound broadcasts and their number. Zero members mean the quotas of Amazon IVS
// ("Service Quotas" in its user guide).
type Limits struct {
	Streams    int           // live streams at a time in an account and region; 0 means 100
	Views      int           // views at a time in an account and region; 0 means 15,000
	PerAddress int           // views from one client address on this node; 0 means a tenth of Views, and at least 1,000
	Takeovers  int           // of one stream; 0 means 100
	Duration   time.Duration // of one stream; 0 means 48 h

	BasicSDBitrate int // bit/s of a BASIC channel up to 480 lines; 0 means 1.5 million
	BasicHDBitrate int // bit/s of a BASIC channel above 480 lines; 0 means 3.5 million
	Bitrate        int // bit/s of any other channel; 0 means 8.5 million

	// BitrateWindow is the time over which bits are counted, whole seconds up to a
	// minute; 0 means 10 s. A key frame must not count as a breach.
	BitrateWindow time.Duration

	Pixels int // of a video frame; 0 means 2.1 million
	Edge   int // pixels of a video frame's longer edge; 0 means 1920
}

func (l Limits) streams() int { return cmp.Or(l.Streams, 100) }
func (l Limits) views() int   { return cmp.Or(l.Views, 15_000) }

// perAddress is generous: behind the address of a school or of a mobile network
// there are many viewers.
func (l Limits) perAddress() int {
	return cmp.Or(l.PerAddress, min(max(l.views()/10, 1000), l.views()))
}

func (l Limits) takeovers() int               { return cmp.Or(l.Takeovers, 100) }
func (l Limits) duration() time.Duration      { return cmp.Or(l.Duration, 48*time.Hour) }
func (l Limits) bitrateWindow() time.Duration { return cmp.Or(l.BitrateWindow, 10*time.Second) }
func (l Limits) pixels() int                  { return cmp.Or(l.Pixels, 2_100_000) }
func (l Limits) edge() int                    { return cmp.Or(l.Edge, 1920) }

// sdLines is the height up to which a BASIC channel has the smaller bit rate.
const sdLines = 480

// bitrate returns the limit for a channel of a type, with a video configuration.
func (l Limits) bitrate(channelType string, v *media.VideoConfig) int {
	switch {
	case channelType != ivs.TypeBasic:
		return cmp.Or(l.Bitrate, 8_500_000)
	case min(v.Width, v.Height) <= sdLines:
		return cmp.Or(l.BasicSDBitrate, 1_500_000)
	}
	return cmp.Or(l.BasicHDBitrate, 3_500_000)
}

// resolution returns an IVS Limit Breach event for each of the two limits that
// video of that size breaks.
func (l Limits) resolution(width, height int, at time.Time) (breaches []store.Event) {
	if n := width * height; n > l.pixels() {
		breaches = append(breaches, breach(ivs.LimitIngestResolution, l.pixels(), n, ivs.UnitTotalPixels, at))
	}
	if n := max(width, height); n > l.edge() {
		breaches = append(breaches, breach(ivs.LimitIngestResolution, l.edge(), n, ivs.UnitEdge, at))
	}
	return breaches
}

// breach is an IVS Limit Breach event.
func breach(name string, limit, measured int, unit string, at time.Time) store.Event {
	return store.Event{Type: ivs.EventLimitBreach, Name: name, At: at, Detail: map[string]any{
		"limit_value": limit, "exceeded_by": measured - limit, "limit_unit": unit}}
}

// admitVideo checks a new video track against the limits on resolution, and sets the
// limit on its bit rate.
func (s *Session) admitVideo(v *media.VideoConfig, now time.Time) error {
	width, height := v.Width, v.Height
	if s.fault.active(FaultResolutionLimit, now) {
		width, height = 2*s.limits.edge(), s.limits.pixels()/(2*s.limits.edge())
	}
	breaches := s.limits.resolution(width, height, now)
	s.maxBitrate.Store(int64(s.limits.bitrate(s.Channel.Type, v)))
	if len(breaches) == 0 {
		return nil
	}
	s.addEvents(breaches...)
	return ingest.Refuse(ingest.LimitExceeded, fmt.Sprintf("The video is %dx%d; this channel takes at most %d pixels, and %d on the longer edge.",
		width, height, s.limits.pixels(), s.limits.edge()))
}

// checkBitrate cuts off an encoder that has sent more than its channel takes.
// It is called once a second.
func (s *Session) checkBitrate(now time.Time) {
	limit := int(s.maxBitrate.Load())
	bits, ok := s.broadcast.Meter.Bitrate(now, s.limits.bitrateWindow())
	if s.fault.active(FaultBitrateLimit, now) {
		bits, ok = max(bits, int64(2*limit)), true
	}
	if !ok || limit == 0 || bits <= int64(limit) || !s.maxBitrate.CompareAndSwap(int64(limit), 0) {
		return
	}
	s.addEvents(breach(ivs.LimitIngestBitrate, limit, int(bits), ivs.UnitBits, now))
	s.Cut(ingest.Refuse(ingest.LimitExceeded, fmt.Sprintf("The broadcast sends %.2f Mbit/s; this channel takes at most %.2f.", float64(bits)/1e6, float64(limit)/1e6)))
}

// breachQuota records that an account asked for more than its quota.
func (h *Hub) breachQuota(ctx context.Context, scope store.Scope, name string, limit, measured int, unit string) {
	now := time.Now()
	if !h.accounts.allowReport(quotaName{scope, name}, now) {
		return
	}
	h.Log.Warn("limit breached", "limit", name, "value", limit, "account", scope.Account, "region", scope.Region)
	if err := h.Store.AddAccountEvent(ctx, scope, breach(name, limit, measured, unit, now)); err != nil {
		h.Log.Error("writing a limit breach failed", "limit", name, "account", scope.Account, "error", err)
	}
}

// AdmitView reports whether one more viewer may watch a channel. The views of the
// account and region are counted once a second.
func (h *Hub) AdmitView(ctx context.Context, channelARN string) bool {
	scope := store.ScopeOf(channelARN)
	views := h.accounts.viewsOf(scope)
	if limit := h.Limits.views(); views >= limit {
		h.breachQuota(ctx, scope, ivs.LimitConcurrentViewers, limit, views+1, ivs.UnitViewers)
		return false
	}
	return true
}
