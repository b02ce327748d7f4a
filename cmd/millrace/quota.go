package main

import (
	"github.com/millrace/millrace/internal/api"
)

// quotaFlags are the quotas of an account.
type quotaFlags struct {
	Throttle                    bool `name:"throttle" help:"Refuse API calls beyond the rates of Amazon IVS: 1 to 10 calls a second, by operation."`
	Channels                    int  `name:"quota-channels" default:"5000" placeholder:"N" help:"Channels of an account in a region (${default})."`
	RecordingConfigurations     int  `name:"quota-recording-configurations" default:"20" placeholder:"N" help:"Recording configurations (${default})."`
	AdConfigurations            int  `name:"quota-ad-configurations" default:"20" placeholder:"N" help:"Ad configurations (${default})."`
	PlaybackKeyPairs            int  `name:"quota-playback-key-pairs" default:"3" placeholder:"N" help:"Playback key pairs (${default})."`
	PlaybackRestrictionPolicies int  `name:"quota-playback-restriction-policies" default:"3" placeholder:"N" help:"Playback restriction policies (${default})."`
}

func (q quotaFlags) check() error {
	return atLeastOne([]setting{
		{"quota-channels", q.Channels}, {"quota-recording-configurations", q.RecordingConfigurations},
		{"quota-ad-configurations", q.AdConfigurations}, {"quota-playback-key-pairs", q.PlaybackKeyPairs},
		{"quota-playback-restriction-policies", q.PlaybackRestrictionPolicies},
	})
}

func (q quotaFlags) quotas() api.Quotas {
	return api.Quotas{
		Channels:                    q.Channels,
		RecordingConfigurations:     q.RecordingConfigurations,
		AdConfigurations:            q.AdConfigurations,
		PlaybackKeyPairs:            q.PlaybackKeyPairs,
		PlaybackRestrictionPolicies: q.PlaybackRestrictionPolicies,
	}
}
