package live

import (
	"cmp"
	"context"
	"time"

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

// OrDefaults returns l with the quotas of IVS in the place of zero members.
func (l Limits) OrDefaults() Limits {
	l.Streams = cmp.Or(l.Streams, 100)
	l.Views = cmp.Or(l.Views, 15_000)
	l.PerAddress = cmp.Or(l.PerAddress, min(max(l.Views/10, 1000), l.Views)) // behind the address of a school or of a mobile network there are many viewers
	l.Takeovers = cmp.Or(l.Takeovers, 100)
	l.Duration = cmp.Or(l.Duration, 48*time.Hour)
	l.BasicSDBitrate = cmp.Or(l.BasicSDBitrate, 1_500_000)
	l.BasicHDBitrate = cmp.Or(l.BasicHDBitrate, 3_500_000)
	l.Bitrate = cmp.Or(l.Bitrate, 8_500_000)
	l.BitrateWindow = cmp.Or(l.BitrateWindow, 10*time.Second)
	l.Pixels = cmp.Or(l.Pixels, 2_100_000)
	l.Edge = cmp.Or(l.Edge, 1920)
	return l
}

// sdLines is the height up to which a BASIC channel has the smaller bit rate.
const sdLines = 480

// bitrate returns the limit for a channel of a type, with a video configuration.
func (l Limits) bitrate(channelType string, v *media.VideoConfig) int {
	switch {
	case channelType != ivs.TypeBasic:
		return l.Bitrate
	case min(v.Width, v.Height) <= sdLines:
		return l.BasicSDBitrate
	}
	return l.BasicHDBitrate
}

// resolution returns an IVS Limit Breach event for each of the two limits that
// video of that size breaks.
func (l Limits) resolution(width, height int, at time.Time) (breaches []store.Event) {
	if n := width * height; n > l.Pixels {
		breaches = append(breaches, breach(ivs.LimitIngestResolution, l.Pixels, n, ivs.UnitTotalPixels, at))
	}
	if n := max(width, height); n > l.Edge {
		breaches = append(breaches, breach(ivs.LimitIngestResolution, l.Edge, n, ivs.UnitEdge, at))
	}
	return breaches
}

// breach is an IVS Limit Breach event.
func breach(name string, limit, measured int, unit string, at time.Time) store.Event {
	return store.Event{Type: ivs.EventLimitBreach, Name: name, At: at, Detail: map[string]any{
		"limit_value": limit, "exceeded_by": measured - limit, "limit_unit": unit}}
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
	if limit := h.Limits.OrDefaults().Views; views >= limit {
		h.breachQuota(ctx, scope, ivs.LimitConcurrentViewers, limit, views+1, ivs.UnitViewers)
		return false
	}
	return true
}
