package api

import "cmp"

// Quotas limit how many resources an account has in a region. 0 means the default quota
// of Amazon IVS.
type Quotas struct {
	Channels                    int // 0 means 5,000
	RecordingConfigurations     int // 0 means 20
	AdConfigurations            int // 0 means 20
	PlaybackKeyPairs            int // 0 means 3
	PlaybackRestrictionPolicies int // 0 means 3
}

func (q Quotas) channels() int                { return cmp.Or(q.Channels, 5000) }
func (q Quotas) recordingConfigurations() int { return cmp.Or(q.RecordingConfigurations, 20) }
func (q Quotas) adConfigurations() int        { return cmp.Or(q.AdConfigurations, 20) }
func (q Quotas) playbackKeyPairs() int        { return cmp.Or(q.PlaybackKeyPairs, 3) }
func (q Quotas) playbackRestrictionPolicies() int {
	return cmp.Or(q.PlaybackRestrictionPolicies, 3)
}
